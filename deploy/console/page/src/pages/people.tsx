import { useState } from "preact/hooks";
import { api, lower, number, type Schemas, useAsked, when, words } from "../data";
import { Ask, Page, Table } from "../parts";
import { DecidedRows } from "./decisions";

export function People() {
  const [user, setUser] = useState("");
  return (
    <Page title="People">
      <form class="card row" onSubmit={(event) => { event.preventDefault(); if (user) location.hash = `#/people/${encodeURIComponent(user)}`; }}>
        <label>Whose: the id that producers give them<input value={user} onInput={(event) => setUser(event.currentTarget.value)} autocomplete="off" spellcheck={false} /></label>
        <button>Look</button>
      </form>
      <p class="soft">Titles are covered until you ask for them; that stands in oo.audit, with your account.</p>
    </Page>
  );
}

/** Whatever stood at a moment, and whether that had run out: why somebody got nothing then. */
function Stood(props: { user: string; byPseudonym: boolean }) {
  const [at, setAt] = useState("");
  const [found, setFound] = useState<{ at_ms: number; stood: Schemas["Stood"] }>();
  const [fault, setFault] = useState("");
  const look = async () => {
    const at_ms = new Date(at).getTime();
    if (Number.isNaN(at_ms)) return;
    const params = { path: { user: props.user }, query: { at_ms, by_pseudonym: props.byPseudonym } };
    const answer = await api.GET("/console/v1/people/{user}/stood", { params });
    if (answer.data) setFound({ at_ms, stood: answer.data });
    setFault(answer.data ? "" : words(answer.error));
  };
  const one = found?.stood.decided;
  return (
    <section class="card">
      <form class="row" onSubmit={(event) => { event.preventDefault(); void look(); }}>
        <label>What stood at<input type="datetime-local" value={at} onInput={(event) => setAt(event.currentTarget.value)} required /></label>
        <button>Look</button>
      </form>
      {fault && <p class="fault" role="alert">{fault}</p>}
      {found && (
        <p role="status">
          {!one ? "Nothing had been decided for them until then, or it is kept no more." : (
            <>
              {one.kind === "NONE" ? "To say nothing" : `A tip, ${lower(one.kind)}`}, decided {when(one.decided_ms)}
              {found.stood.valid_until_ms <= found.at_ms ? `; it had run out ${when(found.stood.valid_until_ms)}, and nothing came after it` : ""}: <a href={`#/decisions/${one.decision_id}`}>why</a>
            </>
          )}
        </p>
      )}
    </section>
  );
}

/** `~` before the name: it is a pseudonym. */
export function Person(props: { name: string }) {
  const byPseudonym = props.name.startsWith("~");
  const user = byPseudonym ? props.name.slice(1) : props.name;
  const params = { path: { user }, query: { by_pseudonym: byPseudonym } };
  const { data, fault } = useAsked(() => api.GET("/console/v1/people/{user}", { params }), 0, [props.name]);
  const [revealed, setRevealed] = useState<Schemas["Person"]>();
  const [refused, setRefused] = useState("");
  const [asks, ask] = useState(false);
  const reveal = async () => {
    ask(false);
    const answer = await api.POST("/console/v1/people/{user}/reveal", { params });
    if (answer.data) setRevealed(answer.data);
    else setRefused(words(answer.error));
  };
  const shown = revealed ?? data;
  const aside = shown && !shown.revealed && <button class="plain" onClick={() => ask(true)}>Show titles …</button>;
  return (
    <Page title={byPseudonym ? "A person" : user} fault={fault || refused} waits={!shown} aside={aside}>
      <Ask open={asks} title="Show this person's words?" yes="Note it and show them" onYes={reveal} onNo={() => ask(false)}>
        <p>It is noted in oo.audit that you looked, with your account, before anything is shown. They see it in what they take along.</p>
      </Ask>
      {shown && (
        <>
          <dl class="card facts">
            <dt>Behind the door</dt><dd>{shown.pseudonym}{shown.left && <b> · has left</b>}</dd>
            <dt>Known of them</dt><dd>{shown.tasks.length} tasks, {shown.events.length} events, {number(shown.bytes)} bytes</dd>
            <dt>Last record</dt><dd>journal offset {number(shown.journal_offset)}</dd>
            <dt>Thought of again</dt><dd>{when(shown.next_wake_ms) || "when something comes"}</dd>
            <dt>Time zone</dt><dd>{shown.time_zone || "unknown"}</dd>
          </dl>
          <Stood user={user} byPseudonym={byPseudonym} />
          <h2>Decisions</h2>
          <Table label="Their decisions" heads={["When", "Chosen", "Why then", "Propensity", "What came of it", "Version"]}>
            <DecidedRows decided={shown.decisions} withPerson={false} />
          </Table>
          <h2>Tasks</h2>
          <Table label="Their tasks" heads={["Title", "From", "Priority", "Due", "Seen", "Dismissed"]}>
            {shown.tasks.map((task, at) => (
              <tr key={at}>
                <th scope="row">{task.title}</th><td>{task.source}</td><td>{task.priority ? "ABCD"[task.priority - 1] : ""}</td>
                <td>{when(task.due_ms)}</td><td class="n">{task.shown}</td><td class="n">{task.dismissed}</td>
              </tr>
            ))}
          </Table>
        </>
      )}
    </Page>
  );
}
