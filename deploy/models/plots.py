"""Plots of a model's judgement, as files: nothing in them is one person's."""

from __future__ import annotations

from pathlib import Path

from deploy.plots import ONE, SOFT, TWO, drawn
from training.judged import Value
from training.trained import Trained

DPI = 120
CARD = "#fbf8f2"


def draw(one: Trained, folder: Path) -> None:
    """Draw them into this folder, which is made."""
    folder.mkdir()
    _calibration(one, folder / "calibration.png")
    _earned(one, folder / "earned.png")


def _calibration(one: Trained, path: Path) -> None:
    figure, axes = drawn(3.2)
    bins = one.calibration.bins
    said, came = [each.predicted for each in bins], [each.reward for each in bins]
    ends = min([*said, *came, 0.0]), max([*said, *came, 0.1])
    axes.plot(ends, ends, color=SOFT, linewidth=0.8)
    axes.errorbar(said, came, yerr=[1.96 * each.error for each in bins], fmt="o", color=ONE, markersize=4, linewidth=1)
    axes.set_xlabel("predicted reward")
    axes.set_ylabel("reward of later tips, 95 %")
    figure.savefig(path, dpi=DPI, facecolor=CARD)


def _earned(one: Trained, path: Path) -> None:
    figure, axes = drawn(2.6)
    names = [name for name, group in one.earned.groups.items() if group.decisions]
    for shift, colour, what in ((-0.12, ONE, "earned"), (0.12, TWO, "logged")):
        for at, name in enumerate(names):
            value: Value = getattr(one.earned.groups[name], what)
            low, high = (
                value.value if value.low is None else value.low,
                value.value if value.high is None else value.high,
            )
            axes.plot([low, high], [at + shift] * 2, color=colour, linewidth=2)
            label = f"{what if what == 'logged' else 'by this model'}" if at == 0 else None
            axes.plot([value.value], [at + shift], "o", color=colour, markersize=5, label=label)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("reward of a decision, 95 %")
    axes.legend(frameon=False, fontsize=10)
    figure.savefig(path, dpi=DPI, facecolor=CARD)
