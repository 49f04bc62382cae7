// The great O, whose small o goes round once in a tip's lifetime.

import { useEffect, useRef, useState } from "preact/hooks";
import { pending, state, tip } from "./tip";

const TURNS_EVERY_MS = 10_000;

/** A box with ends as round as can be, from the middle of its top, clockwise. */
export function outline(width: number, height: number): string {
  const r = Math.min(width, height) / 2;
  const [across, down] = [width - 2 * r, height - 2 * r];
  return `M ${width / 2} 0 h ${across / 2} a ${r} ${r} 0 0 1 ${r} ${r} v ${down} a ${r} ${r} 0 0 1 ${-r} ${r}`
    + ` h ${-across} a ${r} ${r} 0 0 1 ${-r} ${-r} v ${-down} a ${r} ${r} 0 0 1 ${r} ${-r} h ${across / 2}`;
}

function turn(): number {
  if (state.value === "between" && pending.value === null) return 1; // a reaction has gone all the way round
  if (state.value === "empty") return 0.5; // with nothing to say it rests at the bottom
  if (tip.value === null) return 0;
  const from = Date.parse(tip.value.decided_at);
  return Math.min(1, Math.max(0, (Date.now() - from) / Math.max(1, Date.parse(tip.value.valid_until) - from)));
}

export function Clock() {
  const box = useRef<HTMLDivElement>(null);
  const [rim, setRim] = useState("");
  const [, tick] = useState(0);
  useEffect(() => {
    const sized = new ResizeObserver(([entry]) => setRim(outline(entry!.contentRect.width, entry!.contentRect.height)));
    sized.observe(box.current!);
    const timer = setInterval(() => tick((count) => count + 1), TURNS_EVERY_MS);
    return () => {
      sized.disconnect();
      clearInterval(timer);
    };
  }, []);
  return (
    <div class="clock" id="clock" aria-hidden="true" ref={box} style={{ "--turn": String(turn()), "--rim": rim && `path("${rim}")` }}>
      <svg focusable="false"><path class="disc rim" d={rim} /><path class="gone" pathLength={1} d={rim} /></svg>
      <span class="hand" />
    </div>
  );
}
