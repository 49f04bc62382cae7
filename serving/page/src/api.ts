// How the page asks: the typed client, with a session that is renewed once where one has ended.

import { client } from "oo-client";
import { words } from "./words";

/** What this edge has, as it said in the page: `local` where it signs in by itself, and optional routes. */
export function has(name: string): boolean {
  return (document.documentElement.dataset.has ?? "").split(" ").includes(name);
}

/** In local mode asking for the page again signs in again: its session lasts half a day. */
export async function renew(): Promise<void> {
  await fetch(location.pathname + location.search, { cache: "no-store" }).catch(() => undefined);
}

export const api = client({ baseUrl: location.origin, cache: "no-store" });

/** What an edge says of what it refuses (RFC 9457). */
export interface Said {
  type?: string;
  detail?: string;
}

/** An answer that says no, or nothing that one can use. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly said: Said = {},
  ) {
    super(said.detail ?? words().answered(status));
  }

  is(kind: string): boolean {
    return this.said.type?.endsWith(`:${kind}`) === true;
  }
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The answer to a call, which is made once more where the session had ended. */
export async function answer<T, A extends Answer<T>>(call: () => Promise<A>): Promise<A> {
  const first = await call();
  if (first.response.status !== 401 || !has("local")) return first;
  await renew();
  return call();
}

/** The data of an answer; raises Refused. */
export function got<T>({ data, error, response }: Answer<T>): T {
  if (!response.ok) throw new Refused(response.status, (error ?? {}) as Said);
  return data as T;
}

/** The data of the answer to a call; raises Refused. */
export async function ask<T>(call: () => Promise<Answer<T>>): Promise<T> {
  return got(await answer<T, Answer<T>>(call));
}

/** What to say of a call that failed. */
export function why(error: unknown): string {
  return error instanceof Refused ? error.message : words().unreachable;
}

const NEWCOMER_MS = 30_000;
const AGAIN_MS = 1000;

/** As `ask`; of somebody new the engine has to hear first, which `meanwhile` may say: it is asked again until then. */
export async function askOfNewcomer<T>(call: () => Promise<Answer<T>>, meanwhile: () => void): Promise<T> {
  for (const until = Date.now() + NEWCOMER_MS; ; ) {
    try {
      return await ask(call);
    } catch (error) {
      if (!(error instanceof Refused && error.is("key-unavailable")) || Date.now() > until) throw error;
      meanwhile();
      await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
  }
}
