// Notifications on this device: whether they are on, and turning them on and off. It never asks the browser before the person has said yes here.

import { api, ask, askOfNewcomer, got } from "./api";

export type Push = "impossible" | "denied" | "off" | "on";

async function manager(): Promise<PushManager | undefined> {
  if (!("Notification" in window)) return undefined;
  return (await navigator.serviceWorker?.getRegistration())?.pushManager;
}

export async function standing(): Promise<Push> {
  const push = await manager();
  if (push === undefined) return "impossible";
  if (Notification.permission === "denied") return "denied";
  return Notification.permission === "granted" && (await push.getSubscription()) !== null ? "on" : "off";
}

function bytes(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
}

/** Asks the browser, then tells the edge where to push to, and that the person wants to be told. `meanwhile`: the edge makes ready for them. */
export async function turnOn(meanwhile: () => void): Promise<Push> {
  if ((await Notification.requestPermission()) !== "granted") return standing();
  const { key } = await ask(() => api.GET("/v1/devices/key"));
  const push = (await manager())!;
  const subscription = (await push.getSubscription()) ?? (await push.subscribe({ userVisibleOnly: true, applicationServerKey: bytes(key) }));
  const { endpoint, keys } = subscription.toJSON();
  const body = { endpoint: endpoint!, keys: { p256dh: keys!["p256dh"]!, auth: keys!["auth"]! }, name: deviceName() };
  const { device_id } = await askOfNewcomer(() => api.POST("/v1/devices", { body }), meanwhile);
  localStorage.setItem("device", device_id);
  await grant("notifications");
  return "on";
}

/** Here and at the edge; what does not reach the edge is found by its push service, which says that nobody is there. */
export async function turnOff(): Promise<void> {
  const device = localStorage.getItem("device");
  if (device !== null) await removeDevice(device).catch(() => undefined);
  await silence();
}

/** Nobody is told anything here any more, and what is shown goes. It tells the edge nothing: there the subscription ends with the session. */
export async function silence(): Promise<void> {
  localStorage.removeItem("device");
  const worker = await navigator.serviceWorker?.getRegistration();
  for (const one of (await worker?.getNotifications?.()) ?? []) one.close();
  await (await (await manager())?.getSubscription())?.unsubscribe();
}

export async function removeDevice(device_id: string): Promise<void> {
  await ask(() => api.DELETE("/v1/devices/{device_id}", { params: { path: { device_id } } }));
}

/** Says yes to a purpose where it is not granted: a grant names what was read before. */
export async function grant(purpose: "notifications" | "email"): Promise<void> {
  const read = await api.GET("/v1/me");
  if (got(read).purposes[purpose]?.granted) return;
  const tag = read.response.headers.get("etag") ?? "";
  await ask(() => api.PATCH("/v1/me", { params: { header: { "if-match": tag } }, body: { purposes: { [purpose]: { granted: true } } } as never }));
}

/** What a person may know it by. */
function deviceName(): string {
  const agent = navigator.userAgent;
  const browser = /Edg\//.test(agent) ? "Edge" : /Firefox\//.test(agent) ? "Firefox" : /Chrome\//.test(agent) ? "Chrome" : /Safari\//.test(agent) ? "Safari" : "";
  const system = /Android/.test(agent) ? "Android" : /iPhone|iPad/.test(agent) ? "iOS" : /Windows/.test(agent) ? "Windows" : /Mac OS/.test(agent) ? "macOS" : /Linux/.test(agent) ? "Linux" : "";
  return [browser, system].filter(Boolean).join(", ");
}
