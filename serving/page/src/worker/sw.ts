// The page's worker: the page's own files where there is no connection, reactions that were left to send, and notifications, whose buttons
// react without the page. What is asked of /v1 and /auth goes past it, and it keeps nothing of a person.

import { flush, put, type Queued, queued, type Reaction, release, sendLater } from "../outbox";
import { noteShown, wasShown } from "../shown";

declare const self: ServiceWorkerGlobalScope;
/** Names this build. */
declare const BUILD: string;
declare const FILES: string[];

const ON_ITS_WAY_MS = 2000;
const SHELL = `oo-${BUILD}`;

self.addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const shell = await caches.open(SHELL);
    // Without a cookie, there and back: in local mode asking for the page signs in.
    await shell.add(new Request("/", { credentials: "omit", cache: "reload" }));
    await shell.addAll(FILES);
    await self.skipWaiting();
  })());
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) if (name !== SHELL) await caches.delete(name);
    // With it Chromium asks twice for what goes past this worker: a provider's answer that counts once would be refused.
    await self.registration.navigationPreload?.disable();
    await self.clients.claim();
  })());
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin) return;
  if (event.request.mode === "navigate" && url.pathname === "/") event.respondWith(page(event.request));
  else if (FILES.includes(url.pathname)) event.respondWith(file(event.request));
});

/** The page of now; the one that was kept where there is none. */
async function page(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    const kept = await caches.match("/");
    if (kept === undefined) throw error;
    return kept;
  }
}

async function file(request: Request): Promise<Response> {
  return (await caches.match(request)) ?? fetch(request);
}

self.addEventListener("sync", (event) => {
  const { tag, waitUntil } = event as unknown as { tag: string; waitUntil(work: Promise<void>): void };
  if (tag !== "outbox") return;
  waitUntil.call(event, flush().then(({ left, held }) => {
    // The browser then tries again by itself.
    if (left + held > 0) throw new TypeError("the edge cannot be reached");
  }));
});

/** What somebody did in a page that went away then: sent here, if it was not on the way out. The page may not have come to keep it. */
self.addEventListener("message", (event) => event.waitUntil(look(event.data as Queued)));

async function look(one: Queued): Promise<void> {
  await put(one);
  await new Promise((done) => setTimeout(done, ON_ITS_WAY_MS));
  await release(one);
  await send();
}

/** What is left is sent once there is a connection. */
async function send(): Promise<void> {
  const { left } = await flush();
  if (left > 0) await sendLater(self.registration);
}

/** What a push says (connectors/channels/web_push.py). */
interface Notice {
  title: string;
  body: string;
  tag: string;
  lang: string;
  decision_id: string;
  delivery_id: string;
  reaction_token: string;
  actions: { action: Reaction; title: string }[];
}

self.addEventListener("push", (event) => {
  const said = event.data?.json() as Notice | undefined;
  if (said !== undefined) event.waitUntil(show(said));
});

/** Once for each tip, also where its notification was closed meanwhile: push services repeat. One that stands takes its own place without a sound. */
async function show(said: Notice): Promise<void> {
  const { title, body, tag, lang, actions } = said;
  const silent = await wasShown(tag);
  if (silent && (await self.registration.getNotifications({ tag })).length === 0) return;
  const shown = { body, tag, lang, actions, silent, data: said, icon: "/static/icon-192.png", badge: "/static/badge.png" };
  await self.registration.showNotification(title, shown);
  await noteShown(tag);
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const said = event.notification.data as Notice;
  event.waitUntil(event.action === "" ? toThePage() : react(said, event.action as Reaction));
});

async function toThePage(): Promise<void> {
  const [open] = await self.clients.matchAll({ type: "window" });
  await (open ? open.focus() : self.clients.openWindow("/"));
}

/** Kept before it is sent: a connection that is away then loses nothing. */
async function react(said: Notice, reaction: Reaction): Promise<void> {
  await put({ ...queued(said.decision_id, reaction, null), by: { delivery_id: said.delivery_id, token: said.reaction_token } });
  await send();
}
