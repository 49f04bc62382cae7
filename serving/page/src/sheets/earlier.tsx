// The sheet of earlier tips: what was said, when, who wrote it, and what came of it.

import type { Body } from "oo-client";
import { useEffect, useState } from "preact/hooks";
import { api, ask, why } from "../api";
import { day, words } from "../words";
import { type Line, Sheet } from "./sheet";

type Past = Body<"PastTip">;

export function Earlier() {
  const said = words();
  const [items, setItems] = useState<Past[]>([]);
  const [next, setNext] = useState<string | null>(null);
  const [line, say] = useState<Line>({ text: said.looking });
  async function page(before?: string): Promise<void> {
    setNext(null);
    say({ text: said.looking });
    try {
      const found = await ask(() => api.GET("/v1/tips", { params: { query: { seen: true, limit: 20, before } } }));
      const all = [...items, ...found.items];
      setItems(all);
      setNext(found.next);
      say({ text: all.length > 0 ? "" : said.nothingSaid });
    } catch (error) {
      say({ text: `${why(error)} ${said.tryAgain}`, isFault: true });
    }
  }
  useEffect(() => { void page(); }, []);
  return (
    <Sheet id="earlier" title={said.earlierTips} line={line}>
      <ol class="earlier" id="earlier-list">{items.map((one) => <Item key={one.decision_id} of={one} />)}</ol>
      <button type="button" id="earlier-more" hidden={next === null} onClick={() => next !== null && page(next)}>{said.olderOnes}</button>
    </Sheet>
  );
}

function Item({ of }: { of: Past }) {
  const { kinds, cameOf } = words();
  const about = [day(of.decided_at), of.kind === "generated" ? kinds.generated : "", cameOf[of.outcome as keyof typeof cameOf] ?? ""];
  return <li><b dir="auto">{of.title}</b><small>{about.filter(Boolean).join(" · ")}</small></li>;
}
