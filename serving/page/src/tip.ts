// What is shown and what the person does with it: a small machine, fed by the stream. It draws nothing.

import { effect, signal } from "@preact/signals";
import type { Body } from "oo-client";
import { answer, api, ask, has, Refused, renew } from "./api";
import { follows, forgetAll, isOf, keepTip, lastTip } from "./kept";
import { all, flush, post, put, sendLater, type Queued, queued, type Reaction, type Reason, take } from "./outbox";
import { titleOf, whyOf } from "./phrases";
import { silence } from "./push";
import { words } from "./words";

export type Tip = Body<"TipBody">;

const SEEN_AFTER_MS = 1000;
const UNDO_MS = 10_000;
const BETWEEN_MS = 4000;
const HIDDEN_CLOSES_MS = 60_000;
const RETRY_MS_MAX = 15_000;
const SEND_TIMEOUT_MS = 15_000;

/** Why one may have been dismissed, in the order in which they are shown. */
export const REASONS = ["not_now", "done_already", "not_relevant", "not_mine"] as const satisfies readonly Reason[];

export const state = signal<"loading" | "tip" | "empty" | "between" | "signin">("loading");
export const tip = signal<Tip | null>(null);
export const between = signal("");
export const fault = signal("");
export const said = signal("");
export const choosing = signal(false);
export const link = signal<{ live: "" | "yes" | "no"; text: () => string }>({ live: "", text: () => words().connecting });
/** The reaction that can still be taken back: it has not been sent. */
export const pending = signal<(Queued & { tip: Tip }) | null>(null);
/** Reactions that wait for the edge. */
export const waiting = signal(0);

const spent = new Set<string>(); // decisions that were reacted to here: never shown again
const seen = new Set<string>();
const leaving = new Set<string>(); // keys of reactions that were sent as the page went out of sight
let last: Tip | null = null; // the last one reacted to, should the edge refuse that
let betweenTimer = 0;
let undoTimer = 0;

effect(() => {
  document.body.dataset.state = state.value;
  document.body.dataset.undo = String(pending.value !== null);
});

/** Puts the focus where it is wanted once all of this is drawn. */
export function focus(id: string): void {
  setTimeout(() => document.getElementById(id)?.focus({ preventScroll: true }));
}

function hasFocus(id: string): boolean {
  return document.getElementById(id)?.contains(document.activeElement) === true;
}

function show(next: typeof state.value): void {
  state.value = next;
  if (next !== "tip") choosing.value = false;
}

function showTip(next: Tip): void {
  if (spent.has(next.decision_id)) return;
  clearTimeout(betweenTimer);
  betweenTimer = 0;
  const isSame = state.value === "tip" && tip.value?.decision_id === next.decision_id;
  const hadFocus = hasFocus("actions") || hasFocus("empty-title") || hasFocus("between-text");
  tip.value = next;
  document.title = `${titleOf(next).slice(0, 80)} · oO`;
  show("tip");
  if (isSame) return;
  fault.value = "";
  said.value = `${titleOf(next)}. ${whyOf(next).join(". ")}`;
  if (hadFocus) focus("title");
  watchSeen();
}

function showNone(): void {
  // A reaction has just been taken: give the next tip a moment before calling it nothing.
  if (state.value === "between" && (betweenTimer !== 0 || pending.value !== null)) return;
  const hadFocus = hasFocus("actions") || hasFocus("between-text");
  tip.value = null;
  document.title = "oO";
  show("empty");
  said.value = words().nothing;
  if (hadFocus) focus("empty-title");
}

/** The reaction is on its way: the next tip, or none. */
function waitForNext(): void {
  clearTimeout(betweenTimer);
  betweenTimer = setTimeout(() => {
    betweenTimer = 0;
    if (state.value === "between") showNone();
  }, BETWEEN_MS);
}

// ---- what the person does

export function react(reaction: Reaction, snooze_until: string | null = null): void {
  const reacted = tip.value;
  if (reacted === null || state.value !== "tip") return;
  void settle();
  const one = queued(reacted.decision_id, reaction, snooze_until);
  spent.add(one.decision_id);
  last = reacted;
  pending.value = { ...one, tip: reacted };
  void keepTip(null);
  hold();
  fault.value = "";
  between.value = said.value = words().said[reaction];
  if (reaction === "dismiss") said.value += ` ${words().whyNot}`;
  clearTimeout(betweenTimer);
  betweenTimer = 0;
  show("between");
  focus("undo");
}

