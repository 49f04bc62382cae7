// What this device keeps of a person: the last tip, and reactions that have not been sent. One person's at a time: who they are is the
// first thing kept, and all goes when somebody else comes, or they sign out.

import { clear, del, get, set } from "idb-keyval";
import type { Body } from "oo-client";
import { kept } from "./outbox";

interface Last {
  tip: Body<"TipBody">;
  /** As which user of local mode the page was opened. */
  user: string | null;
}

const user = new URLSearchParams(location.search).get("user");

/** Makes sure that what is kept is of this person; answers whether somebody else's had to go. */
export async function isOf(account: string): Promise<boolean> {
  const before = await get<string>("account", kept);
  if (before === account) return false;
  await clear(kept);
  await set("account", account, kept);
  return before !== undefined;
}

export async function keepTip(tip: Last["tip"] | null): Promise<void> {
  if (tip === null) await del("tip", kept);
  else if ((await get("account", kept)) !== undefined) await set("tip", { tip, user } satisfies Last, kept);
}

export async function lastTip(): Promise<Last["tip"] | null> {
  const last = await get<Last>("tip", kept);
  return last === undefined || last.user !== user ? null : last.tip;
}

export function forgetAll(): Promise<void> {
  return clear(kept);
}

/** Whether the person wants their time zone to be this device's, wherever it is. */
export const follows = {
  get: async () => (await get<boolean>("follows", kept)) === true,
  set: (is: boolean) => set("follows", is, kept),
};
