import { useState } from "preact/hooks";
import { api, lower, number, type Schemas, signed, useAsked, when, words } from "../data";
import { Ask, Bar, Histogram, Page, Table } from "../parts";
import { type Between, Interval, spread } from "./policies";
import { short } from "./decisions";

type Run = Schemas["Replay"];
const what = (run: Run) => (run.asks ? `evaluation of ${run.asks}` : "verification") + (run.people ? ` of ${run.people} people` : "");
const percent = (share: number) => `${Math.floor(100 * share)} %`;

/** Asked first, and noted: a run waits, or goes on where it was called. */
function Hold(props: { run: Run; changed: () => void; refused: (why: string) => void }) {
  const [asks, ask] = useState(false);
  const { run } = props;
  if (run.state === "done") return null;
  if (run.state === "unfinished") return <span class="soft">No process is at it: <code>oo replay resume {run.name}</code></span>;
  const waits = run.state === "paused";
  const change = async () => {
    ask(false);
    const asked = { params: { path: { name: run.name } } };
    const answer = waits ? await api.POST("/console/v1/replays/{name}/resume", asked) : await api.POST("/console/v1/replays/{name}/pause", asked);
    props.refused(answer.data ? "" : words(answer.error));
    props.changed();
  };
  return (
    <>
      <button class="plain" onClick={() => ask(true)}>{waits ? "Go on …" : "Pause …"}</button>
      <Ask open={asks} title={waits ? `Let ${run.name} go on?` : `Let ${run.name} wait?`} yes={waits ? "Let it go on" : "Let it wait"} onYes={change} onNo={() => ask(false)}>
        <p>{waits ? "It goes on where it was called." : "It keeps all that it has, and waits until somebody lets it go on."} Nothing live is touched; it stands in oo.audit, with your account.</p>
      </Ask>
    </>
  );
}

export function Replays() {
  const { data, fault, again } = useAsked(() => api.GET("/console/v1/replays"), 2);
  const [refused, refuse] = useState("");
  return (
    <Page title="Replays" fault={fault || refused} waits={!data}>
      {data?.length === 0 && <p class="soft">There is none: <code>oo replay run</code> folds a range of the journal again, apart from what is live.</p>}
      {data && data.length > 0 && (
        <Table label="Runs" heads={["Run", "What", "State", "Done", "Records", "Begun", "Change"]}>
          {data.map((run) => (
            <tr key={run.name}>
              <th scope="row"><a href={`#/replays/${run.name}`}>{run.name}</a></th>
              <td>{what(run)}</td>
              <td><span class={`chip ${run.state === "done" ? "done" : run.state === "running" || run.state === "yielding" ? "" : "bad"}`}>{run.state}</span></td>
              <td><Bar share={run.done} label={percent(run.done)} /></td>
              <td class="n">{number(run.records)}</td>
              <td class="n">{when(run.created_ms)}</td>
              <td><Hold run={run} changed={again} refused={refuse} /></td>
            </tr>
          ))}
        </Table>
      )}
    </Page>
  );
}

export function Replay(props: { name: string }) {
  const { data, fault, again } = useAsked(() => api.GET("/console/v1/replays/{name}", { params: { path: { name: props.name } } }), 2, [props.name]);
  const [refused, refuse] = useState("");
  const run = data?.replay;
  return (
    <Page title={props.name} fault={fault || refused} waits={!data} aside={run ? <Hold run={run} changed={again} refused={refuse} /> : undefined}>
      {data && run && (
        <>
          <dl class="card facts">
            <dt>What</dt><dd>{what(run)}, over {number(run.records)} records</dd>
            <dt>State</dt><dd>{run.state}, {percent(run.done)} folded</dd>
            <dt>Begun</dt><dd>{when(run.created_ms)}, by build {data.build}, step version {data.step_version}</dd>
            <dt>Rate</dt><dd>{data.rate ? `${number(data.rate)} records a second of each process` : "as fast as it goes"}</dd>
          </dl>
          {run.state === "done" && run.asks && <Differs name={props.name} />}
          {run.state === "done" && !run.asks && <p class="card">Held against what was logged by <code>oo replay verify {run.name}</code>.</p>}
          <h2>Plan</h2>
          <Table label="What is read of each partition" heads={["Partition", "From", "To", "Folded from", "Done"]}>
            {data.parts.map((part) => (
              <tr key={part.partition}>
                <th scope="row">{part.partition}</th>
                <td class="n">{number(part.start)}</td><td class="n">{number(part.end)}</td>
                <td>{part.begins_with ? `snapshot ${part.begins_with}` : "the journal's beginning"}</td>
                <td>{run.state === "done" ? "all" : part.reached ? `to ${number(part.reached)}` : "nothing yet"}</td>
              </tr>
            ))}
          </Table>
        </>
      )}
    </Page>
  );
}

