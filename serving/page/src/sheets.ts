// Which sheet is open. Each is loaded where somebody asks for it.

import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { focus } from "./tip";

const SHEETS = {
  settings: async () => (await import("./sheets/settings")).Settings,
  earlier: async () => (await import("./sheets/earlier")).Earlier,
  connections: async () => (await import("./sheets/connections")).Connections,
  notifications: async () => (await import("./sheets/notifications")).Notifications,
  sessions: async () => (await import("./sheets/sessions")).Sessions,
};
export type SheetName = keyof typeof SHEETS;

export const sheet = signal<ComponentType | null>(null);

/** How it went at the service that was to be connected, until it was told; `id` of what is connected now. */
export const cameBack = signal<{ what: string; id: string | null } | null>(null);

export async function openSheet(name: SheetName): Promise<void> {
  try {
    const Found = await SHEETS[name]();
    sheet.value = Found;
  } catch {
    if (navigator.onLine) location.reload(); // a newer page has taken this one's place
  }
}

export function closeSheet(): void {
  sheet.value = null;
  // One that was opened from another has nothing to give the focus back to.
  if (document.activeElement === document.body) focus("settings-open");
}
