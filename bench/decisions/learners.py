"""Every learner of the supervised table by name: oO's, the fixed configurations of its peers, and the grids they are tuned over.

A process is told a name and makes the learner itself: nothing here is sent from one to another.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import product

from mabwiser.mab import LearningPolicy

from bench.decisions.libraries import Mabwiser, River
from bench.decisions.ours import OURS, Make, Setting
from bench.decisions.textbook import LinUcb
from bench.decisions.vw import Vw

CROSSED = "-q sa --ignore_linear s"
"""Context times action. The context alone says the same of every action; without it VW earns more here."""

EXPLORERS = {
    "greedy": "--epsilon 0",
    "default (epsilon .05)": "--epsilon 0.05",
    "squarecb": "--squarecb --gamma_scale 10",
    "regcb": "--regcb --mellowness 0.01",
    "cover": "--cover 4 --nounif",
    "bag": "--bag 5",
}
MORE_EXPLORERS = {
    "squarecb 100": "--squarecb --gamma_scale 100",
    "regcbopt": "--regcbopt --mellowness 0.01",
    "bag greedify": "--bag 5 --greedify",
}
RATES = (0.1, 0.5, 2.0)
"""Its default is .5."""


def _vw(options: str, setting: Setting) -> Vw:
    return Vw(f"{options} {CROSSED}", seed=setting.seed)


def _mabwiser(policy: object, setting: Setting) -> Mabwiser:
    return Mabwiser(policy, seed=setting.seed)


def _river(alpha: float, beta: float, setting: Setting) -> River:
    return River(alpha=alpha, beta=beta, seed=setting.seed)


VW_FIXED: Mapping[str, Make] = {f"VW {name}": partial(_vw, options) for name, options in EXPLORERS.items()}
VW_SQUARES: Mapping[str, Make] = {
    "VW greedy, squares of the context": partial(_vw, "--epsilon 0 --interactions ssa"),
}
"""Products of two features of the context too: a linear learner's own way to curved borders."""
VW_GRID: Mapping[str, Make] = {
    f"VW {name}, rate {rate:g}": partial(_vw, f"{options} --learning_rate {rate:g}")
    for (name, options), rate in product({**EXPLORERS, **MORE_EXPLORERS}.items(), RATES)
}
TUNED: Mapping[str, Mapping[str, Make]] = {
    "mabwiser": {
        **{f"mabwiser LinUCB {a:g}": partial(_mabwiser, LearningPolicy.LinUCB(alpha=a)) for a in (0.1, 0.3, 1.0)},
        **{f"mabwiser LinTS {a:g}": partial(_mabwiser, LearningPolicy.LinTS(alpha=a)) for a in (0.1, 0.3)},
        "mabwiser LinGreedy 0.02": partial(_mabwiser, LearningPolicy.LinGreedy(epsilon=0.02)),
    },
    "river": {
        f"river LinUCBDisjoint {a:g}, {b:g}": partial(_river, a, b) for a, b in product((0.3, 1.0), (1.0, 10.0, 100.0))
    },
    "textbook": {f"textbook LinUCB {a:g}": lambda setting, a=a: LinUcb(alpha=a) for a in (0.1, 0.3, 1.0)},
}
"""By library: one of each is chosen on seeds of its own, by its mean over all sets."""

LEARNERS: Mapping[str, Make] = {
    **OURS,
    **VW_FIXED,
    **VW_SQUARES,
    **VW_GRID,
    **{name: make for variants in TUNED.values() for name, make in variants.items()},
}
