"""A diff as one page with plots: nothing is fetched for it, and no text of a person is in it. It needs matplotlib, and is imported only where it is asked for."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from io import StringIO

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deploy.replay.diff import BINS, Diff, Earned, Example
from deploy.replay.words import cautions, counted, features, gated, spoken, summary

INK, SOFT, LINE, ONE, TWO = "#23201b", "#625a4e", "#d8d0c1", "#2b6a8f", "#b8370f"
DARK = {INK: "#efe9dc", SOFT: "#b0a998", LINE: "#343b46", ONE: "#74b9e0", TWO: "#ff8a5e"}
"""The same in the dark."""
WIDTH_IN = 4.8
"""At 72 points an inch about as wide as a phone, so that words in a plot are read there without growing it."""
STYLE = """
:root { color-scheme: light dark; --ground: #f2ede3; --card: #fbf8f2; --ink: #23201b; --soft: #625a4e; --line: #d8d0c1; --two: #b8370f }
@media (prefers-color-scheme: dark) {
  :root { --ground: #12151a; --card: #1a1f26; --ink: #efe9dc; --soft: #b0a998; --line: #343b46; --two: #ff8a5e }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, "Segoe UI", "Noto Sans", sans-serif }
main { max-width: 72rem; margin: 0 auto; padding: 1.25rem clamp(1rem, 3vw, 2.5rem) 3rem }
h1 { font: 600 1.6rem/1.2 Georgia, "Noto Serif", serif; overflow-wrap: anywhere }
h2 { font-size: 1rem; margin: 0 0 .6rem }
section { background: var(--card); border: 1px solid var(--line); border-radius: .8rem; padding: 1rem; min-width: 0 }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; margin-bottom: 1rem }
img { display: block; width: 100%; max-width: 34rem; height: auto }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-top: 1px solid var(--line); font-weight: 400; vertical-align: top }
thead th { border: 0; color: var(--soft); font-size: .85rem }
.n { font-variant-numeric: tabular-nums; white-space: nowrap }
.soft { color: var(--soft) }
.bad { border-left: 4px solid var(--two); padding-left: .8rem }
code { font-size: .85rem }
p code { overflow-wrap: anywhere }
article { border-top: 1px solid var(--line); padding: .8rem 0 }
"""


def page(found: Diff) -> str:
    """The page in HTML."""
    title = f"{found.second} held against {found.first}"
    warnings = "".join(f'<p class="bad">{escape(one)}.</p>' for one in cautions(found))
    values = (
        f"{_table(found)}<p class=soft>{escape(counted(found))} {escape(gated(found)) if found.gate else ''}</p>"
        if found.earned
        else "<p>Nothing has a value here.</p>"
    )
    most = _people(found)
    examples = "".join(map(_example, found.examples)) or "<p>They chose the same everywhere.</p>"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head>
<body><main><h1>{escape(title)}</h1>
<p>{escape(summary(found))}.</p>{warnings}
<div class="pair">
<section><h2>What a decision earns in the mean</h2>{_values(found)}{values}</section>
<section><h2>By kind of tip that was logged</h2>{_kinds(found)}<h2>How far apart the two are</h2>{_distances(found)}</section>
</div>
<div class="pair"><section><h2>People</h2>{most}</section></div>
<section><h2>The farthest apart</h2>{examples}</section>
</main></body></html>
"""


def _table(found: Diff) -> str:
    def cells(one: Earned) -> Sequence[str]:
        numbers = spoken(one.doubly_robust), spoken(one.snips), f"{one.effective_n:.0f}", f"{one.mean_weight:.2f}"
        return one.policy, *numbers

    told = _rows(("policy", "reward of a decision", "self-normalized", "effective", "weight"), map(cells, found.earned))
    return f"{told}<p>{escape(found.second)} less {escape(found.first)}: <b class=n>{spoken(found.ahead)}</b></p>"


def _people(found: Diff) -> str:
    if not found.most:
        return "<p>For nobody anything would have been otherwise.</p>"
    rows = ((one.user, str(one.otherwise), str(one.decisions)) for one in found.most)
    return _rows(("pseudonym", "otherwise", "decisions"), rows)


def _rows(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    heads = "".join(f"<th scope=col>{escape(one)}</th>" for one in head)
    body = "".join(
        f"<tr><th scope=row><code>{escape(first)}</code></th>{''.join(f'<td class=n>{escape(one)}</td>' for one in others)}</tr>"
        for first, *others in rows
    )
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _example(one: Example) -> str:
    when = f"{datetime.fromtimestamp(one.decided_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    rows = (
        (each.policy, each.kind, _both(each.probability, ".3f"), _both(each.worth, "+.3f"), features(each.features))
        for each in one.choices
    )
    table = _rows(("by", "chose", "probability", "worth", "what was seen of it"), rows)
    about = f"{one.distance:.3f} apart: decision <code>{escape(one.decision_id)}</code> of <code>{escape(one.user)}</code>, {when}"
    return f"<article><p>{about}</p>{table}</article>"


def _both(pair: tuple[float, float], form: str) -> str:
    return " / ".join(format(one, form) for one in pair)


def _values(found: Diff) -> str:
    if not found.earned:
        return ""
    names = [one.policy for one in found.earned] + ["the difference"]
    values = [one.doubly_robust for one in found.earned] + [found.ahead]
    figure, axes = _drawn(0.55 * len(names) + 0.7)
    axes.axvline(0, color=SOFT, linewidth=0.8, linestyle=(0, (3, 3)))
    for at, value in enumerate(values):
        color = TWO if at == len(values) - 1 else ONE
        if value.low is not None and value.high is not None:
            axes.plot([value.low, value.high], [at, at], color=color, linewidth=7, alpha=0.35, solid_capstyle="round")
        axes.plot([value.value], [at], marker="o", color=color, markersize=7)
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel="reward", ylim=(len(names) - 0.5, -0.5))
    told = "; ".join(f"{name} {spoken(value)}" for name, value in zip(names, values, strict=True))
    return _image(figure, f"Mean reward with 95 % intervals: {told}")


