import { api, number, type Schemas, useAsked, when } from "../data";
import { Bar, Page, Table } from "../parts";

const share = (value: number) => `${Math.round(100 * value)} %`;

/** Counts as bars, each by its share of all. */
function Counts(props: { title: string; counts: Schemas["Counted"][]; none: string; words?: Record<string, string> }) {
  const all = props.counts.reduce((sum, one) => sum + one.n, 0);
  return (
    <section class="card">
      <h2>{props.title}</h2>
      {all === 0 ? <p class="soft">{props.none}</p> : (
        <ul class="counts">
          {props.counts.map((one) => (
            <li key={one.what}><span>{props.words?.[one.what] ?? one.what.replaceAll("-", " ")}</span><Bar share={one.n / all} label={number(one.n)} /></li>
          ))}
        </ul>
      )}
    </section>
  );
}

const ANSWERS: Record<string, string> = {
  tips: "tips came", "held-back": "guards held all back", garbage: "no answer of that form", "no-tips": "the model wrote none", "run-out": "too old to be asked",
  budget: "the day's budget is spent", breaker: "the model is left alone for a while", "no-prompt": "the prompt has nothing to say of it", "no-model": "no such model",
};

export function Models() {
  const { data, fault } = useAsked(() => api.GET("/console/v1/models"), 5);
  const done = useAsked(() => api.GET("/console/v1/models/shares"), 0);
  const shut = data?.models.filter((one) => one.is_shut).map((one) => one.model) ?? [];
  const of = (prompt: string, model: string) => done.data?.shares.find((one) => one.prompt === prompt && one.model === model);
  const rest = done.data?.shares.filter((one) => !data?.variants.some((each) => each.prompt === one.prompt && each.model === one.model)) ?? [];
  const told = (one: Schemas["Share"] | undefined) => (
    <>
      <td>{one && <Bar share={one.value} label={share(one.value)} />}</td>
      <td class="n">{one && `${share(one.low)} to ${share(one.high)}`}</td>
      <td class="n">{one && number(one.tips)}</td>
    </>
  );
  return (
    <Page title="Models" fault={fault} waits={!data}>
      {data && (
        <>
          {data.variants.length === 0 ? (
            <p class="card">No language model is asked. <code>oo up --llm local</code> has a small one on this machine write tips, <code>--llm URL</code> another.</p>
          ) : shut.length > 0 ? (
            <p class="state bad"><i /><span><b>{shut.join(", ")}</b> failed again and again and is left alone for a while; tips go on without</span></p>
          ) : !data.asked ? (
            <p class="state bad"><i /><span>No <b>generate</b> runs here: requests wait, tips go on without</span></p>
          ) : (
            <p class="state good"><i /><span><b>{number(data.asked.calls)}</b> {data.asked.calls === 1 ? "call" : "calls"} since {when(data.asked.since_ms)}{data.asked.calls > 0 && `, ${data.asked.call_s.toFixed(1)} s each`}{data.asked.in_flight > 0 && `; ${data.asked.in_flight} in flight`}</span></p>
          )}
          <Table label="Prompts and models" heads={["Prompt", "Model", "Chance", "Done of those seen", "95 %", "Seen"]}>
            {data.variants.map((one) => (
              <tr key={`${one.prompt} ${one.model}`}>
                <th scope="row">{one.prompt}{!one.is_here && <> <span class="chip bad">not in this build</span></>}</th>
                <td>{one.model}</td>
                <td><Bar share={one.share} label={share(one.share)} /></td>
                {told(of(one.prompt, one.model))}
              </tr>
            ))}
            {rest.map((one) => (
              <tr key={`${one.prompt} ${one.model}`} class="out"><th scope="row">{one.prompt}</th><td>{one.model}</td><td class="soft">not asked now</td>{told(one)}</tr>
            ))}
          </Table>
          <p class="soft">{done.fault || done.data?.summary || "Counting what was done …"} Four weeks, each tip by the probability of its prompt and of itself.</p>
          {data.models.length > 0 && (
            <Table label="Models today" heads={["Model", "Calls today", "Left", "Tokens today", "Calls, by how they ended", "Read", "Written"]}>
              {data.models.map((one) => (
                <tr key={one.model}>
                  <th scope="row">{one.model}{one.is_shut && <> <span class="chip bad">left alone</span></>}</th>
                  <td>{one.calls_left === null ? number(one.calls_today) : <Bar share={one.calls_today / (one.calls_today + one.calls_left || 1)} label={`${number(one.calls_today)} of ${number(one.calls_today + one.calls_left)}`} />}</td>
                  <td class="n">{one.calls_left === null ? "" : number(one.calls_left)}</td>
                  <td class="n">{number(one.tokens_today)}</td>
                  <td>{one.ended.map((each) => <span key={each.what} class={`chip ${each.what === "well" ? "done" : "bad"}`}>{each.what.replaceAll("-", " ")} {number(each.n)}</span>)}</td>
                  <td class="n">{number(one.tokens_in)}</td><td class="n">{number(one.tokens_out)}</td>
                </tr>
              ))}
            </Table>
          )}
          {data.asked && (
            <div class="trio">
              <Counts title="Requests" counts={data.asked.requests} none="None was taken yet." />
              <Counts title="Answers" counts={data.asked.answers} none="None was given yet." words={ANSWERS} />
              <Counts title="Held back by guards" counts={data.asked.held_back} none="No tip was held back." />
            </div>
          )}
          {data.variants.length > 0 && (
            <p class="soft">Of one person and day at most {number(data.person_calls)} requests and {number(data.person_tokens)} tokens. Counts are of this process, from its start; days are UTC's.</p>
          )}
        </>
      )}
    </Page>
  );
}
