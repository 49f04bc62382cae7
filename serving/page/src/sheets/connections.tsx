// The sheet of what is connected: how each goes, reading it now, pausing, mending, taking it back; and a form for each source, made of
// what that source says of itself.

import type { Body } from "oo-client";
import { useEffect, useRef, useState } from "preact/hooks";
import { api, ask, why } from "../api";
import { cameBack } from "../sheets";
import { day, words } from "../words";
import { type Line, Section, Sheet } from "./sheet";

type Source = Body<"SourceInfo">;
type Connection = Body<"ConnectionBody">;
type Made = Body<"Made">;

const READ_WITHIN_MS = 30_000;
const LOOK_EVERY_MS = 1000;

/** How it goes with one, in a few words. */
function going(one: Connection): string {
  const { states, troubles, lastRead, notYetRead } = words();
  const state = states[one.state];
  const trouble = troubles[one.trouble as keyof typeof troubles] ?? one.trouble;
  return [state, trouble, one.read_at ? lastRead(day(one.read_at)) : notYetRead].filter(Boolean).join(" · ");
}

export function Connections() {
  const said = words();
  const [found, set] = useState<Connection[]>([]);
  const [sources, setSources] = useState<Source[]>([]);
  const [chosen, choose] = useState<Source | null>(null);
  const [made, setMade] = useState<Made | null>(null);
  const [asking, setAsking] = useState("");
  const [line, say] = useState<Line>({ text: said.looking });
  const isGone = useRef(false);

  async function look(): Promise<Connection[]> {
    const { connections } = await ask(() => api.GET("/v1/connections"));
    set(connections);
    return connections;
  }

  async function doing(what: () => Promise<string>): Promise<void> {
    say({ text: said.aMoment });
    try {
      say({ text: await what() });
    } catch (error) {
      say({ text: said.notThrough(why(error)), isFault: true });
    }
  }

  useEffect(() => {
    void doing(async () => {
      const [, known] = await Promise.all([look(), ask(() => api.GET("/v1/sources"))]);
      setSources(known.sources.filter((one) => one.ways.length > 0));
      const back = cameBack.value;
      cameBack.value = null;
      if (back === null) return "";
      return back.id ? untilRead(back.id) : said.cameBack[back.what === "refused" ? "refused" : "failed"];
    });
    return () => { isGone.current = true; };
  }, []);

  /** Until it was read, or something is wrong with it. */
  async function untilRead(id: string): Promise<string> {
    for (const until = Date.now() + READ_WITHIN_MS; Date.now() < until && !isGone.current;) {
      const one = (await look()).find(({ connection_id }) => connection_id === id);
      if (one === undefined || one.read_at !== null || one.trouble) return one ? going(one) : "";
      await new Promise((done) => setTimeout(done, LOOK_EVERY_MS));
    }
    return said.noted;
  }

  const its = ({ connection_id }: Connection) => ({ params: { path: { connection_id } } });
  return (
    <Sheet id="connections" title={said.connections} line={line} from="settings">
      {found.length === 0 && !line.text && <p class="soft">{said.nothingConnected}</p>}
      <ul class="earlier" id="connections-list">
        {found.map((one) => (
          <li key={one.connection_id}>
            <b>{one.title}</b>
            {Object.values(one.settings).filter(Boolean).map((text) => <small key={text} dir="auto">{text}</small>)}
            <small class={one.state === "broken" ? "grave" : ""}>{going(one)}</small>
            {one.state !== "leaving" && (
              <p class="yours">
                {one.state === "broken" && one.authorize && <a class="button" href={one.authorize}>{said.signInThere(one.title)}</a>}
                {one.state === "active" && <button type="button" class="plain" aria-label={`${said.readNow}: ${one.title}`} onClick={() => doing(async () => { await ask(() => api.POST("/v1/connections/{connection_id}/sync", its(one))); await look(); return said.noted; })}>{said.readNow}</button>}
                {one.state !== "withheld" && <button type="button" class="plain" aria-label={`${one.state === "paused" ? said.goOn : said.pause}: ${one.title}`} onClick={() => doing(async () => { await ask(() => api.PATCH("/v1/connections/{connection_id}", { ...its(one), body: { paused: one.state !== "paused" } })); await look(); return said.taken; })}>{one.state === "paused" ? said.goOn : said.pause}</button>}
                <button type="button" class="plain grave" aria-label={`${said.disconnect}: ${one.title}`} onClick={() => setAsking(one.connection_id)}>{said.disconnect}</button>
              </p>
            )}
            {asking === one.connection_id && (
              <div class="asked">
                <p>{said.disconnectMeans(one.title)}</p>
                <p class="yours">
                  <button type="button" onClick={() => setAsking("")}>{said.keepIt}</button>
                  <button type="button" class="grave" onClick={() => { setAsking(""); void doing(async () => { await ask(() => api.DELETE("/v1/connections/{connection_id}", its(one))); await look(); return said.taken; }); }}>{said.disconnect}</button>
                </p>
              </div>
            )}
          </li>
        ))}
      </ul>
      {made && (made.hook || Object.keys(made.secrets).length > 0) && (
        <div class="asked told">
          <p>{said.onceShown}</p>
          {made.hook && <pre><code>{made.hook}</code></pre>}
          {Object.values(made.secrets).map((secret) => <pre key={secret}><code>{secret}</code></pre>)}
        </div>
      )}
      <Section title={said.connectMore}>
        {chosen
          ? <Form key={chosen.name} of={chosen} onBack={() => choose(null)} onSend={(way, fields) => doing(async () => {
              const one = await ask(() => api.POST("/v1/connections", { body: { source: chosen.name, way, fields } }));
              setMade(one);
              choose(null);
              return one.hook ? (await look(), said.taken) : untilRead(one.connection_id);
            })} />
          : <div class="ways-on">{sources.map((one) => <button type="button" class="way" key={one.name} onClick={() => choose(one)}>{one.title}<span aria-hidden="true">›</span></button>)}</div>}
      </Section>
    </Sheet>
  );
}

function Form({ of, onSend, onBack }: { of: Source; onSend: (way: string, fields: Record<string, string>) => void; onBack: () => void }) {
  const said = words();
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => form.current?.querySelector<HTMLElement>("input, a, button")?.focus(), []);
  return (
    <>
      <h4>{of.title}</h4>
      {of.ways.map((way, at) => way.authorize
        ? <p key={way.way}><a class="button" href={way.authorize}>{said.signInThere(of.title)}</a></p>
        : (
          <form key={way.way} class="field" ref={at === 0 ? form : undefined} onSubmit={(event) => {
            event.preventDefault();
            const given = [...new FormData(event.currentTarget)].filter(([, text]) => text !== "") as [string, string][];
            onSend(way.way, Object.fromEntries(given));
          }}>
            {way.fields.map((field) => (
              <label key={field.name}>{said.fields[field.label] ?? field.label}{" "}
                <input name={field.name} required={field.required} autocomplete="off" spellcheck={false}
                  type={(field.kind === "password" || field.kind === "url" ? field.kind : "text") as "text"} />
              </label>
            ))}
            <p class="yours"><button type="submit" class="primary">{said.connect}</button></p>
          </form>
        ))}
      <button type="button" class="plain" onClick={onBack}>{said.another_source}</button>
    </>
  );
}