/** It can be taken back for ten seconds from now. */
export function hold(): void {
  if (pending.value === null) return;
  clearTimeout(undoTimer);
  undoTimer = setTimeout(settle, UNDO_MS);
  pending.value = { ...pending.value, held_until: Date.now() + UNDO_MS };
  void put(toKeep(pending.value));
}

function toKeep({ tip: _, ...one }: Queued & { tip: Tip }): Queued {
  return one;
}

/** Why the tip was dismissed; the same again takes that back. Whoever says so has time again to think better of it. */
export function because(reason: Reason): void {
  const one = pending.value;
  if (one === null) return;
  pending.value = { ...one, reason: one.reason === reason ? null : reason };
  said.value = pending.value.reason === null ? words().takenBack : words().thanks;
  hold();
}

export async function undo(): Promise<void> {
  const one = pending.value;
  if (one === null) return;
  clearTimeout(undoTimer);
  pending.value = null;
  await take(one.key);
  spent.delete(one.decision_id);
  // Another tip may have come meanwhile: then that is the one of now.
  if (state.value !== "between") {
    said.value = words().takenBack;
    return;
  }
  showTip(one.tip);
  void keepTip(one.tip);
  said.value = `${words().takenBack} ${said.value}`;
  focus(one.reaction);
}

/** What could still be taken back is sent now. */
export async function settle(): Promise<void> {
  const one = pending.value;
  if (one === null) return;
  clearTimeout(undoTimer);
  // What had the focus goes with what could be taken back.
  if (state.value === "between" && hasFocus("actions")) focus("between-text");
  pending.value = null;
  if (state.value === "between") waitForNext();
  await letGo(one);
  await deliver();
}

function letGo(one: Queued & { tip: Tip }): Promise<void> {
  return put({ ...toKeep(one), held_until: 0 });
}

/** The same as the page goes out of sight, which it may not come back from: sent before this returns. */
function leave(): void {
  const one = pending.value;
  if (one === null) return;
  clearTimeout(undoTimer);
  pending.value = null;
  if (state.value === "between") waitForNext();
  leaving.add(one.key);
  // What the page sends goes by way of its worker, and is dropped if the page has gone by then: so the worker looks whether it was.
  navigator.serviceWorker?.controller?.postMessage(toKeep(one));
  post(one)
    .then(async (response) => {
      await response.text();
      await (response.ok ? take(one.key) : letGo(one));
    })
    .catch(() => letGo(one))
    .finally(() => {
      leaving.delete(one.key);
      void deliver();
    });
}

let deliverTimer = 0;

async function deliver(): Promise<void> {
  clearTimeout(deliverTimer);
  const { left, held, refused, isNobody } = await flush((key) => leaving.has(key));
  waiting.value = left;
  // Of another tab, or of this page before it was loaded again.
  if (held > 0) deliverTimer = setTimeout(deliver, UNDO_MS);
  if (left > 0) {
    if (isNobody && has("local")) await renew();
    clearTimeout(deliverTimer);
    deliverTimer = setTimeout(deliver, RETRY_MS_MAX);
    // Should the page be closed before: the worker sends it when there is a connection.
    void navigator.serviceWorker?.ready.then(sendLater).catch(() => undefined);
  }
  for (const { one, status, said: why } of refused) {
    spent.delete(one.decision_id);
    if (state.value !== "tip" && last?.decision_id === one.decision_id) {
      showTip(last);
      focus(one.reaction);
    }
    fault.value = words().notThrough(new Refused(status, why).message);
  }
}

/** Sends what is left, and forgets the person here. Raises where something could not be sent: nothing is lost. */
export async function forget(): Promise<void> {
  await settle();
  const { left } = await flush(undefined, true);
  if (left > 0) throw new TypeError("not everything could be sent");
  await forgetAll();
}

async function send(decision_id: string, reaction: "seen"): Promise<void> {
  await ask(() => api.POST("/v1/feedback", {
    params: { header: { "idempotency-key": `${decision_id} ${reaction}` } },
    body: { decision_id, reaction, snooze_until: null },
    signal: AbortSignal.timeout(SEND_TIMEOUT_MS),
  }));
}

