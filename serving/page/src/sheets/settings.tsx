// The sheet of settings: what a person's data may be used for, when to be quiet, taking all along, leaving and beginning again.
// It shows what the engine has taken in, and keeps nothing of its own.

import type { Body } from "oo-client";
import { useEffect, useRef, useState } from "preact/hooks";
import { answer, api, ask, got, has, Refused, why } from "../api";
import { follows } from "../kept";
import { open } from "../tip";
import { chosen, LANGUAGES, speak, words } from "../words";
import { type Line, Section, Sheet, Way } from "./sheet";

type Me = Body<"Me">;
type Change = Partial<Body<"MeChange">>;

const TAKEN_WITHIN_MS = 8000;
const LOOK_EVERY_MS = 150;
const NIGHT = { start: "22:00", end: "07:00" };

const pause = () => new Promise((done) => setTimeout(done, LOOK_EVERY_MS));

/** What is shown: settings with the tag that a grant has to name, or that the person has left. */
type Shown = { me: Me; tag: string } | { receipt?: string };

let hasLeft = false; // here and now: the edge may not have heard of it yet

async function read(): Promise<{ me: Me; tag: string }> {
  const found = await answer(() => api.GET("/v1/me"));
  return { me: got(found), tag: found.response.headers.get("etag") ?? "" };
}

export function Settings() {
  const said = words();
  const [shown, show] = useState<Shown | null>(null);
  const [line, say] = useState<Line>({ text: "" });
  const tag = useRef("");
  const queue = useRef(Promise.resolve()); // changes, one after the other: each has to know of the one before
  const waiting = useRef(0);

  function failed(error: unknown): void {
    say({ text: said.notThrough(why(error)), isFault: true });
  }

  async function look(): Promise<void> {
    try {
      const found = await read();
      tag.current = found.tag;
      show(found);
    } catch (error) {
      if (error instanceof Refused && error.is("left")) show({});
      else say({ text: `${why(error)} ${said.tryAgain}`, isFault: true });
    }
  }
  useEffect(() => { void look(); }, []);

  // What is asked for is taken once it stands in the log, and shows once it is folded: the tag is then another.
  function change(asked: Change, takeBack: () => void): void {
    waiting.current += 1;
    queue.current = queue.current.then(() => send(asked, takeBack)).finally(() => { waiting.current -= 1; });
  }

  async function send(asked: Change, takeBack: () => void): Promise<void> {
    say({ text: "" });
    // Only a grant has to know what it takes back; a withdrawal is always taken.
    const grants = Object.values({ ...asked.purposes, ...asked.sources }).some((one) => one.granted);
    try {
      await ask(() => api.PATCH("/v1/me", { params: { header: grants ? { "if-match": tag.current } : {} }, body: asked as Body<"MeChange"> }));
      say({ text: (await taken()) ? said.taken : said.noted });
    } catch (error) {
      if (error instanceof Refused && error.status === 412) {
        await look();
        return say({ text: said.changedMeanwhile });
      }
      takeBack();
      failed(error);
    }
  }

  async function taken(): Promise<boolean> {
    for (const until = Date.now() + TAKEN_WITHIN_MS; Date.now() < until; await pause()) {
      const found = await read();
      if (found.tag === tag.current) continue;
      tag.current = found.tag;
      if (waiting.current <= 1) show(found); // else what comes next shows all of it
      return true;
    }
    return false;
  }

  async function beginAgain(): Promise<void> {
    say({ text: said.aMoment });
    let asked = false;
    for (const until = Date.now() + TAKEN_WITHIN_MS; Date.now() < until; await pause()) {
      if (!asked) {
        const { response, error } = await answer(() => api.POST("/v1/me"));
        const refused = new Refused(response.status, error);
        if (!response.ok && !refused.is("not-left")) throw refused;
        asked = response.ok || !hasLeft;
      }
      const found = asked ? await read().catch(() => null) : null;
      if (found === null) continue;
      hasLeft = false;
      tag.current = found.tag;
      say({ text: said.welcomeBack });
      show(found);
      return open();
    }
    throw new Error();
  }

  return (
    <Sheet id="settings" title={said.settings} line={line}>
      <div id="settings-body">
        {shown === null && !line.isFault && <p class="soft">{said.looking}</p>}
        {shown !== null && "me" in shown && (
          <>
            {WAYS.some(([what]) => has(what)) && <div class="ways-on">{WAYS.map(([what, to]) => has(what) && <Way key={to} to={to} name={said[to]} />)}</div>}
            <Purposes me={shown.me} change={change} />
            <Section title={said.quietHours}><Quiet me={shown.me} change={change} look={look} /></Section>
            <Section title={said.language}><Tongue me={shown.me} change={change} /></Section>
            <Section title={said.yours}><Yours failed={failed} onLeft={(receipt) => { hasLeft = true; say({ text: "" }); show({ receipt }); }} /></Section>
          </>
        )}
        {shown !== null && !("me" in shown) && <Left receipt={shown.receipt} beginAgain={beginAgain} say={say} />}
      </div>
    </Sheet>
  );
}

