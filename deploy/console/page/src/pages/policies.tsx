import { api, lower, number, type Schemas, signed, useAsked, when } from "../data";
import { Page, Plot, type Series, Table } from "../parts";

export type Between = Schemas["Between"];
export const spread = (one: Between) => (one.low === null || one.high === null ? "too little to tell" : `${signed(one.low, 2)} to ${signed(one.high, 2)}`);

/** All intervals on one scale, so that lengths can be compared. */
export function Interval(props: { one: Between; low: number; high: number }) {
  const place = (value: number) => `${(100 * (value - props.low)) / (props.high - props.low || 1)}%`;
  const { value, low, high } = props.one;
  return (
    <span class="interval" title={spread(props.one)}>
      {low !== null && high !== null && <i style={{ left: place(low), right: `calc(100% - ${place(high)})` }} />}
      <b style={{ left: place(value) }} />
      {props.low < 0 && props.high > 0 && <u style={{ left: place(0) }} />}
    </span>
  );
}

/** Each curve has its own times: they are joined, and each goes on as it was last. */
function joined(curves: Schemas["Policies"]["curves"]): { atMs: number[]; series: Series[] } {
  const atMs = [...new Set(Object.values(curves).flatMap((one) => one.at_ms))].sort((a, b) => a - b);
  const series = Object.entries(curves).map(([name, one]) => {
    let last = -1;
    const places = atMs.map((ms) => {
      while (last + 1 < one.at_ms.length && one.at_ms[last + 1]! <= ms) last++;
      return last;
    });
    const of = (values: (number | null)[]) => places.map((place) => (place < 0 ? null : values[place] ?? null));
    return { name, values: of(one.value), low: of(one.low), high: of(one.high) };
  });
  return { atMs, series };
}

export function Policies() {
  const { data, fault } = useAsked(() => api.GET("/console/v1/policies"), 10);
  const bounds = data?.earned.flatMap((one) => [one.reward.low ?? one.reward.value, one.reward.high ?? one.reward.value]) ?? [];
  const low = Math.min(0, ...bounds), high = Math.max(0, ...bounds);
  return (
    <Page title="Policies" fault={fault} waits={!data}>
      {data && (
        <>
          <p class="state good"><i /><span><b>{data.champion}</b> decides, with version {data.version || "none yet: what stood before anything was learned"}</span></p>
          <Table label="What each policy earns" heads={["Policy", "Reward a decision", "On one scale", "95 %", "Ahead of who decides", "Decisions", "Effective", "Drifts", "µs"]}>
            {data.earned.map((one) => (
              <tr key={one.policy} class={one.policy === data.champion ? "chosen" : ""}>
                <th scope="row">{one.policy}</th>
                <td class="n">{signed(one.reward.value)}</td>
                <td><Interval one={one.reward} low={low} high={high} /></td>
                <td class="n">{spread(one.reward)}</td>
                <td class="n">{one.ahead ? spread(one.ahead) : ""}</td>
                <td class="n">{number(one.n)}</td><td class="n">{number(Math.round(one.effective_n))}</td><td class="n">{one.drifts || ""}</td><td class="n">{one.cost_us}</td>
              </tr>
            ))}
          </Table>
          <Plot title="What each earns a decision, with 95 % intervals" {...joined(data.curves)} />
          <h2>Who decided since when</h2>
          {data.promotions.length === 0 ? <p class="soft">No policy was promoted yet.</p> : (
            <ol class="card promotions">
              {data.promotions.map((one) => (
                <li key={one.decided_ms}><time>{when(one.decided_ms)}</time> <b>{one.policy}</b> after {one.before}, {lower(one.cause)}: {one.why}</li>
              ))}
            </ol>
          )}
        </>
      )}
    </Page>
  );
}
