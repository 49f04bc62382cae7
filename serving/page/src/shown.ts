// Which tips this device was told of in notifications: the newest of them, by their tags.

import { update } from "idb-keyval";
import { kept } from "./outbox";

const SHOWN_MAX = 64;

/** Whether nobody has asked this of that tag before; asked in one transaction, so of two at once one is first. */
export async function isFirst(tag: string): Promise<boolean> {
  let is = false;
  await update<string[]>("shown", (before = []) => {
    is = !before.includes(tag);
    return is ? [...before, tag].slice(-SHOWN_MAX) : before;
  }, kept);
  return is;
}

/** It was not shown after all. */
export function notShown(tag: string): Promise<void> {
  return update<string[]>("shown", (before = []) => before.filter((one) => one !== tag), kept);
}