/** What else there is to set, where this edge has it. */
const WAYS = [["connections", "connections"], ["devices", "notifications"], ["sessions", "sessions"]] as const;

type Changing = (asked: Change, takeBack: () => void) => void;

/** A switch: what it shows is what was asked for, until it is known what came of it. */
export function Switch({ name, text = "", isOn, onChange }: {
  name: string; text?: string; isOn: boolean; onChange: (isOn: boolean, takeBack: () => void) => void;
}) {
  const [on, set] = useState(isOn);
  useEffect(() => set(isOn), [isOn]);
  const about = `about-${name.replaceAll(/[^A-Za-z]/g, "-")}`;
  return (
    <label class="switch">
      <span><b>{name}</b>{text && <small id={about}>{text}</small>}</span>
      <input
        type="checkbox" role="switch" checked={on} aria-label={name} aria-describedby={text ? about : undefined}
        onChange={(event) => {
          const wanted = event.currentTarget.checked;
          set(wanted);
          onChange(wanted, () => set(!wanted));
        }}
      />
    </label>
  );
}

/** What the person reads: in their language where the page has this version of the text, else as the edge says it. */
export function textOf(name: string, one: Body<"PurposeBody">): string {
  return words().texts[`${name} ${one.text_version}`] ?? one.text;
}

function Purposes({ me, change }: { me: Me; change: Changing }) {
  const said = words();
  const sources = Object.entries(me.sources);
  return (
    <>
      <Section title={said.mayUse}>
        {Object.entries(me.purposes).map(([name, one]) => (
          <Switch
            key={name} name={said.purposes[name as keyof typeof said.purposes] ?? name} text={textOf(name, one)} isOn={one.granted}
            onChange={(granted, takeBack) => change({ purposes: { [name]: { granted } } }, takeBack)}
          />
        ))}
      </Section>
      {sources.length > 0 && (
        <Section title={said.whereFrom}>
          {sources.map(([name, one]) => (
            <Switch key={name} name={name} isOn={one.granted} onChange={(granted, takeBack) => change({ sources: { [name]: { granted } } }, takeBack)} />
          ))}
        </Section>
      )}
    </>
  );
}

/** A choice that is as good as any other; `as usual` where nothing is said. */
function Tongue({ me, change }: { me: Me; change: Changing }) {
  const said = words();
  const names = new Intl.DisplayNames([document.documentElement.lang], { type: "language" });
  const now = document.documentElement.lang;
  return (
    <p class="field">
      <label>{said.spoken}{" "}
        <select
          value={now}
          onChange={(event) => {
            const wanted = event.currentTarget.value;
            localStorage.setItem("language", wanted);
            void speak(wanted);
            change({ languages: [wanted, ...me.languages.filter((one) => chosen([one]) !== wanted)].slice(0, 8) }, () => undefined);
          }}
        >
          {LANGUAGES.map((one) => <option key={one} value={one}>{names.of(one)}</option>)}
        </select>
      </label>
    </p>
  );
}

