// The page's worker: the page's own files where there is no connection, and reactions that were left to send. It keeps nothing of a person:
// what is asked of /v1 and /auth goes past it.

import { flush } from "../outbox";

declare const self: ServiceWorkerGlobalScope;
/** Names this build. */
declare const BUILD: string;
declare const FILES: string[];

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
    await self.registration.navigationPreload?.enable();
    await self.clients.claim();
  })());
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin) return;
  if (event.request.mode === "navigate" && url.pathname === "/") event.respondWith(page(event));
  else if (FILES.includes(url.pathname)) event.respondWith(file(event.request));
});

/** The page of now; the one that was kept where there is none. */
async function page(event: FetchEvent): Promise<Response> {
  try {
    return ((await event.preloadResponse) as Response | undefined) ?? (await fetch(event.request));
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
  waitUntil.call(event, flush().then(({ left }) => {
    // The browser then tries again by itself.
    if (left > 0) throw new TypeError("the edge cannot be reached");
  }));
});
