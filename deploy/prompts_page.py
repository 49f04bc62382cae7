"""How often tips of each prompt are done, as one page with a plot. It needs matplotlib, and is imported only where it is asked for."""

from __future__ import annotations

from html import escape

from agents.evaluation import rates
from deploy.plots import ONE, drawn, image, table
from deploy.plots import page as whole
from deploy.prompted import ALPHA, Compared, summary


def page(found: Compared) -> str:
    """The page in HTML."""
    body = f"<p>{escape(summary(found))}</p>"
    if found.rates:
        body += f"<section><h2>Share of tips done</h2>{_plot(found)}{_table(found)}{_ABOUT}</section>"
    return whole("Prompts compared", body)


_ABOUT = (
    "<p class=soft>Each tip counts one over the probability with which its prompt and model were drawn for it and it was chosen, "
    f"{rates.WEIGHT_MAX:g} at the most. Bounds hold at 95 % however often you look.</p>"
)


def _named(version: tuple[str, str]) -> str:
    return " by ".join(version)


def _plot(found: Compared) -> str:
    figure, axes = drawn(0.55 * len(found.rates) + 0.7)
    names = [_named(version) for version in found.rates]
    said = []
    for at, (name, rate) in enumerate(zip(names, found.rates.values(), strict=True)):
        low, high = rates.interval(rate, alpha=ALPHA)
        axes.plot([low, high], [at, at], color=ONE, linewidth=7, alpha=0.35, solid_capstyle="round")
        axes.plot([rate.share], [at], marker="o", color=ONE, markersize=7)
        said.append(f"{name} {rate.share:.2f} ({low:.2f} to {high:.2f})")
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel="done", xlim=(0, 1), ylim=(len(names) - 0.5, -0.5))
    return image(figure, f"Shares done with their bounds: {'; '.join(said)}")


def _table(found: Compared) -> str:
    cells = []
    for version, rate in found.rates.items():
        low, high = rates.interval(rate, alpha=ALPHA)
        numbers = (
            str(rate.n),
            str(rate.done),
            f"{rate.share:.2f}",
            f"{low:.2f} to {high:.2f}",
            f"{rate.effective_n:.0f}",
        )
        cells.append((_named(version), *numbers))
    return table(("prompt and model", "seen", "done", "share", "95 %", "effective"), cells)
