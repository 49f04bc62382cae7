import { api, number, useAsked } from "../data";
import { Page, Plot, type Series } from "../parts";

const series = (counts: Record<string, number[]>): Series[] => Object.entries(counts).map(([name, values]) => ({ name, values }));

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
