import { useState } from "preact/hooks";
import { api, lower, number, useAsked, when, words } from "../data";
import { Ask, Page, Plot, Table } from "../parts";

export function Letters() {
  const [reason, setReason] = useState("");
  const [chosen, choose] = useState<ReadonlySet<string>>(new Set());
  const [asks, ask] = useState(false);
  const [said, say] = useState("");
  const [refused, setRefused] = useState("");
  const { data, fault, again } = useAsked(() => api.GET("/console/v1/letters", { params: { query: { reason } } }), 10, [reason]);
  const open = data?.letters.filter((one) => one.is_open) ?? [];
  const toggle = (id: string) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    choose(next);
  };
  const redrive = async () => {
    ask(false);
    say("");
    setRefused("");
    const answer = await api.POST("/console/v1/letters/redrive", { body: { ids: [...chosen] } });
    if (!answer.data) return setRefused(words(answer.error));
    const not = Object.entries(answer.data.not_sent);
    say(`${answer.data.sent.length} sent again${not[0] ? `, ${not.length} not: ${not[0][0]}: ${not[0][1]}` : ""}.`);
    choose(new Set());
    again();
  };
  const aside = <button disabled={!chosen.size} onClick={() => ask(true)}>Send again …</button>;
  return (
    <Page title="Dead letters" fault={fault || refused} waits={!data} aside={aside}>
      {said && <p class="state good" role="status"><i />{said}</p>}
      <Ask open={asks} title={`Send ${chosen.size} again?`} yes="Send again" onYes={redrive} onNo={() => ask(false)}>
        <p>Each goes to the topic that it came from, as it came, with its key and headers. It counts once, and stands in oo.audit with your account.</p>
      </Ask>
      {data && (
        <>
          <p class="filters">
            <button class="plain" aria-pressed={!reason} onClick={() => setReason("")}>All</button>
            {Object.keys({ ...data.open, ...data.by_hour }).sort().map((each) => (
              <button key={each} class="plain" aria-pressed={reason === each} onClick={() => setReason(each)}>{each}{data.open[each] ? ` · ${data.open[each]} open` : ""}</button>
            ))}
          </p>
          {data.hour_ms.length > 1 && (
            <Plot title="Refused an hour" atMs={data.hour_ms} series={Object.entries(data.by_hour).map(([name, values]) => ({ name, values }))} />
          )}
          {data.letters.length === 0 ? <p class="soft">Nothing was refused.</p> : (
            <Table label="Dead letters" heads={["Choose", "Record", "Refused", "Reason", "What was wrong", "Bytes", "State"]}>
              {data.letters.map((one) => (
                <tr key={one.id}>
                  <td><input type="checkbox" aria-label={`Choose ${one.id}`} disabled={!one.is_open} checked={chosen.has(one.id)} onChange={() => toggle(one.id)} /></td>
                  <th scope="row">{one.id}</th>
                  <td class="n">{when(one.refused_ms)}</td>
                  <td>{one.reason}</td>
                  <td class="wide">{one.sealed || one.detail}</td>
                  <td class="n">{one.bytes === null ? "" : number(one.bytes)}</td>
                  <td><span class={`chip ${one.is_open ? "bad" : "done"}`}>{lower(one.state)}</span></td>
                </tr>
              ))}
            </Table>
          )}
          <p class="row soft">
            <span>{number(data.letters.length)} of {number(data.in_all)} shown, {open.length} of them open.</span>
            {open.length > 0 && <button class="plain" onClick={() => choose(new Set(open.map((one) => one.id)))}>Choose all that are open</button>}
          </p>
        </>
      )}
    </Page>
  );
}