function Differs(props: { name: string }) {
  const [other, hold] = useState("");
  const { data: all } = useAsked(() => api.GET("/console/v1/replays"), 0);
  const { data, fault } = useAsked(() => api.GET("/console/v1/replays/{name}/diff", { params: { path: { name: props.name }, query: { other } } }), 0, [props.name, other]);
  const others = all?.filter((one) => one.state === "done" && one.asks && one.name !== props.name) ?? [];
  const bounds = data?.earned.flatMap(({ doubly_robust: one }) => [one.low ?? one.value, one.high ?? one.value]) ?? [];
  const low = Math.min(0, ...bounds), high = Math.max(0, ...bounds);
  const told = (one: Between | undefined) => one && `${signed(one.value)} ${spread(one) && `(${spread(one)})`}`;
  return (
    <>
      {others.length > 0 && (
        <p class="row">
          <label>Another run held against it
            <select value={other} onChange={(event) => hold(event.currentTarget.value)}>
              <option value="">none: against what was logged</option>
              {others.map((one) => <option key={one.name} value={one.name}>{one.name} ({one.asks})</option>)}
            </select>
          </label>
        </p>
      )}
      {fault && <p class="fault" role="alert">{fault}</p>}
      {!data && !fault && <p class="soft" role="status">Comparing …</p>}
      {data && (
        <>
          <section class="card">
            <h2>{data.second} held against {data.first}</h2>
            <p>{data.summary}</p>
            {data.cautions.map((one) => <p key={one} class="fault">{one}.</p>)}
            {data.earned.length > 0 && <p><b>{data.second} less {data.first}: {told(data.ahead)}</b> a decision. {data.gate}</p>}
          </section>
          {data.earned.length > 0 && (
            <>
              <Table label="What each policy would have earned" heads={["Policy", "Reward a decision", "On one scale", "95 %", "Self-normalized", "Effective", "Mean weight"]}>
                {data.earned.map((one) => (
                  <tr key={one.policy}>
                    <th scope="row">{one.policy}</th>
                    <td class="n">{signed(one.doubly_robust.value)}</td>
                    <td><Interval one={one.doubly_robust} low={low} high={high} /></td>
                    <td class="n">{spread(one.doubly_robust)}</td>
                    <td class="n">{told(one.self_normalized)}</td>
                    <td class="n">{number(Math.round(one.effective_n))}</td>
                    <td class="n">{one.mean_weight.toFixed(2)}</td>
                  </tr>
                ))}
              </Table>
              <p class="soft">{data.rests_on}</p>
            </>
          )}
          <div class="pair">
            <Histogram title="How far apart the two are" counts={data.distances} unit="decisions, by total variation" />
            <Table label="By kind of the logged tip" heads={["Kind", "Otherwise", "Of", "Worth, self-normalized"]}>
              {data.kinds.map((one) => (
                <tr key={one.kind}>
                  <th scope="row">{lower(one.kind)}</th><td class="n">{number(one.otherwise)}</td><td class="n">{number(one.decisions)}</td>
                  <td>{Object.entries(one.values).map(([policy, value]) => <div key={policy}>{policy} {told(value)}</div>)}</td>
                </tr>
              ))}
            </Table>
          </div>
          {data.examples.length > 0 && <h2>Farthest apart</h2>}
          {data.examples.map((one) => (
            <article key={one.decision_id} class="card">
              <p><a href={`#/decisions/${one.decision_id}`}>{when(one.decided_ms)}</a>, of <a href={`#/people/~${one.user}`} title={one.user}>{short(one.user)}</a>: {one.distance.toFixed(3)} apart</p>
              {one.choices.map((choice) => <p key={choice} class="wrap">{choice}</p>)}
            </article>
          ))}
          {data.people.length > 0 && (
            <>
              <h2>Whom it would have concerned most</h2>
              <Table label="People of whom most would have been otherwise" heads={["Person", "Otherwise", "Of"]}>
                {data.people.map((one) => (
                  <tr key={one.user}><th scope="row"><a href={`#/people/~${one.user}`}>{one.user}</a></th><td class="n">{one.otherwise}</td><td class="n">{one.decisions}</td></tr>
                ))}
              </Table>
            </>
          )}
        </>
      )}
    </>
  );
}
