"""A diff as one page with plots: nothing is fetched for it, and no text of a person is in it. It needs matplotlib, and is imported only where it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from deploy.plots import ONE, SOFT, TWO, drawn, image, table
from deploy.plots import page as whole
from deploy.replay.diff import BINS, Diff, Earned, Example
from deploy.replay.words import cautions, counted, features, gated, spoken, summary


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
    return whole(
        title,
        f"""<p>{escape(summary(found))}.</p>{warnings}
<div class="pair">
<section><h2>What a decision earns in the mean</h2>{_values(found)}{values}</section>
<section><h2>By kind of tip that was logged</h2>{_kinds(found)}<h2>How far apart the two are</h2>{_distances(found)}</section>
</div>
<div class="pair"><section><h2>People</h2>{most}</section></div>
<section><h2>The farthest apart</h2>{examples}</section>""",
    )


def _table(found: Diff) -> str:
    def cells(one: Earned) -> Sequence[str]:
        numbers = spoken(one.doubly_robust), spoken(one.snips), f"{one.effective_n:.0f}", f"{one.mean_weight:.2f}"
        return one.policy, *numbers

    told = table(("policy", "reward of a decision", "self-normalized", "effective", "weight"), map(cells, found.earned))
    return f"{told}<p>{escape(found.second)} less {escape(found.first)}: <b class=n>{spoken(found.ahead)}</b></p>"


def _people(found: Diff) -> str:
    if not found.most:
        return "<p>For nobody anything would have been otherwise.</p>"
    rows = ((one.user, str(one.otherwise), str(one.decisions)) for one in found.most)
    return table(("pseudonym", "otherwise", "decisions"), rows)


def _example(one: Example) -> str:
    when = f"{datetime.fromtimestamp(one.decided_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    rows = (
        (each.policy, each.kind, _both(each.probability, ".3f"), _both(each.worth, "+.3f"), features(each.features))
        for each in one.choices
    )
    choices = table(("by", "chose", "probability", "worth", "what was seen of it"), rows)
    about = f"{one.distance:.3f} apart: decision <code>{escape(one.decision_id)}</code> of <code>{escape(one.user)}</code>, {when}"
    return f"<article><p>{about}</p>{choices}</article>"


def _both(pair: tuple[float, float], form: str) -> str:
    return " / ".join(format(one, form) for one in pair)


def _values(found: Diff) -> str:
    if not found.earned:
        return ""
    names = [one.policy for one in found.earned] + ["the difference"]
    values = [one.doubly_robust for one in found.earned] + [found.ahead]
    figure, axes = drawn(0.55 * len(names) + 0.7)
    axes.axvline(0, color=SOFT, linewidth=0.8, linestyle=(0, (3, 3)))
    for at, value in enumerate(values):
        color = TWO if at == len(values) - 1 else ONE
        if value.low is not None and value.high is not None:
            axes.plot([value.low, value.high], [at, at], color=color, linewidth=7, alpha=0.35, solid_capstyle="round")
        axes.plot([value.value], [at], marker="o", color=color, markersize=7)
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel="reward", ylim=(len(names) - 0.5, -0.5))
    told = "; ".join(f"{name} {spoken(value)}" for name, value in zip(names, values, strict=True))
    return image(figure, f"Mean reward with 95 % intervals: {told}")


def _kinds(found: Diff) -> str:
    kinds = sorted(found.by_kind.items())
    if not kinds:
        return ""
    names, same = [name for name, _ in kinds], [one.decisions - one.otherwise for _, one in kinds]
    figure, axes = drawn(0.5 * len(names) + 0.9)
    axes.barh(names, same, color=ONE, label="the same", height=0.6)
    axes.barh(names, [one.otherwise for _, one in kinds], left=same, color=TWO, label="otherwise", height=0.6)
    axes.invert_yaxis()
    axes.set_xlabel("decisions")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0, fontsize=12)
    return image(
        figure, "; ".join(f"{name}: {one.otherwise} of {one.decisions} decisions otherwise" for name, one in kinds)
    )


def _distances(found: Diff) -> str:
    figure, axes = drawn(2.1)
    axes.bar([(at + 0.5) / BINS for at in range(BINS)], found.distances, width=0.9 / BINS, color=ONE)
    axes.set(xlabel="total variation between their probabilities", ylabel="decisions", xlim=(0, 1))
    near = found.distances[0]
    return image(figure, f"How many decisions lie how far apart: {near} of {found.decisions} closer than {1 / BINS:g}")
