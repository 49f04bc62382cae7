// What is shown and what the person does with it: a small machine of four states, fed by the stream. It draws nothing.

import { effect, signal } from "@preact/signals";
import type { Body } from "oo-client";
import { api, ask, renew, why } from "./api";
import { words } from "./words";

export type Tip = Body<"TipBody">;
export type Reaction = "done" | "snooze" | "dismiss";

const SEEN_AFTER_MS = 1000;
const BETWEEN_MS = 4000;
const HIDDEN_CLOSES_MS = 60_000;
const RETRY_MS_MAX = 15_000;
const SEND_TIMEOUT_MS = 15_000;

export const state = signal<"loading" | "tip" | "empty" | "between">("loading");
export const tip = signal<Tip | null>(null);
export const between = signal("");
export const fault = signal("");
export const said = signal("");
export const choosing = signal(false);
export const link = signal<{ live: "" | "yes" | "no"; text: () => string }>({ live: "", text: () => words().connecting });

let sending: string | null = null; // the decision whose reaction is on its way
const spent = new Set<string>(); // decisions that were reacted to here: never shown again
const seen = new Set<string>();
let betweenTimer = 0;

effect(() => {
  document.body.dataset.state = state.value;
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
  clearTimeout(betweenTimer);
  betweenTimer = 0;
  if (spent.has(next.decision_id)) return;
  const isSame = state.value === "tip" && tip.value?.decision_id === next.decision_id;
  const hadFocus = hasFocus("actions") || document.activeElement?.id === "empty-title";
  tip.value = next;
  document.title = `${next.title.slice(0, 80)} · oO`;
  show("tip");
  if (isSame) return;
  fault.value = "";
  said.value = `${next.title}. ${next.why.join(". ")}`;
  if (hadFocus) focus("title");
  watchSeen();
}

function showNone(): void {
  // A reaction has just been taken: give the next tip a moment before calling it nothing.
  if ((state.value === "between" && betweenTimer !== 0) || sending !== null) return;
  const hadFocus = hasFocus("actions");
  tip.value = null;
  document.title = "oO";
  show("empty");
  said.value = words().nothing;
  if (hadFocus) focus("empty-title");
}

function showBetween(text: string): void {
  between.value = text;
  show("between");
  said.value = text;
  clearTimeout(betweenTimer);
  betweenTimer = setTimeout(() => {
    betweenTimer = 0;
    if (sending !== null) return showBetween(text);
    if (state.value === "between") showNone();
  }, BETWEEN_MS);
}

async function send(decision_id: string, reaction: Reaction | "seen", snooze_until?: string): Promise<void> {
  await ask(() => api.POST("/v1/feedback", {
    params: { header: { "idempotency-key": `${decision_id} ${reaction} ${snooze_until ?? ""}`.trim() } },
    body: { decision_id, reaction, snooze_until: snooze_until ?? null },
    signal: AbortSignal.timeout(SEND_TIMEOUT_MS),
  }));
}

export async function react(reaction: Reaction, snooze_until?: string): Promise<void> {
  const reacted = tip.value;
  if (reacted === null || sending !== null || state.value !== "tip") return;
  sending = reacted.decision_id;
  spent.add(reacted.decision_id);
  fault.value = "";
  showBetween(words().said[reaction]);
  try {
    await send(reacted.decision_id, reaction, snooze_until);
    sending = null;
    seen.add(reacted.decision_id);
  } catch (error) {
    sending = null;
    spent.delete(reacted.decision_id);
    // Another tip may have come meanwhile: then this one is history, but its failure is still said.
    if (document.body.dataset.state !== "tip") {
      showTip(reacted);
      focus(reaction);
    }
    fault.value = `${words().notThrough(why(error))} ${words().nothingLost}`;
  }
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
  if (shown === undefined || seen.has(shown) || !isOnScreen || document.visibilityState !== "visible") return;
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

export function open(): void {
  clearTimeout(retryTimer);
  source?.close();
  const opened = new EventSource("/v1/tips/stream");
  source = opened;
  opened.addEventListener("open", () => {
    retryMs = 1000;
    link.value = { live: "yes", text: () => words().live };
  });
  opened.addEventListener("tip", (event) => showTip(JSON.parse(event.data)));
  opened.addEventListener("none", showNone);
  opened.addEventListener("error", async () => {
    link.value = { live: "no", text: () => words().notConnected };
    if (opened.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    const status = await fetch("/v1/tip").then((response) => response.status).catch(() => 0);
    if (status === 401) await renew();
    if (source !== opened) return;
    retryTimer = setTimeout(open, retryMs);
    retryMs = Math.min(2 * retryMs, RETRY_MS_MAX);
  });
}

export function begin(): void {
  document.addEventListener("visibilitychange", () => {
    watchSeen();
    clearTimeout(hiddenTimer);
    if (document.visibilityState === "visible") {
      if (source === null || source.readyState === EventSource.CLOSED) open();
    } else {
      // A tab that nobody looks at does not hold a connection.
      hiddenTimer = setTimeout(() => {
        source?.close();
        link.value = { live: "", text: () => words().resting };
      }, HIDDEN_CLOSES_MS);
    }
  });
  addEventListener("online", open);
  open();
}
