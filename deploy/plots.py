"""Tables and plots for pages that stand alone: nothing is fetched for one. It needs matplotlib, and is imported only where a page is asked for."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from io import StringIO

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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


def page(title: str, body: str) -> str:
    """A page in HTML; `body` is HTML already."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head>
<body><main><h1>{escape(title)}</h1>
{body}
</main></body></html>
"""


def table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under a head; the first cell of each names it."""
    heads = "".join(f"<th scope=col>{escape(one)}</th>" for one in head)
    body = "".join(
        f"<tr><th scope=row><code>{escape(first)}</code></th>{''.join(f'<td class=n>{escape(one)}</td>' for one in others)}</tr>"
        for first, *others in rows
    )
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def drawn(height_in: float) -> tuple[Figure, Axes]:
    """A plot to draw in, so high."""
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


def image(figure: Figure, told: str) -> str:
    """As an image of its own, whose colours follow light and dark; `told`: what it shows, for who cannot see it."""
    written = StringIO()
    for legend in (one for axes in figure.axes if (one := axes.get_legend())):
        for text in legend.get_texts():
            text.set_color(INK)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "oo", "font.family": "sans-serif"}):
        figure.savefig(written, format="svg", metadata={"Date": None}, transparent=True)
    svg = written.getvalue()
    for color in DARK:
        svg = svg.replace(color, f"var(--c{color[1:]})")
    light = ";".join(f"--c{color[1:]}:{color}" for color in DARK)
    dark = ";".join(f"--c{color[1:]}:{other}" for color, other in DARK.items())
    style = f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}text{{font-family:system-ui,sans-serif!important}}</style>"
    svg = svg.replace("<defs>", f"{style}<defs>", 1)
    return f'<img alt="{escape(told)}" src="data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}">'
