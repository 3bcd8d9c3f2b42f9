// The shell of the page, so that it opens at once and says when the robot cannot be reached.
// Only hashed assets and the page itself are kept; what the robot says is never cached.
const CACHE = "dialtone-shell-1";

self.addEventListener("install", () => self.skipWaiting());

self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name !== CACHE) await caches.delete(name);
      await self.clients.claim();
    })(),
  );
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== self.location.origin) return;
  if (url.pathname.startsWith("/assets/")) event.respondWith(fromCache(event.request));
  else if (event.request.mode === "navigate" && url.pathname === "/") event.respondWith(fresh(event.request));
});

/** A hashed name never changes its content. Of each kind of file only the newest few are kept. */
async function fromCache(request) {
  const cache = await caches.open(CACHE);
  const hit = await cache.match(request);
  if (hit) return hit;
  const response = await fetch(request);
  if (response.ok) {
    const kept = await cache.keys();
    for (const old of kept.slice(0, Math.max(0, kept.length - 40))) await cache.delete(old);
    await cache.put(request, response.clone());
  }
  return response;
}

/** The page from the gateway, or the last one where there is no gateway. */
async function fresh(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put("/", response.clone());
    return response;
  } catch (error) {
    const last = await cache.match("/");
    if (last) return last;
    throw error;
  }
}
