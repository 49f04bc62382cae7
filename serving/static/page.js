// The tip page: shows what the stream says, sends what the person does, and says so when either fails.
// Text from outside becomes text nodes only, links are http or https only.

const byId = (id) => document.getElementById(id);
const SEEN_AFTER_MS = 1000;
const BETWEEN_MS = 4000;
const HIDDEN_CLOSES_MS = 60_000;
const RETRY_MS_MAX = 15_000;
const SEND_TIMEOUT_MS = 15_000;

const said = { done: "Done.", snooze: "Later, then.", dismiss: "Not this one, then." };
const kinds = { task: "A task", starter: "A way to begin", generated: "Written by a language model" };

let tip = null; // what is shown
let sending = null; // the decision whose reaction is on its way
const spent = new Set(); // decisions that were reacted to here: never shown again
const seen = new Set();
let betweenTimer = 0;

// ---- what is shown -------------------------------------------------------------------------------------------------

function show(state) {
  document.body.dataset.state = state;
  byId("loading").hidden = state !== "loading";
  byId("tip").hidden = state !== "tip";
  byId("actions").hidden = state !== "tip";
  byId("empty").hidden = state !== "empty";
  byId("between").hidden = state !== "between";
  if (state !== "tip") {
    closeChoices();
    // With nothing to say the small o rests at the bottom; a reaction has gone all the way round.
    byId("clock").style.setProperty("--turn", { empty: "0.5", between: "1" }[state] ?? "0");
  }
}

function say(text) {
  byId("said").textContent = text;
}

function fault(text) {
  byId("fault").textContent = text;
  byId("fault").hidden = text === "";
}

function showTip(next) {
  clearTimeout(betweenTimer);
  if (spent.has(next.decision_id)) return;
  const same = tip !== null && tip.decision_id === next.decision_id && document.body.dataset.state === "tip";
  const hadFocus = byId("actions").contains(document.activeElement);
  tip = next;
  const title = byId("title");
  title.textContent = next.title;
  title.dataset.length = next.title.length > 160 ? "endless" : next.title.length > 60 ? "long" : "short";
  document.title = `${next.title.slice(0, 80)} · oO`;
  byId("kind").textContent = (kinds[next.kind] ?? "A tip") + (next.source && next.kind !== "generated" ? ` from ${next.source}` : "");
  byId("until").textContent = `good until ${clock(next.valid_until)}`;
  byId("detail").textContent = next.detail;
  byId("detail").hidden = !next.detail;
  showLink(next.url);
  byId("why").replaceChildren(...next.why.map((reason) => {
    const item = document.createElement("li");
    item.dir = "auto";
    item.textContent = reason;
    return item;
  }));
  byId("why-section").hidden = next.why.length === 0;
  byId("begin").hidden = next.kind !== "starter";
  show("tip");
  turn();
  if (!same) {
    fault("");
    say(`${next.title}. ${next.why.join(". ")}`);
    if (hadFocus || document.activeElement === byId("empty-title")) title.focus({ preventScroll: true });
    watchSeen();
  }
}

function showLink(url) {
  let target = null;
  try {
    target = new URL(url);
  } catch { /* no link, then */ }
  const fine = target !== null && (target.protocol === "https:" || target.protocol === "http:");
  byId("url").hidden = !fine;
  if (fine) {
    byId("url").href = target.href;
    byId("url-host").textContent = target.host;
  } else {
    byId("url").removeAttribute("href");
  }
}

function showNone() {
  // A reaction has just been taken: give the next tip a moment before calling it nothing.
  if (document.body.dataset.state === "between" && betweenTimer !== 0) return;
  if (sending !== null) return;
  tip = null;
  document.title = "oO";
  const hadFocus = byId("actions").contains(document.activeElement);
  show("empty");
  say(byId("empty-title").textContent);
  if (hadFocus) byId("empty-title").focus({ preventScroll: true });
}

function showBetween(text) {
  byId("between-text").textContent = text;
  show("between");
  say(text);
  clearTimeout(betweenTimer);
  betweenTimer = setTimeout(() => {
    betweenTimer = 0;
    if (sending !== null) return showBetween(text);
    if (document.body.dataset.state === "between") showNone();
  }, BETWEEN_MS);
}

