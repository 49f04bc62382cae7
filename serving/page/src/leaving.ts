// Signing out on this device: what is left to send is sent, what is kept is forgotten, and nobody is told anything here any more.

import { turnOff } from "./push";
import { forget } from "./tip";

const others = new BroadcastChannel("oo");
others.onmessage = () => location.reload(); // another tab has signed out

/** Raises where something could not be sent, or nobody answered: then all is as before, but for what was sent. */
export async function leaveAll(signOut: () => Promise<unknown>): Promise<void> {
  await forget();
  await turnOff();
  await signOut();
  localStorage.clear();
  others.postMessage("left");
  location.assign("/");
}
