// The page: head, the great O with what stands in it, and a sheet where one was asked for.

import { render } from "preact";
import { Clock } from "./clock";
import "./page.css";
import { cameBack, openSheet, sheet } from "./sheets";
import { because, begin, choosing, link, pending, react, REASONS, said, settle, state, undo } from "./tip";
import { Actions, closeChoices, openChoices, Stage } from "./views";
import { chosen, speak, words } from "./words";

function Header() {
  return (
    <header>
      <svg class="mark" viewBox="0 0 84 48" role="img" aria-label="oO"><circle class="mark-small" cx="13" cy="34" r="9" /><circle class="mark-big" cx="55" cy="24" r="19" /></svg>
      <div class="side">
        <p class="link" id="link" data-live={link.value.live}><span class="dot" aria-hidden="true" /><span id="link-text">{link.value.text()}</span></p>
        {state.value !== "signin" && <><button type="button" class="plain" id="earlier-open" aria-haspopup="dialog" onClick={() => openSheet("earlier")}>{words().earlier}</button>
        <button type="button" class="plain" id="settings-open" aria-haspopup="dialog" onClick={() => openSheet("settings")}>{words().settings}</button></>}
      </div>
    </header>
  );
}

function App() {
  const Opened = sheet.value;
  return (
    <>
      <Clock />
      <Header />
      <div class="stage"><Stage /><Actions /></div>
      {Opened && <Opened />}
      <p class="sr" id="said" role="status" aria-live="polite">{said}</p>
    </>
  );
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") return closeChoices();
  if (event.target instanceof HTMLInputElement) return;
  const key = event.key.toLowerCase();
  if (key === "u") return void undo();
  if (key === "n" && pending.value !== null) return void settle();
  const reason = pending.value?.reaction === "dismiss" && state.value === "between" ? REASONS[Number(key) - 1] : undefined;
  if (reason !== undefined) return because(reason);
  if (state.value !== "tip") return;
  if (key === "d") react("done");
  else if (key === "x") react("dismiss");
  else if (key === "s") choosing.value ? closeChoices() : openChoices();
});

void begin();
navigator.serviceWorker?.register("/sw.js").catch(() => undefined);
void speak(chosen([localStorage.getItem("language") ?? "", ...navigator.languages])).then(() => {
  render(<App />, document.getElementById("app")!);
  // Back from the service that was to be connected.
  const asked = new URLSearchParams(location.search);
  if (asked.has("connection")) {
    cameBack.value = { what: asked.get("connection")!, id: asked.get("id") };
    history.replaceState(null, "", location.pathname);
    void openSheet("connections");
  }
});