// ---- seen: only what has really been on a visible screen for a second

let isOnScreen = false;
let seenTimer = 0;

/** Whether at least half of the title stands on the screen. */
export function onScreen(is: boolean): void {
  isOnScreen = is;
  watchSeen();
}

function watchSeen(): void {
  clearTimeout(seenTimer);
  const shown = tip.value?.decision_id;
  if (shown === undefined || seen.has(shown) || !isOnScreen || document.visibilityState !== "visible" || link.value.live !== "yes") return;
  seenTimer = setTimeout(async () => {
    if (tip.value?.decision_id !== shown || state.value !== "tip") return;
    seen.add(shown);
    try {
      await send(shown, "seen");
    } catch {
      // Nobody needs to hear of it; it is told again at the next look.
      seen.delete(shown);
      setTimeout(watchSeen, 5000);
    }
  }, SEEN_AFTER_MS);
}

// ---- the stream

let source: EventSource | null = null;
let retryMs = 1000;
let retryTimer = 0;
let hiddenTimer = 0;
let isKnown = false;

export function open(): void {
  clearTimeout(retryTimer);
  source?.close();
  const opened = new EventSource("/v1/tips/stream");
  source = opened;
  opened.addEventListener("open", () => {
    retryMs = 1000;
    link.value = { live: "yes", text: () => words().live };
    watchSeen();
    void deliver();
    void know();
  });
  opened.addEventListener("tip", (event) => {
    const next = JSON.parse(event.data) as Tip;
    showTip(next);
    if (isKnown && !spent.has(next.decision_id)) void keepTip(next);
  });
  opened.addEventListener("none", () => {
    showNone();
    void keepTip(null);
  });
  opened.addEventListener("error", async () => {
    link.value = { live: "no", text: () => words().notConnected };
    if (state.value === "loading") {
      const found = await lastTip();
      if (found !== null && state.value === "loading") showTip(found);
    }
    if (opened.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    const status = await fetch("/v1/tip").then((response) => response.status).catch(() => 0);
    if (status === 401 && !has("local")) return nobody();
    if (status === 401) await renew();
    if (source !== opened) return;
    retryTimer = setTimeout(open, retryMs);
    retryMs = Math.min(2 * retryMs, RETRY_MS_MAX);
  });
}

/** Nobody is signed in: what was kept of somebody goes. */
function nobody(): void {
  source?.close();
  clearTimeout(undoTimer);
  pending.value = null;
  tip.value = null;
  document.title = "oO";
  link.value = { live: "", text: () => "" };
  show("signin");
  void forgetAll();
  void silence().catch(() => undefined);
}

/** Who this is, so that nobody else's is kept; their time zone follows the device where they want that. */
async function know(): Promise<void> {
  if (isKnown) return;
  try {
    const me = await ask(() => api.GET("/v1/me"));
    if (await isOf(me.account)) {
      waiting.value = 0;
      await silence();
    }
    isKnown = true;
    // What was done before that is theirs, and went with what was kept of nobody known.
    if (pending.value !== null) void put(toKeep(pending.value));
    if (state.value === "tip") await keepTip(tip.value);
    const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (here && here !== me.time_zone && (await follows.get())) await answer(() => api.PATCH("/v1/me", { body: { time_zone: here } as Body<"MeChange"> }));
  } catch (error) {
    // Then nothing is kept, this time.
    if (error instanceof Refused && error.is("left")) await forgetAll();
  }
}

export async function begin(): Promise<void> {
  addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", () => {
    watchSeen();
    clearTimeout(hiddenTimer);
    if (document.visibilityState === "visible") {
      if (source === null || source.readyState === EventSource.CLOSED) open();
    } else {
      leave();
      // A tab that nobody looks at does not hold a connection.
      hiddenTimer = setTimeout(() => {
        source?.close();
        link.value = { live: "", text: () => words().resting };
      }, HIDDEN_CLOSES_MS);
    }
  });
  addEventListener("online", open);
  for (const one of await all().catch(() => [])) spent.add(one.decision_id);
  // Asked for by the page's head already: it is here a round trip before the stream is.
  fetch("/v1/tip")
    .then(async (first) => { if (first.status === 200 && state.value === "loading") showTip(await first.json()); })
    .catch(() => undefined);
  open();
}
