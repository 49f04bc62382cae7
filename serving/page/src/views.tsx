// What stands in the great O: a tip with its why, or that there is none; and below it what to do with it.

import { useEffect, useRef } from "preact/hooks";
import { between, choosing, fault, focus, onScreen, react, state, tip, type Tip } from "./tip";
import { clock, words } from "./words";

const user = new URLSearchParams(location.search).get("user") ?? "demo";

function ImportHint({ id }: { id: string }) {
  return <pre><code id={id}>oo import todo.txt calendar.ics --user {user}</code></pre>;
}

function kind(of: Tip): string {
  const { kinds, from } = words();
  const name = kinds[of.kind as keyof typeof kinds] ?? kinds.other;
  return of.source && of.kind !== "generated" ? from(name, of.source) : name;
}

/** Only http and https lead anywhere. */
function target(url: string): URL | null {
  const found = URL.canParse(url) ? new URL(url) : null;
  return found?.protocol === "https:" || found?.protocol === "http:" ? found : null;
}

function Shown({ of }: { of: Tip }) {
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    const watched = new IntersectionObserver((entries) => onScreen(entries.at(-1)!.isIntersecting), { threshold: 0.5 });
    watched.observe(title.current!);
    return () => {
      watched.disconnect();
      onScreen(false);
    };
  }, []);
  const said = words();
  const url = target(of.url);
  return (
    <article class="tip" id="tip" aria-labelledby="title">
      <p class="eyebrow"><span id="kind">{kind(of)}</span><span class="until" id="until">{said.goodUntil(clock(of.valid_until))}</span></p>
      <h1 id="title" ref={title} dir="auto" tabIndex={-1} data-length={of.title.length > 160 ? "endless" : of.title.length > 60 ? "long" : "short"}>{of.title}</h1>
      {of.detail && <p class="detail" id="detail" dir="auto">{of.detail}</p>}
      {url && (
        <a class="open" id="url" href={url.href} rel="noopener noreferrer" target="_blank">
          <span id="url-host">{url.host}</span> <span aria-hidden="true">↗</span><span class="sr"> {said.newTab}</span>
        </a>
      )}
      {of.why.length > 0 && (
        <section class="why" id="why-section" aria-labelledby="why-title">
          <h2 id="why-title">{said.whyNow}</h2>
          <ul id="why">{of.why.map((reason) => <li key={reason} dir="auto">{reason}</li>)}</ul>
        </section>
      )}
      {of.kind === "starter" && <div class="begin" id="begin"><p>{said.toGetYours}</p><ImportHint id="begin-import" /></div>}
    </article>
  );
}

function Empty() {
  const said = words();
  return (
    <section class="empty" id="empty" aria-labelledby="empty-title">
      <h1 id="empty-title" tabIndex={-1}>{said.nothing}</h1>
      <p>{said.nothingMore}</p>
      <p class="hint">{said.toThinkAbout}</p>
      <ImportHint id="hint-import" />
    </section>
  );
}

export function Stage() {
  const shown = tip.value;
  return (
    <main>
      {state.value === "loading" && <p class="quiet loading" id="loading">{words().looking}</p>}
      {state.value === "tip" && shown && <Shown of={shown} />}
      {state.value === "empty" && <Empty />}
      {state.value === "between" && <section class="between" id="between"><p class="quiet" id="between-text">{between}</p></section>}
      {fault.value && <p class="fault" id="fault" role="alert">{fault}</p>}
    </main>
  );
}

/** When to come back to it: an hour, this evening where that is later, tomorrow morning. */
function times(): [string, Date][] {
  const said = words();
  const hour = new Date(Date.now() + 3_600_000);
  const evening = new Date();
  evening.setHours(18, 0, 0, 0);
  const tomorrow = new Date();
  tomorrow.setDate(tomorrow.getDate() + 1);
  tomorrow.setHours(9, 0, 0, 0);
  return [[said.inAnHour, hour], ...(evening > hour ? [[said.thisEvening, evening] as [string, Date]] : []), [said.tomorrow, tomorrow]];
}

export function openChoices(): void {
  choosing.value = true;
  focus("snooze-first");
}

export function closeChoices(): void {
  if (!choosing.value) return;
  const hadFocus = document.getElementById("snooze-row")?.contains(document.activeElement);
  choosing.value = false;
  if (hadFocus) focus("snooze");
}

export function Actions() {
  if (state.value !== "tip") return null;
  const said = words();
  return (
    <footer id="actions">
      <div class="row" id="main-row" role="group" aria-label={said.whatToDo} hidden={choosing.value}>
        <button type="button" class="primary" id="done" aria-keyshortcuts="d" onClick={() => react("done")}>{said.done}<kbd aria-hidden="true">D</kbd></button>
        <button type="button" id="snooze" aria-keyshortcuts="s" aria-expanded={choosing.value} aria-controls="snooze-row" onClick={openChoices}>{said.snooze}<kbd aria-hidden="true">S</kbd></button>
        <button type="button" id="dismiss" aria-keyshortcuts="x" onClick={() => react("dismiss")}>{said.dismiss}<kbd aria-hidden="true">X</kbd></button>
      </div>
      <div class="row choices" id="snooze-row" role="group" aria-label={said.snoozeUntil} hidden={!choosing.value}>
        {choosing.value && times().map(([name, time], at) => (
          <button type="button" key={name} id={at === 0 ? "snooze-first" : undefined} onClick={() => react("snooze", time.toISOString())}>
            {name} <small>{clock(time.toISOString())}</small>
          </button>
        ))}
      </div>
    </footer>
  );
}