function clock(iso) {
  const time = new Date(iso);
  const today = time.toDateString() === new Date().toDateString();
  return time.toLocaleString([], today ? { timeStyle: "short" } : { weekday: "short", hour: "numeric", minute: "2-digit" });
}

// The small o goes round the great O once in a tip's lifetime.
function turn() {
  if (tip === null || document.body.dataset.state !== "tip") return;
  const from = Date.parse(tip.decided_at);
  const share = (Date.now() - from) / Math.max(1, Date.parse(tip.valid_until) - from);
  byId("clock").style.setProperty("--turn", String(Math.min(1, Math.max(0, share))));
}
setInterval(turn, 10_000);

// The outline: a box with ends as round as can be, from the middle of its top, clockwise.
new ResizeObserver(([entry]) => {
  const { width, height } = entry.contentRect;
  const r = Math.min(width, height) / 2;
  const [across, down] = [width - 2 * r, height - 2 * r];
  const outline = `M ${width / 2} 0 h ${across / 2} a ${r} ${r} 0 0 1 ${r} ${r} v ${down} a ${r} ${r} 0 0 1 ${-r} ${r}`
    + ` h ${-across} a ${r} ${r} 0 0 1 ${-r} ${-r} v ${-down} a ${r} ${r} 0 0 1 ${r} ${-r} h ${across / 2}`;
  for (const path of byId("clock").querySelectorAll("path")) path.setAttribute("d", outline);
  byId("clock").style.setProperty("--rim", `path("${outline}")`);
}).observe(byId("clock"));

// ---- what the person does --------------------------------------------------------------------------------------------

async function send(decision_id, reaction, snooze_until) {
  const response = await fetch("/v1/feedback", {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": `${decision_id} ${reaction} ${snooze_until ?? ""}` },
    body: JSON.stringify({ decision_id, reaction, snooze_until }),
    signal: AbortSignal.timeout(SEND_TIMEOUT_MS),
  });
  if (response.status === 401) await renew();
  // Read in any case: one that is accepted and not read would end as aborted, at the timeout.
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail ?? `The edge answered ${response.status}.`);
}

async function react(reaction, snooze_until) {
  if (tip === null || sending !== null || document.body.dataset.state !== "tip") return;
  const reacted = tip;
  sending = reacted.decision_id;
  spent.add(reacted.decision_id);
  fault("");
  showBetween(said[reaction]);
  try {
    await send(reacted.decision_id, reaction, snooze_until);
    sending = null;
    seen.add(reacted.decision_id);
  } catch (error) {
    sending = null;
    spent.delete(reacted.decision_id);
    // Another tip may have come meanwhile: then this one is history, but its failure is still said.
    if (document.body.dataset.state !== "tip") {
      clearTimeout(betweenTimer);
      betweenTimer = 0;
      showTip(reacted);
      byId(reaction).focus({ preventScroll: true });
    }
    const why = error instanceof TypeError || error.name === "TimeoutError" ? "oO cannot be reached." : error.message;
    fault(`That did not get through. ${why} Nothing was lost: try again.`);
  }
}

function choices() {
  const hour = new Date(Date.now() + 3_600_000);
  const evening = new Date();
  evening.setHours(18, 0, 0, 0);
  const tomorrow = new Date();
  tomorrow.setDate(tomorrow.getDate() + 1);
  tomorrow.setHours(9, 0, 0, 0);
  return [["In an hour", hour], ...(evening > hour ? [["This evening", evening]] : []), ["Tomorrow", tomorrow]];
}

function openChoices() {
  byId("snooze-row").replaceChildren(...choices().map(([name, time]) => {
    const button = document.createElement("button");
    button.type = "button";
    const when = document.createElement("small");
    when.textContent = clock(time.toISOString());
    button.append(name, " ", when);
    button.addEventListener("click", () => react("snooze", time.toISOString()));
    return button;
  }));
  byId("snooze-row").hidden = false;
  byId("main-row").hidden = true;
  byId("snooze").setAttribute("aria-expanded", "true");
  byId("snooze-row").firstElementChild.focus();
}