def _kinds(found: Diff) -> str:
    kinds = sorted(found.by_kind.items())
    if not kinds:
        return ""
    names, same = [name for name, _ in kinds], [one.decisions - one.otherwise for _, one in kinds]
    figure, axes = _drawn(0.5 * len(names) + 0.9)
    axes.barh(names, same, color=ONE, label="the same", height=0.6)
    axes.barh(names, [one.otherwise for _, one in kinds], left=same, color=TWO, label="otherwise", height=0.6)
    axes.invert_yaxis()
    axes.set_xlabel("decisions")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0, fontsize=12)
    return _image(
        figure, "; ".join(f"{name}: {one.otherwise} of {one.decisions} decisions otherwise" for name, one in kinds)
    )


def _distances(found: Diff) -> str:
    figure, axes = _drawn(2.1)
    axes.bar([(at + 0.5) / BINS for at in range(BINS)], found.distances, width=0.9 / BINS, color=ONE)
    axes.set(xlabel="total variation between their probabilities", ylabel="decisions", xlim=(0, 1))
    near = found.distances[0]
    return _image(figure, f"How many decisions lie how far apart: {near} of {found.decisions} closer than {1 / BINS:g}")


def _drawn(height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained", facecolor="none")
    axes = figure.add_subplot(facecolor="none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(colors=INK, length=0, labelsize=12)
    axes.xaxis.label.set(color=SOFT, fontsize=12)
    axes.yaxis.label.set(color=SOFT, fontsize=12)
    axes.xaxis.grid(visible=True, color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _image(figure: Figure, told: str) -> str:
    """As an image of its own, whose colours follow light and dark; `told`: what it shows, for who cannot see it."""
    written = StringIO()
    for legend in (one for axes in figure.axes if (one := axes.get_legend())):
        for text in legend.get_texts():
            text.set_color(INK)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "oo", "font.family": "sans-serif"}):
        figure.savefig(written, format="svg", metadata={"Date": None}, transparent=True)
    drawn = written.getvalue()
    for color in DARK:
        drawn = drawn.replace(color, f"var(--c{color[1:]})")
    light = ";".join(f"--c{color[1:]}:{color}" for color in DARK)
    dark = ";".join(f"--c{color[1:]}:{other}" for color, other in DARK.items())
    style = f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}text{{font-family:system-ui,sans-serif!important}}</style>"
    drawn = drawn.replace("<defs>", f"{style}<defs>", 1)
    return f'<img alt="{escape(told)}" src="data:image/svg+xml;base64,{b64encode(drawn.encode()).decode()}">'
