// Which tips this device was told of in notifications: the newest of them, by their tags.

import { get, update } from "idb-keyval";
import { kept } from "./outbox";

const SHOWN_MAX = 64;

export async function wasShown(tag: string): Promise<boolean> {
  return ((await get<string[]>("shown", kept)) ?? []).includes(tag);
}

/** Once it stands: a worker that ends before has shown nothing. */
export function noteShown(tag: string): Promise<void> {
  return update<string[]>("shown", (before = []) => [...before.filter((one) => one !== tag), tag].slice(-SHOWN_MAX), kept);
}
