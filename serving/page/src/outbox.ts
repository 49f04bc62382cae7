// Reactions on their way, for the page and for its worker: kept until the edge has taken them. The edge counts one that comes twice once.

import { createStore, get, update } from "idb-keyval";
import type { Body } from "oo-client";

/** Where all of it is kept, on this device alone. */
export const kept = createStore("oo", "kept");

export type Reaction = "done" | "snooze" | "dismiss";
export type Reason = Body<"DismissReason">;

export interface Queued {
  /** Names this reaction to the edge, however often it is sent (Idempotency-Key). */
  key: string;
  decision_id: string;
  reaction: Reaction;
  snooze_until: string | null;
  /** Why it was dismissed. */
  reason?: Reason | null;
  /** Until then it can be taken back, and nobody sends it: no other tab, and not the worker. */
  held_until?: number;
  /** From a notification's button: what lets it answer for that one decision, without a session. */
  by?: { delivery_id: string; token: string };
}

export function queued(decision_id: string, reaction: Reaction, snooze_until: string | null): Queued {
  return { key: `${decision_id} ${reaction} ${snooze_until ?? ""}`.trim(), decision_id, reaction, snooze_until };
}

export async function all(): Promise<Queued[]> {
  return (await get<Queued[]>("outbox", kept)) ?? [];
}

export function put(one: Queued): Promise<void> {
  return update<Queued[]>("outbox", (now = []) => [...now.filter(({ key }) => key !== one.key), one], kept);
}

export function take(key: string): Promise<void> {
  return update<Queued[]>("outbox", (now = []) => now.filter((one) => one.key !== key), kept);
}

/** Anybody may send it now, if it is still there as it was. */
export function release({ key, held_until }: Queued): Promise<void> {
  const isIt = (one: Queued) => one.key === key && one.held_until === held_until;
  return update<Queued[]>("outbox", (now = []) => now.map((one) => (isIt(one) ? { ...one, held_until: 0 } : one)), kept);
}

/** The worker sends what is left once there is a connection (Background Sync), where the browser has that. */
export async function sendLater(worker: ServiceWorkerRegistration): Promise<void> {
  await (worker as unknown as { sync?: { register(tag: string): Promise<void> } }).sync?.register("outbox");
}

/** Begins to send before it returns, and goes on when the page has gone. */
export function post({ key, by, decision_id, reaction, snooze_until, reason = null }: Queued): Promise<Response> {
  const [path, said] = by === undefined
    ? ["/v1/feedback", { decision_id, reaction, snooze_until, reason } satisfies Body<"FeedbackBody">]
    : [`/v1/deliveries/${by.delivery_id}/reaction`, { token: by.token, reaction, snooze_until } satisfies Body<"ButtonBody">];
  return fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": key },
    body: JSON.stringify(said),
    keepalive: true,
  });
}

/** Whether an answer of this status can be another one later: nobody signed in, too often, a fault of the edge. */
export function isForNow(status: number): boolean {
  return status === 401 || status === 408 || status === 429 || status >= 500;
}

export interface Sent {
  /** How many wait for another try. */
  left: number;
  /** How many can still be taken back. */
  held: number;
  /** What the edge will never take, with its answer. */
  refused: { one: Queued; status: number; said: { detail?: string } }[];
  /** Whether the edge asked who this is. */
  isNobody: boolean;
}

/** Sends what is kept, but for what can be taken back unless this `isTheLast`, and those that `isOnItsWay`; one sender at a time, page or worker. */
export async function flush(isOnItsWay: (key: string) => boolean = () => false, isTheLast = false): Promise<Sent> {
  const sent: Sent = { left: 0, held: 0, refused: [], isNobody: false };
  async function each(): Promise<void> {
    let isStopped = false;
    for (const one of await all()) {
      if (isOnItsWay(one.key)) continue;
      if (!isTheLast && (one.held_until ?? 0) > Date.now()) {
        sent.held += 1;
        continue;
      }
      const response = isStopped ? null : await post(one).catch(() => null);
      if (response === null || isForNow(response.status)) {
        isStopped = true;
        sent.left += 1;
        sent.isNobody ||= response?.status === 401;
        continue;
      }
      // Read in any case: what is answered and not read can end as aborted.
      const said = await response.json().catch(() => ({}));
      await take(one.key);
      if (!response.ok) sent.refused.push({ one, status: response.status, said });
    }
  }
  // Not there without https, where there is no worker either.
  if (navigator.locks) await navigator.locks.request("oo-outbox", each);
  else await each();
  return sent;
}
