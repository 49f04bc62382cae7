// The sheet of earlier tips: what was said, when, who wrote it, and what came of it. Text from outside becomes text nodes only.

const byId = (id) => document.getElementById(id);
const cameOf = {
  done: "Done", snooze: "Put off", dismiss: "Not wanted", seen: "Seen", expired: "Not answered", done_elsewhere: "Done elsewhere",
};

let renew = null;

export function earlier(lent) {
  renew = lent.renew;
  const sheet = byId("earlier");
  if (sheet.open) return;
  byId("earlier-close").onclick = () => sheet.close();
  sheet.onclick = (event) => { if (event.target === sheet) sheet.close(); };
  byId("earlier-list").replaceChildren();
  sheet.showModal();
  byId("earlier-title").focus();
  page("");
}

async function page(before) {
  const more = byId("earlier-more");
  more.hidden = true;
  say("Looking…");
  try {
    const found = await read(`/v1/tips?seen=true&limit=20${before && `&before=${encodeURIComponent(before)}`}`);
    byId("earlier-list").append(...found.items.map(item));
    say(byId("earlier-list").childElementCount ? "" : "Nothing was said yet.");
    more.hidden = found.next === null;
    more.onclick = () => page(found.next);
  } catch (error) {
    say(`${error instanceof TypeError ? "oO cannot be reached." : error.message} Close this and try again.`, true);
  }
}

async function read(path) {
  let response = await fetch(path, { cache: "no-store" });
  if (response.status === 401) {
    await renew();
    response = await fetch(path, { cache: "no-store" });
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail ?? `The edge answered ${response.status}.`);
  return answer;
}

function item(tip) {
  const made = document.createElement("li");
  const title = document.createElement("b");
  title.dir = "auto";
  title.textContent = tip.title;
  const about = document.createElement("small");
  const when = new Date(tip.decided_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  about.textContent = [when, tip.kind === "generated" ? "Written by a language model" : "", cameOf[tip.outcome] ?? ""].filter(Boolean).join(" · ");
  made.append(title, about);
  return made;
}

function say(text, isFault = false) {
  byId("earlier-said").textContent = text;
  byId("earlier-said").dataset.fault = String(isFault);
}
