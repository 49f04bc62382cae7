// The sheet of settings: what a person's data may be used for, when to be quiet, taking all along, leaving and beginning again.
// It shows what the engine has taken in, and keeps nothing of its own. Text from outside becomes text nodes only.

const byId = (id) => document.getElementById(id);
const TAKEN_WITHIN_MS = 8000;
const LOOK_EVERY_MS = 150;

const names = {
  tasks: "Tasks", calendar: "Calendar", generated: "Language model", learning: "Learning for others",
  notifications: "Notifications", email: "Mail", starter: "Tips to begin with",
};
const days = { start: "22:00", end: "07:00" };

let page = null; // what the page lends: how to renew a session, what to do when somebody begins again
let tag = null; // of what is shown: a grant has to name it
let queue = Promise.resolve(); // changes, one after the other: each has to know of the one before
let waiting = 0;
let hasLeft = false; // here and now: the edge may not have heard of it yet

export function settings(lent) {
  page = lent;
  const sheet = byId("settings");
  if (sheet.open) return;
  byId("settings-close").onclick = () => sheet.close();
  // A click beside it: the sheet itself is the target only outside of what stands in it.
  sheet.onclick = (event) => { if (event.target === sheet) sheet.close(); };
  say("");
  byId("settings-body").replaceChildren(element("p", { className: "soft", textContent: "Looking…" }));
  sheet.showModal();
  byId("settings-title").focus();
  look();
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function say(text, isFault = false) {
  byId("settings-said").textContent = text;
  byId("settings-said").dataset.fault = String(isFault);
}

function refused(response, answer) {
  return new Error(answer.detail ?? `The edge answered ${response.status}.`);
}

function failed(error) {
  say(`That did not get through. ${error instanceof TypeError ? "oO cannot be reached." : error.message}`, true);
}

async function call(path, options = {}) {
  let response = await fetch(path, { cache: "no-store", ...options });
  if (response.status === 401) {
    await page.renew();
    response = await fetch(path, { cache: "no-store", ...options });
  }
  return [response, await response.json().catch(() => ({}))];
}

async function look() {
  try {
    const [response, me] = await call("/v1/me");
    if (response.ok) return show(me, response.headers.get("etag"));
    if (me.type?.endsWith("left")) return showLeft();
    fault(refused(response, me).message);
  } catch {
    fault("oO cannot be reached.");
  }
}

function fault(text) {
  say(`${text} Close this and try again.`, true);
}

function show(me, itsTag) {
  tag = itsTag;
  const purposes = Object.entries(me.purposes).map(([name, one]) =>
    toggle(names[name] ?? name, one.text, one.granted, (granted) => ({ purposes: { [name]: { granted } } })));
  const sources = Object.entries(me.sources).map(([name, one]) =>
    toggle(name, "", one.granted, (granted) => ({ sources: { [name]: { granted } } })));
  byId("settings-body").replaceChildren(
    section("What oO may use", ...purposes),
    ...(sources.length ? [section("Where from", ...sources)] : []),
    section("Quiet hours", ...quiet(me)),
    section("What is yours", yours()),
  );
}

function section(title, ...children) {
  return element("section", {}, element("h3", { textContent: title }), ...children);
}

function toggle(name, text, isOn, asked) {
  const box = element("input", { type: "checkbox", checked: isOn });
  box.setAttribute("role", "switch");
  box.setAttribute("aria-label", name);
  box.addEventListener("change", () => change(asked(box.checked), () => { box.checked = !box.checked; }));
  const words = element("span", {}, element("b", { textContent: name }));
  if (text) {
    const more = element("small", { id: `about-${name.replaceAll(/[^A-Za-z]/g, "-")}`, textContent: text });
    box.setAttribute("aria-describedby", more.id);
    words.append(more);
  }
  return element("label", { className: "switch" }, words, box);
}

function quiet(me) {
  const [start, end] = ["start", "end"].map((which) =>
    element("input", { type: "time", required: true, value: me.quiet_hours?.[which] ?? days[which] }));
  const hours = () => ({ quiet_hours: { ...me.quiet_hours, start: start.value, end: end.value } });
  const times = element("p", { className: "times", hidden: me.quiet_hours === null },
    element("label", {}, "From ", start), element("label", {}, " to ", end));
  for (const one of [start, end]) {
    one.addEventListener("change", () => { if (start.value && end.value) change(hours(), look); });
  }
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const zone = element("p", { className: "soft", textContent: me.time_zone ? `In ${me.time_zone}. ` : "Nobody has said where you live. " });
  if (here && here !== me.time_zone) {
    const move = element("button", { type: "button", className: "plain", textContent: `Use ${here}` });
    move.addEventListener("click", () => change({ time_zone: here }, look));
    zone.append(move);
  }
  return [
    toggle("Say nothing by itself", "", me.quiet_hours !== null, (on) => {
      times.hidden = !on;
      return on ? hours() : { quiet_hours: null };
    }),
    times,
    zone,
  ];
}

function yours() {
  const along = element("a", { href: "/v1/me/export", textContent: "Take everything along", download: "oo.zip" });
  const go = element("button", { type: "button", className: "plain grave", textContent: "Leave…" });
  const place = element("div", {});
  go.addEventListener("click", () => question(place, go));
  return element("div", {}, element("p", { className: "yours" }, along, go), place);
}

// What is asked for is taken once it stands in the log, and shows once it is folded: the tag is then another.
function change(asked, takeBack) {
  waiting += 1;
  queue = queue.then(() => send(asked, takeBack)).finally(() => { waiting -= 1; });
}

async function send(asked, takeBack) {
  say("");
  // Only a grant has to know what it takes back; a withdrawal is always taken.
  const grants = Object.values({ ...asked.purposes, ...asked.sources }).some((one) => one.granted);
  try {
    const [response, answer] = await call("/v1/me", {
      method: "PATCH",
      headers: { "content-type": "application/json", ...(grants ? { "if-match": tag } : {}) },
      body: JSON.stringify(asked),
    });
    if (response.status === 412) {
      await look();
      return say("This had changed meanwhile. Here is how it is now.");
    }
    if (!response.ok) throw refused(response, answer);
    say((await taken()) ? "Taken." : "Noted; it will show in a moment.");
  } catch (error) {
    takeBack();
    failed(error);
  }
}

async function taken() {
  for (const until = Date.now() + TAKEN_WITHIN_MS; Date.now() < until;) {
    const [response, me] = await call("/v1/me");
    if (response.ok && response.headers.get("etag") !== tag) {
      tag = response.headers.get("etag");
      if (waiting > 1) return true; // what comes next shows all of it
      const focused = [...byId("settings-body").querySelectorAll("input, button")].indexOf(document.activeElement);
      show(me, response.headers.get("etag"));
      byId("settings-body").querySelectorAll("input, button")[focused]?.focus();
      return true;
    }
    await new Promise((done) => setTimeout(done, LOOK_EVERY_MS));
  }
  return false;
}

// ---- leaving ---------------------------------------------------------------------------------------------------------

async function question(place, go) {
  try {
    const [response, asked] = await call("/v1/me", { method: "DELETE" });
    if (response.status !== 409) throw refused(response, asked);
    const yes = element("button", { type: "button", className: "grave", textContent: "Erase all of it" });
    const no = element("button", { type: "button", textContent: "Stay" });
    no.addEventListener("click", () => { place.replaceChildren(); go.hidden = false; go.focus(); });
    yes.addEventListener("click", () => leave(asked.confirm, yes));
    go.hidden = true;
    place.replaceChildren(element("div", { className: "asked" },
      element("p", { textContent: "Tasks, calendar, settings, tips, and what was learned from you: all of it goes, and does not come back." }),
      element("p", { className: "yours" }, no, yes)));
    no.focus();
  } catch (error) {
    failed(error);
  }
}

async function leave(confirm, button) {
  button.disabled = true;
  try {
    const [response, answer] = await call(`/v1/me?confirm=${encodeURIComponent(confirm)}`, { method: "DELETE" });
    if (!response.ok) throw refused(response, answer);
    hasLeft = true;
    showLeft(answer.receipt);
  } catch (error) {
    button.disabled = false;
    failed(error);
  }
}

function showLeft(receipt) {
  const back = element("button", { type: "button", textContent: "Begin again" });
  back.addEventListener("click", () => beginAgain(back));
  const lines = receipt
    ? [element("p", { textContent: "What is known of you is being erased. Your receipt:" }), element("pre", {}, element("code", { textContent: receipt })),
      element("p", { className: "soft", textContent: "With it, whoever runs oO for you can say what is gone and what still waits." })]
    : [element("p", { textContent: "You have left, and nothing is known of you here." })];
  byId("settings-body").replaceChildren(section("You have left", ...lines, element("p", { className: "yours" }, back)));
  say("");
  byId("settings-title").focus();
}

async function beginAgain(button) {
  button.disabled = true;
  say("A moment…");
  try {
    let asked = false;
    for (const until = Date.now() + TAKEN_WITHIN_MS; Date.now() < until;) {
      if (!asked) {
        const [response, answer] = await call("/v1/me", { method: "POST" });
        const notLeft = answer.type?.endsWith("not-left") === true;
        if (!response.ok && !notLeft) throw refused(response, answer);
        asked = response.ok || !hasLeft;
      }
      const [now, me] = asked ? await call("/v1/me") : [{ ok: false }];
      if (now.ok) {
        hasLeft = false;
        say("Welcome back.");
        show(me, now.headers.get("etag"));
        return page.cameBack();
      }
      await new Promise((done) => setTimeout(done, LOOK_EVERY_MS));
    }
    throw new Error("It takes longer than it should.");
  } catch (error) {
    button.disabled = false;
    failed(error);
  }
}
