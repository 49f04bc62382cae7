// What several pages are made of: a head with what went wrong, a plot, a bar, a question.

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { lower } from "./data";

export function Page(props: { title: string; fault?: string; waits?: boolean; aside?: ComponentChildren; children: ComponentChildren }) {
  const head = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${props.title} · oO console`;
  }, [props.title]);
  return (
    <>
      <header class="head">
        <h1 ref={head} tabIndex={-1}>{props.title}</h1>
        {props.aside}
      </header>
      {props.fault && <p class="fault" role="alert">{props.fault}</p>}
      {props.waits && !props.fault ? <p class="soft" role="status">Reading …</p> : props.children}
    </>
  );
}

const COLOURS = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7"];
export const colour = (at: number) => `var(${COLOURS[at % COLOURS.length]})`;
const drawn = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export interface Series {
  name: string;
  values: (number | null)[];
  /** Of an interval, drawn as a band; as long as `values`. */
  low?: (number | null)[];
  high?: (number | null)[];
}

/** Lines over time, in the colours of the page; what it shows is said in words beside it, for who does not see it. */
export function Plot(props: { title: string; atMs: number[]; series: Series[]; unit?: string }) {
  const box = useRef<HTMLDivElement>(null);
  const key = JSON.stringify([props.atMs, props.series]);
  useEffect(() => {
    const at = box.current;
    if (!at || !props.atMs.length) return;
    const data: (number | null)[][] = [props.atMs.map((ms) => ms / 1000)];
    const series: uPlot.Series[] = [{}];
    const bands: uPlot.Band[] = [];
    props.series.forEach((one, place) => {
      const stroke = drawn(COLOURS[place % COLOURS.length]!);
      data.push(one.values);
      series.push({ label: one.name, stroke, width: 2, points: { show: props.atMs.length < 3 } });
      if (one.low && one.high) {
        data.push(one.high, one.low);
        const edge = { stroke: "transparent", points: { show: false } };
        series.push({ label: `${one.name}, high`, ...edge }, { label: `${one.name}, low`, ...edge });
        bands.push({ series: [series.length - 2, series.length - 1], fill: `color-mix(in srgb, ${stroke} 16%, transparent)` });
      }
    });
    const spanS = (props.atMs.at(-1)! - props.atMs[0]!) / 1000;
    const told: Intl.DateTimeFormatOptions =
      spanS > 2 * 86_400 ? { dateStyle: "short" } : { hour: "2-digit", minute: "2-digit", ...(spanS < 600 ? { second: "2-digit" } : {}) };
    const clock = new Intl.DateTimeFormat("en-GB", told);
    const axis = { stroke: drawn("--soft"), grid: { stroke: drawn("--line"), width: 1 }, ticks: { stroke: drawn("--line") } };
    const options: uPlot.Options = {
      width: at.clientWidth, height: 220, series, bands, axes: [{ ...axis, values: (_, ticks) => ticks.map((s) => clock.format(s * 1000)) }, { ...axis, size: 56 }], legend: { show: false }, cursor: { show: false },
      scales: { y: { range: (_, low, high) => (low === high ? [low - 1, high + 1] : [Math.min(low, 0), high + (high - low) * 0.05]) } },
    };
    const plot = new uPlot(options, data as uPlot.AlignedData, at);
    const resized = new ResizeObserver(() => plot.setSize({ width: at.clientWidth, height: 220 }));
    resized.observe(at);
    return () => {
      resized.disconnect();
      plot.destroy();
    };
  }, [key]);
  const last = props.series.map((one) => `${one.name} ${one.values.findLast((value) => value !== null) ?? "nothing"}`).join(", ");
  return (
    <figure class="card plot">
      <figcaption>
        <h2>{props.title}</h2>
        <ul class="legend">
          {props.series.map((one, at) => (
            <li key={one.name}><i style={{ background: colour(at) }} />{lower(one.name)}</li>
          ))}
        </ul>
      </figcaption>
      {props.series.length ? <div ref={box} role="img" aria-label={`${props.title}; last: ${last}`} /> : <p class="soft">Nothing yet.</p>}
    </figure>
  );
}

/** How many of each step from 0 to 1, as bars. */
export function Histogram(props: { title: string; counts: number[]; unit: string }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const at = box.current;
    if (!at) return;
    const step = 1 / props.counts.length;
    const axis = { stroke: drawn("--soft"), grid: { stroke: drawn("--line"), width: 1 }, ticks: { stroke: drawn("--line") } };
    const plot = new uPlot(
      {
        width: at.clientWidth, height: 220, legend: { show: false }, cursor: { show: false },
        series: [{}, { fill: drawn("--c2"), stroke: drawn("--c2"), points: { show: false }, paths: uPlot.paths.bars!({ size: [0.9], align: 1 }) }],
        axes: [axis, { ...axis, size: 56 }],
        scales: { x: { time: false, range: [0, 1] }, y: { range: (_, __, high) => [0, Math.max(high, 1) * 1.05] } },
      },
      [props.counts.map((_, place) => place * step), props.counts], at,
    );
    const resized = new ResizeObserver(() => plot.setSize({ width: at.clientWidth, height: 220 }));
    resized.observe(at);
    return () => {
      resized.disconnect();
      plot.destroy();
    };
  }, [JSON.stringify(props.counts)]);
  const step = 100 / props.counts.length;
  const told = props.counts.flatMap((n, at) => (n ? [`${n} from ${(at * step) / 100} on`] : [])).join(", ");
  return (
    <figure class="card plot">
      <figcaption><h2>{props.title}</h2><span class="soft">{props.unit}</span></figcaption>
      <div ref={box} role="img" aria-label={`${props.title}: ${told || "nothing"}`} />
    </figure>
  );
}

export function Bar(props: { share: number; label: string }) {
  const width = `${Math.round(1000 * Math.min(Math.max(props.share, 0), 1)) / 10}%`;
  return <span class="bar"><i style={{ width }} /><b>{props.label}</b></span>;
}

/** A table that scrolls by itself where the screen is narrow. */
export function Table(props: { label: string; heads: string[]; children: ComponentChildren }) {
  return (
    <div class="scroll card" tabIndex={0} role="region" aria-label={props.label}>
      <table>
        <thead><tr>{props.heads.map((head) => <th key={head} scope="col">{head}</th>)}</tr></thead>
        <tbody>{props.children}</tbody>
      </table>
    </div>
  );
}

/** A question before something is written or shown; Escape is no. */
export function Ask(props: { open: boolean; title: string; yes: string; onYes: () => void; onNo: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const at = dialog.current;
    if (props.open && !at?.open) at?.showModal();
    if (!props.open && at?.open) at.close();
  }, [props.open]);
  return (
    <dialog ref={dialog} onClose={props.onNo} aria-labelledby="ask">
      <h2 id="ask">{props.title}</h2>
      {props.children}
      <p class="row">
        <button class="plain" onClick={props.onNo}>Not now</button>
        <button onClick={props.onYes}>{props.yes}</button>
      </p>
    </dialog>
  );
}
