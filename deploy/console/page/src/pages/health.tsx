import { api, number, type Schemas, useAsked, when } from "../data";
import { Page, Plot, type Series } from "../parts";

const series = (counts: Record<string, number[]>): Series[] => Object.entries(counts).map(([name, values]) => ({ name, values }));

/** Whether what is live is what the journal says, as far as it was looked at. */
function Verified(props: { all: Schemas["Verification"][] }) {
  const differ = props.all.filter((one) => one.differences || one.why_not);
  const oldest = Math.min(...props.all.map((one) => one.at_ms));
  if (!props.all.length) return <p class="soft">No partition was verified yet: <code>oo verify</code> folds the journal again and compares.</p>;
  if (!differ.length) return <p class="soft">What is live is what the journal says: {props.all.length} partitions verified, the last {oldest ? when(oldest) : "never"} or later.</p>;
  return (
    <ul class="card stalled" aria-label="What a verification found">
      {differ.map((one) => <li key={one.partition}><b>Partition {one.partition} of the journal</b>: {one.why_not || `${one.differences} differences, ${one.shown[0] ?? ""}`}</li>)}
    </ul>
  );
}

export function Health() {
  const { data: health, fault } = useAsked(() => api.GET("/console/v1/health"), 3);
  const { data: activity, fault: missing } = useAsked(() => api.GET("/console/v1/activity"), 10);
  return (
    <Page title="Health" fault={fault} waits={!health}>
      {health && (
        <>
          <p class={`state ${health.ready ? "good" : "bad"}`} role="status">
            <i />{health.ready ? "Ready: everything runs, and nothing stands." : `Not ready (${health.phase ?? "unknown"}): see what is marked below.`}
          </p>
          {health.stalled.length > 0 && (
            <ul class="card stalled" aria-label="What stands">
              {health.stalled.map((one) => (
                <li key={`${one.topic}-${one.partition}`}>
                  <b>{one.topic}-{one.partition}</b>{one.offset === null ? "" : ` at offset ${one.offset}`}: {one.cause}
                </li>
              ))}
            </ul>
          )}
          <Verified all={health.verified} />
          <ul class="tiles" aria-label="Parts">
            {health.parts.map((part) => (
              <li key={part.name} class={`card ${part.ready === false ? "bad" : ""}`}>
                <h2><i class={part.ready === false ? "off" : "on"} />{part.name}</h2>
                <p>{part.ready === null ? "elsewhere" : part.ready ? `runs, pid ${part.pid}` : part.pid ? "starting" : "down"}
                  {part.restarts > 0 && ` · restarted ${part.restarts}×`}</p>
                {part.lag !== null && <p class="big">{number(part.lag)}<small> behind</small></p>}
                <p class="soft where" title={part.where}>{part.where}</p>
              </li>
            ))}
          </ul>
        </>
      )}
      {missing && <p class="fault" role="alert">{missing}</p>}
      {activity && (
        <div class="pair">
          <Plot title="Decisions a minute" atMs={activity.minute_ms} series={series(activity.decisions)} />
          <Plot title="Reactions a minute" atMs={activity.minute_ms} series={series(activity.reactions)} />
        </div>
      )}
    </Page>
  );
}