function closeChoices() {
  if (byId("snooze-row").hidden) return;
  const hadFocus = byId("snooze-row").contains(document.activeElement);
  byId("snooze-row").hidden = true;
  byId("main-row").hidden = false;
  byId("snooze").setAttribute("aria-expanded", "false");
  if (hadFocus) byId("snooze").focus();
}

byId("done").addEventListener("click", () => react("done"));
byId("dismiss").addEventListener("click", () => react("dismiss"));
byId("snooze").addEventListener("click", openChoices);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") return closeChoices();
  if (document.body.dataset.state !== "tip") return;
  const key = event.key.toLowerCase();
  if (key === "d") react("done");
  else if (key === "x") react("dismiss");
  else if (key === "s") byId("snooze-row").hidden ? openChoices() : closeChoices();
});

// What the data may be used for, and leaving: loaded where somebody asks for it.
async function openSettings() {
  const { settings } = await import("/static/settings.js");
  settings({ renew, cameBack: open });
}
byId("settings-open").addEventListener("click", openSettings);
byId("earlier-open").addEventListener("click", async () => (await import("/static/earlier.js")).earlier({ renew }));

// ---- seen: only what has really been on a visible screen for a second ------------------------------------------------

let onScreen = false;
let seenTimer = 0;
new IntersectionObserver((entries) => {
  onScreen = entries.at(-1).isIntersecting;
  watchSeen();
}, { threshold: 0.5 }).observe(byId("title"));
document.addEventListener("visibilitychange", watchSeen);

function watchSeen() {
  clearTimeout(seenTimer);
  if (tip === null || seen.has(tip.decision_id) || !onScreen || document.visibilityState !== "visible") return;
  const shown = tip.decision_id;
  seenTimer = setTimeout(async () => {
    if (tip?.decision_id !== shown || document.body.dataset.state !== "tip") return;
    seen.add(shown);
    try {
      await send(shown, "seen");
    } catch {
      // Nobody needs to hear of it; it is told again at the next look.
      seen.delete(shown);
      setTimeout(watchSeen, 5000);
    }
  }, SEEN_AFTER_MS);
}

// ---- the stream --------------------------------------------------------------------------------------------------------

let source = null;
let retryMs = 1000;
let retryTimer = 0;
let hiddenTimer = 0;

function live(yes, text) {
  byId("link").dataset.live = yes === null ? "" : yes ? "yes" : "no";
  byId("link-text").textContent = text;
}

// The session of local mode lasts half a day; asking for the page again renews it.
function renew() {
  return fetch(location.pathname + location.search, { cache: "no-store" }).catch(() => undefined);
}

function open() {
  clearTimeout(retryTimer);
  source?.close();
  source = new EventSource("/v1/tips/stream");
  source.addEventListener("open", () => {
    retryMs = 1000;
    live(true, "Live");
  });
  source.addEventListener("tip", (event) => showTip(JSON.parse(event.data)));
  source.addEventListener("none", showNone);
  source.addEventListener("error", async () => {
    const failed = source;
    live(false, "Not connected, trying again");
    if (failed.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    const status = await fetch("/v1/tip").then((response) => response.status).catch(() => 0);
    if (status === 401) await renew();
    if (source !== failed) return;
    retryTimer = setTimeout(open, retryMs);
    retryMs = Math.min(2 * retryMs, RETRY_MS_MAX);
  });
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(hiddenTimer);
  if (document.visibilityState === "visible") {
    if (source === null || source.readyState === EventSource.CLOSED) open();
  } else {
    // A tab that nobody looks at does not hold a connection.
    hiddenTimer = setTimeout(() => { source?.close(); live(null, "Resting"); }, HIDDEN_CLOSES_MS);
  }
});
addEventListener("online", open);

const user = new URLSearchParams(location.search).get("user");
for (const id of user ? ["hint-import", "begin-import"] : []) {
  byId(id).textContent = `oo import todo.txt calendar.ics --user ${user}`;
}
show("loading");
open();
