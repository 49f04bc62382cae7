"""How often tips of each prompt are done, as one page with a plot. It needs matplotlib, and is imported only where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from agents.evaluation import rates
from deploy.judging import HEAD, Verdict, judged_summary, rows
from deploy.plots import ONE, TWO, drawn, image, table
from deploy.plots import page as whole
from deploy.prompted import ALPHA, Compared, summary
from deploy.tried import Version, Wrote


def page(found: Compared, wrote: Mapping[Version, Wrote], verdict: Verdict) -> str:
    """The page in HTML."""
    body = f"<p>{escape(summary(found))}</p>"
    if found.rates:
        body += f"<section><h2>Share of tips done</h2>{_plot(found)}{_table(found)}{_ABOUT}</section>"
    if wrote:
        body += f'<section style="margin-top:1rem"><h2>Written in the last seven days</h2>{_written(wrote, verdict)}</section>'
    return whole("Prompts compared", body)


_ABOUT = (
    "<p class=soft>Each tip counts one over the probability with which its prompt and model were drawn for it and it was chosen, "
    f"{rates.WEIGHT_MAX:g} at the most. Bounds hold at 95 % however often you look.</p>"
)


def _written(wrote: Mapping[Version, Wrote], verdict: Verdict) -> str:
    said = [
        (" by ".join(one[:2]) + (" (shadow)" if one[2] == "shadow" else ""), *one[3:]) for one in rows(wrote, verdict)
    ]
    about = (
        "<p class=soft>Alike: the mean cosine of tips that stand together. What a shadow wrote nobody was shown.</p>"
    )
    if not verdict.calls:
        return table(("prompt and model", *HEAD[3:8]), [one[:6] for one in said]) + about
    return (
        _scores(verdict)
        + table(("prompt and model", *HEAD[3:]), said)
        + about
        + f"<p class=soft>{escape(judged_summary(verdict))}</p>"
    )


def _scores(verdict: Verdict) -> str:
    figure, axes = drawn(0.55 * len(verdict.scores) + 0.7)
    marks = [" (shadow)" if version.in_shadow else "" for version in verdict.scores]
    for at, (version, scores) in enumerate(verdict.scores.items()):
        axes.plot([scores.mean()], [at], marker="o", color=TWO if version.in_shadow else ONE, markersize=7)
    names = [_beside(version[:2], mark) for version, mark in zip(verdict.scores, marks, strict=True)]
    axes.set(yticks=range(len(names)), yticklabels=names, xticks=range(1, 6), xlabel="score")
    axes.set(xlim=(0.8, 5.2), ylim=(len(names) - 0.5, -0.5))
    said = [
        f"{_named(version[:2])}{mark} {scores.mean():.1f}"
        for (version, scores), mark in zip(verdict.scores.items(), marks, strict=True)
    ]
    return image(figure, f"The judge's mean scores: {'; '.join(said)}")


def _named(version: tuple[str, str]) -> str:
    return " by ".join(version)


def _beside(version: tuple[str, str], mark: str = "") -> str:
    """On two lines, which leave a plot room."""
    return f"{version[0]}\nby {version[1]}{mark}"


def _plot(found: Compared) -> str:
    figure, axes = drawn(0.55 * len(found.rates) + 0.7)
    names = [_named(version) for version in found.rates]
    said = []
    for at, (name, rate) in enumerate(zip(names, found.rates.values(), strict=True)):
        low, high = rates.interval(rate, alpha=ALPHA)
        axes.plot([low, high], [at, at], color=ONE, linewidth=7, alpha=0.35, solid_capstyle="round")
        axes.plot([rate.share], [at], marker="o", color=ONE, markersize=7)
        said.append(f"{name} {rate.share:.2f} ({low:.2f} to {high:.2f})")
    axes.set(
        yticks=range(len(names)),
        yticklabels=[*map(_beside, found.rates)],
        xlabel="done",
        xlim=(0, 1),
        ylim=(len(names) - 0.5, -0.5),
    )
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
