// The console's frame: where one is, and which page that is. A page is one file and one line in PAGES.

import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import "uplot/dist/uPlot.min.css";
import "./console.css";
import { Decisions, Slate } from "./pages/decisions";
import { Health } from "./pages/health";
import { Letters } from "./pages/letters";
import { Models } from "./pages/models";
import { People, Person } from "./pages/people";
import { Policies } from "./pages/policies";
import { Replay, Replays } from "./pages/replays";
import { Topics } from "./pages/topics";

const PAGES = {
  health: { title: "Health", all: Health, one: undefined },
  topics: { title: "Topics", all: Topics, one: undefined },
  decisions: { title: "Decisions", all: Decisions, one: (name: string) => <Slate id={name} /> },
  people: { title: "People", all: People, one: (name: string) => <Person key={name} name={name} /> },
  policies: { title: "Policies", all: Policies, one: undefined },
  models: { title: "Models", all: Models, one: undefined },
  replays: { title: "Replays", all: Replays, one: (name: string) => <Replay key={name} name={name} /> },
  letters: { title: "Dead letters", all: Letters, one: undefined },
};
type Name = keyof typeof PAGES;

function here(): [Name, string] {
  const [, name = "", rest = ""] = location.hash.split("/");
  return [name in PAGES ? (name as Name) : "health", decodeURIComponent(rest)];
}

function Console() {
  const [[name, rest], go] = useState(here);
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    const moved = () => {
      go(here());
      main.current?.focus();
      scrollTo(0, 0);
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  const { all: All, one } = PAGES[name];
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>To the page</a>
      <nav aria-label="Pages">
        <a class="mark" href="#/health" aria-label="oO console"><b>o</b>O</a>
        <ul>
          {Object.entries(PAGES).map(([each, page]) => (
            <li key={each}><a href={`#/${each}`} aria-current={each === name ? "page" : undefined}>{page.title}</a></li>
          ))}
        </ul>
      </nav>
      <main id="main" ref={main} tabIndex={-1}>{rest && one ? one(rest) : <All />}</main>
    </>
  );
}

render(<Console />, document.getElementById("app")!);
