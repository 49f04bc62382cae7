import { useState } from "preact/hooks";
import { api, clock, kindly, lower, type Schemas, signed, useAsked, when } from "../data";
import { Bar, Page, Table } from "../parts";

export const short = (pseudonym: string) => (pseudonym.length > 10 ? `${pseudonym.slice(0, 8)}…` : pseudonym);

export function DecidedRows(props: { decided: Schemas["Decided"][]; withPerson: boolean }) {
  return (
    <>
      {props.decided.map((one) => (
        <tr key={one.decision_id}>
          <td class="n">{props.withPerson ? clock(one.decided_ms) : when(one.decided_ms)}</td>
          <td><a href={`#/decisions/${one.decision_id}`}>{kindly(one.kind)}</a></td>
          {props.withPerson && <td><a href={`#/people/~${one.user_id}`} title={one.user_id}>{short(one.user_id)}</a></td>}
          <td>{lower(one.trigger)}</td>
          <td><Bar share={one.propensity} label={one.propensity.toFixed(3)} /></td>
          <td>{one.outcome ? <span class={`chip ${one.outcome.toLowerCase()}`}>{lower(one.outcome)}</span> : ""}</td>
          <td class="soft">{one.policy_version}</td>
        </tr>
      ))}
    </>
  );
}

export function Decisions() {
  const [held, hold] = useState(false);
  const { data, fault } = useAsked(() => api.GET("/console/v1/decisions", { params: { query: { limit: 50 } } }), held ? 0 : 2, [held]);
  const aside = <button class="plain" aria-pressed={held} onClick={() => hold(!held)}>{held ? "Go on" : "Hold"}</button>;
  return (
    <Page title="Decisions" fault={fault} waits={!data} aside={aside}>
      <Table label="The newest decisions" heads={["When", "Chosen", "Person", "Why then", "Propensity", "What came of it", "Version"]}>
        {data && <DecidedRows decided={data} withPerson />}
      </Table>
      {data?.length === 0 && <p class="soft">Nothing was decided yet: decisions come with the first signals.</p>}
    </Page>
  );
}

/** Made again from the journal, so it takes a moment. */
function WhyLines(props: { id: string; place: number }) {
  const params = { path: { decision_id: props.id, place: props.place } };
  const { data, fault } = useAsked(() => api.GET("/console/v1/decisions/{decision_id}/why/{place}", { params }), 0, [props.id, props.place]);
  if (fault) return <p class="fault" role="alert">{fault}</p>;
  if (!data) return <p class="soft" role="status">Making it again from the journal …</p>;
  return (
    <>
      {!data.is_the_same && <p class="fault">Made again it came out otherwise: what follows does not hold.</p>}
      {data.lines.map((line) => <p key={line}>{line}</p>)}
    </>
  );
}

export function Slate(props: { id: string }) {
  const { data, fault } = useAsked(() => api.GET("/console/v1/decisions/{decision_id}", { params: { path: { decision_id: props.id } } }), 0, [props.id]);
  const [open, setOpen] = useState<number>();
  const shown = data && [...data.candidates].sort((a, b) => Number(b.place === data.chosen) - Number(a.place === data.chosen) || b.propensity - a.propensity);
  const one = data?.candidates.find((each) => each.place === (open ?? data.chosen));
  return (
    <Page title="A decision" fault={fault} waits={!data} aside={<a href="#/decisions">All decisions</a>}>
      {data && shown && one && (
        <>
          <dl class="card facts">
            <dt>Decided</dt><dd>{when(data.decided.decided_ms)}, {data.latency_ms} ms after what led to it</dd>
            <dt>Person</dt><dd><a href={`#/people/~${data.decided.user_id}`}>{data.decided.user_id}</a></dd>
            <dt>Made because</dt><dd>{data.because}</dd>
            <dt>Valid until</dt><dd>{when(data.valid_until_ms)}</dd>
            <dt>Policy</dt><dd>{data.policy}, version {data.decided.policy_version}</dd>
            <dt>What came of it</dt><dd>{data.decided.outcome ? lower(data.decided.outcome) : "nothing yet"}</dd>
          </dl>
          <section class="card" aria-live="polite">
            <h2>{one.place === data.chosen ? "Why" : "Why not"} {lower(one.kind)} {one.place + 1}</h2>
            {one.written_by && <p class="soft">{one.written_by}</p>}
            <WhyLines id={props.id} place={one.place} />
            <h2>What the policy saw of it</h2>
            <ul class="features">
              {one.x.map((value, at) => value !== 0 && (
                <li key={at}><span>{data.features[at] ?? `x${at}`}</span><b>{value.toFixed(2)}</b></li>
              ))}
            </ul>
          </section>
          <Table label="The slate" heads={["Candidate", "Propensity", "Score", "Draws won", "Out for", "Ask"]}>
            {shown.map((each) => (
              <tr key={each.place} class={each.place === data.chosen ? "chosen" : each.out.length ? "out" : ""}>
                <th scope="row" title={each.written_by}>{kindly(each.kind)} {each.place + 1}{each.place === data.chosen && <b> · chosen</b>}</th>
                <td><Bar share={each.propensity} label={each.propensity.toFixed(4)} /></td>
                <td class="n">{each.out.length ? "" : signed(each.score)}</td>
                <td class="n">{each.out.length ? "" : each.draws_won}</td>
                <td>{each.out.map((reason) => <span key={reason} class="chip bad">{reason}</span>)}</td>
                <td><button class="plain" aria-pressed={each.place === one.place} onClick={() => setOpen(each.place)}>Why</button></td>
              </tr>
            ))}
          </Table>
        </>
      )}
    </Page>
  );
}