function Quiet({ me, change, look }: { me: Me; change: Changing; look: () => Promise<void> }) {
  const said = words();
  const [isOn, set] = useState(me.quiet_hours !== null);
  useEffect(() => set(me.quiet_hours !== null), [me]);
  const [start, end] = [useRef<HTMLInputElement>(null), useRef<HTMLInputElement>(null)];
  const hours = () => ({ quiet_hours: { ...me.quiet_hours, start: start.current!.value, end: end.current!.value } }) as Change;
  const moved = () => { if (start.current!.value && end.current!.value) change(hours(), look); };
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const [isFollowing, follow] = useState(false);
  useEffect(() => { void follows.get().then(follow); }, []);
  function use(): void {
    void follows.set(true).then(() => follow(true));
    change({ time_zone: here }, look);
  }
  return (
    <>
      <Switch
        name={said.sayNothing} isOn={isOn}
        onChange={(on, takeBack) => {
          set(on);
          change(on ? hours() : { quiet_hours: null }, () => { set(!on); takeBack(); });
        }}
      />
      <p class="times" hidden={!isOn}>
        <label>{said.fromTime} <input type="time" required ref={start} value={me.quiet_hours?.start ?? NIGHT.start} onChange={moved} /></label>
        <label> {said.toTime} <input type="time" required ref={end} value={me.quiet_hours?.end ?? NIGHT.end} onChange={moved} /></label>
      </p>
      <p class="soft">
        {me.time_zone ? said.inZone(me.time_zone) : said.noZone}{" "}
        {here && here !== me.time_zone && <button type="button" class="plain" onClick={use}>{said.useZone(here)}</button>}
      </p>
      {isFollowing && <Switch name={said.followDevice} isOn onChange={(on) => { if (!on) void follows.set(false).then(() => follow(false)); }} />}
    </>
  );
}

function Yours({ failed, onLeft }: { failed: (error: unknown) => void; onLeft: (receipt: string) => void }) {
  const said = words();
  const [confirm, setConfirm] = useState("");
  const [isBusy, setBusy] = useState(false);
  const go = useRef<HTMLButtonElement>(null);
  const stay = useRef<HTMLButtonElement>(null);
  useEffect(() => { if (confirm) stay.current!.focus(); }, [confirm]);

  async function question(): Promise<void> {
    try {
      const { response, error } = await answer(() => api.DELETE("/v1/me"));
      if (response.status !== 409) throw new Refused(response.status, error);
      setConfirm((error as unknown as { confirm: string }).confirm);
    } catch (error) {
      failed(error);
    }
  }

  async function leave(): Promise<void> {
    setBusy(true);
    try {
      onLeft((await ask(() => api.DELETE("/v1/me", { params: { query: { confirm } } }))).receipt);
    } catch (error) {
      setBusy(false);
      failed(error);
    }
  }

  return (
    <div>
      <p class="yours">
        <a href="/v1/me/export" download="oo.zip">{said.takeAlong}</a>
        <button type="button" class="plain grave" ref={go} hidden={confirm !== ""} onClick={question}>{said.leave}</button>
      </p>
      {confirm && (
        <div class="asked">
          <p>{said.leaveMeans}</p>
          <p class="yours">
            <button type="button" ref={stay} onClick={() => { setConfirm(""); setTimeout(() => go.current!.focus()); }}>{said.stay}</button>
            <button type="button" class="grave" disabled={isBusy} onClick={leave}>{said.eraseAll}</button>
          </p>
        </div>
      )}
    </div>
  );
}

function Left({ receipt, beginAgain, say }: { receipt?: string; beginAgain: () => Promise<void>; say: (line: Line) => void }) {
  const said = words();
  const [isBusy, setBusy] = useState(false);
  useEffect(() => document.getElementById("settings-title")?.focus(), []);

  async function back(): Promise<void> {
    setBusy(true);
    try {
      await beginAgain();
    } catch (error) {
      setBusy(false);
      say({ text: said.notThrough(error instanceof Refused || error instanceof TypeError ? why(error) : said.tooLong), isFault: true });
    }
  }

  return (
    <Section title={said.left}>
      {receipt
        ? <><p>{said.erasing}</p><pre><code>{receipt}</code></pre><p class="soft">{said.withReceipt}</p></>
        : <p>{said.leftBefore}</p>}
      <p class="yours"><button type="button" disabled={isBusy} onClick={back}>{said.beginAgain}</button></p>
    </Section>
  );
}
