// What stands in the great O: a tip with its why, or that there is none; and below it what to do with it.

import type { Body } from "oo-client";
import { useEffect, useRef, useState } from "preact/hooks";
import { api, ask, why as whyNot } from "./api";
import { because, between, choosing, fault, focus, hold, link, onScreen, pending, react, REASONS, settle, state, tip, type Tip, undo, waiting } from "./tip";
import { detailOf, titleOf, whyOf } from "./phrases";
import { clock, plural, words } from "./words";

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
  const [name, detail, why] = [titleOf(of), detailOf(of), whyOf(of)];
  return (
    <article class="tip" id="tip" aria-labelledby="title">
      <p class="eyebrow"><span id="kind">{kind(of)}</span><span class="until" id="until">{(Date.parse(of.valid_until) < Date.now() ? said.wasGoodUntil : said.goodUntil)(clock(of.valid_until))}</span></p>
      <h1 id="title" ref={title} dir="auto" tabIndex={-1} data-length={name.length > 160 ? "endless" : name.length > 60 ? "long" : "short"}>{name}</h1>
      {detail && <p class="detail" id="detail" dir="auto">{detail}</p>}
      {url && (
        <a class="open" id="url" href={url.href} rel="noopener noreferrer" target="_blank">
          <span id="url-host">{url.host}</span> <span aria-hidden="true">↗</span><span class="sr"> {said.newTab}</span>
        </a>
      )}
      {why.length > 0 && (
        <section class="why" id="why-section" aria-labelledby="why-title">
          <h2 id="why-title">{said.whyNow}</h2>
          <ul id="why">{why.map((reason) => <li key={reason} dir="auto">{reason}</li>)}</ul>
        </section>
      )}
      {of.kind === "starter" && <div class="begin" id="begin"><p>{said.toGetYours}</p><ImportHint id="begin-import" /></div>}
    </article>
  );
}

function SignIn() {
  const said = words();
  const [ways, set] = useState<Body<"ProviderBody">[] | null>(null);
  useEffect(() => { void ask(() => api.GET("/auth/providers")).then(({ providers }) => set(providers), (error) => { fault.value = whyNot(error); }); }, []);
  return (
    <section class="empty" id="signin" aria-labelledby="signin-title">
      <h1 id="signin-title" tabIndex={-1}>{said.welcome}</h1>
      <p>{said.oneTip}</p>
      <p class="ways">{ways?.map((one) => <a class="button" key={one.provider} href={`${one.login}?next=${encodeURIComponent(location.pathname)}`}>{said.signInWith(one.name)}</a>)}</p>
    </section>
  );
}

function Empty() {
  const said = words();
  return (
    <section class="empty" id="empty" aria-labelledby="empty-title">
      <h1 id="empty-title" tabIndex={-1}>{said.nothing}</h1>
      <p>{link.value.live === "no" ? said.offline : said.nothingMore}</p>
      <p class="hint">{said.toThinkAbout}</p>
      <ImportHint id="hint-import" />
    </section>
  );
}

export function Stage() {
  const shown = tip.value;
  return (
    <main>
      {state.value === "loading" && <h1 class="quiet loading" id="loading">{words().looking}</h1>}
      {state.value === "tip" && shown && <Shown of={shown} />}
      {state.value === "empty" && <Empty />}
      {state.value === "between" && <section class="between" id="between"><h1 class="quiet" id="between-text" tabIndex={-1}>{between}</h1></section>}
      {state.value === "signin" && <SignIn />}
      {waiting.value > 0 && <p class="soft waiting" id="waiting" role="status">{plural(waiting.value, words().waiting)}</p>}
      {fault.value && <p class="fault" id="fault" role="alert">{fault}</p>}
    </main>
  );
}

/** When to come back to it: an hour, this evening where that is later, tomorrow morning, Monday. */
function times(): [string, Date][] {
  const said = words();
  const at = (days: number, hour: number) => {
    const time = new Date();
    time.setDate(time.getDate() + days);
    time.setHours(hour, 0, 0, 0);
    return time;
  };
  const [hour, evening] = [new Date(Date.now() + 3_600_000), at(0, 18)];
  const toMonday = (8 - new Date().getDay()) % 7 || 7;
  return [
    [said.inAnHour, hour],
    ...(evening > hour ? [[said.thisEvening, evening] as [string, Date]] : []),
    [said.tomorrow, at(1, 9)],
    ...(toMonday > 1 ? [[said.nextWeek, at(toMonday, 9)] as [string, Date]] : []),
  ];
}

/** The wall clock as an input has it. */
function local(time: Date): string {
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function AnotherTime() {
  const said = words();
  const field = useRef<HTMLInputElement>(null);
  const now = new Date();
  return (
    <form class="another" onSubmit={(event) => { event.preventDefault(); react("snooze", new Date(field.current!.value).toISOString()); }}>
      <label>{said.another} <input type="datetime-local" required ref={field} min={local(now)} max={local(new Date(now.getTime() + 365 * 86_400_000))} /></label>
      <button type="submit">{said.snooze}</button>
    </form>
  );
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
  const said = words();
  if (state.value === "between" && pending.value) {
    return (
      <footer id="actions">
        {pending.value.reaction === "dismiss" && (
          <div class="because" id="because" role="group" aria-labelledby="because-title" onFocusIn={hold}>
            <p class="soft" id="because-title">{said.whyNot}</p>
            <div class="row">
              {REASONS.map((reason, at) => (
                <button type="button" class="chip" key={reason} aria-pressed={pending.value?.reason === reason} aria-keyshortcuts={`${at + 1}`} onClick={() => because(reason)}>
                  {said.whysNot[reason]}<kbd aria-hidden="true">{at + 1}</kbd>
                </button>
              ))}
            </div>
          </div>
        )}
        <div class="row halves" role="group" aria-label={said.whatToDo}>
          <button type="button" id="undo" aria-keyshortcuts="u" onClick={undo}>{said.undo}<kbd aria-hidden="true">U</kbd></button>
          <button type="button" id="next" aria-keyshortcuts="n" onClick={settle}>{said.next}<kbd aria-hidden="true">N</kbd></button>
        </div>
      </footer>
    );
  }
  if (state.value !== "tip") return null;
  return (
    <footer id="actions">
      <div class="row halves" id="main-row" role="group" aria-label={said.whatToDo} hidden={choosing.value}>
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
        {choosing.value && <AnotherTime />}
      </div>
      {pending.value && <p class="soft undo">{words().said[pending.value.reaction]} <button type="button" class="plain" onClick={undo}>{words().undo}</button></p>}
    </footer>
  );
}
