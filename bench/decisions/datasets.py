"""Classification sets that lie in the wheels of scikit-learn and river, each as contexts and which actions are right.

Real: every classification set that either ships. Generated: every classification generator of either with its defaults
under a fixed seed (circles and moons with the noise of scikit-learn's own comparison of classifiers), but not those that
look for anomalies, nor those that only wrap another with drift. It never reads the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice

import numpy as np
import numpy.typing as npt
from river import datasets as river_sets
from river.datasets import synth
from sklearn import datasets as sklearn_sets

ROUNDS_MAX = 5_000
GENERATED_ROUNDS = 2_000
SEED = 42
"""Of everything generated."""
UNIT = 64
SPREADS = 3.0
"""So many standard deviations from the mean are 1, and what lies further out is 1 too."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Raw = tuple[Floats, npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Classes:
    """A set as rounds of a bandit: the reward of action k in round i is 1 where right[i, k]."""

    name: str
    contexts: Ints
    """(n, m) in units of 1/64 within [-64, 64]; without a constant."""
    right: npt.NDArray[np.bool_]
    """(n, K); one a row, but for yeast, where a gene has several labels."""
    generated: bool


@dataclass(frozen=True, slots=True)
class Source:
    """Where a set comes from, and how many rounds it has."""

    read: Callable[[], Raw]
    rounds: int
    generated: bool = False


def quantized(contexts: Floats) -> Ints:
    """Each column less its mean over its spread, three spreads as 64; a column that never changes is 0 throughout.

    Mean and spread are those of the whole set: every learner sees the same numbers, and none has to find the scale.

    >>> quantized(np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0]])).tolist()
    [[-26, 0], [0, 0], [26, 0]]
    """
    spread = contexts.std(axis=0)
    still = spread < 1e-12
    z = (contexts - contexts.mean(axis=0)) / np.where(still, 1.0, spread)
    z[:, still] = 0.0
    return np.rint(np.clip(z / SPREADS, -1.0, 1.0) * UNIT).astype(np.int64)


@lru_cache(maxsize=64)
def load(name: str) -> Classes:
    """The set of this name, cut to its stated number of rounds after a shuffle where it is longer."""
    source = SETS[name]
    contexts, right = source.read()
    if len(contexts) > source.rounds:
        # Kept in their own order, a long set's first rows may be of one class.
        some = np.random.default_rng(SEED).permutation(len(contexts))[: source.rounds]
        contexts, right = contexts[some], right[some]
    assert len(contexts) == source.rounds, (name, len(contexts))
    return Classes(name, quantized(contexts), right, generated=source.generated)


def _one_right(contexts: object, labels: Iterable[object]) -> Raw:
    known, index = np.unique(np.array([str(label) for label in labels]), return_inverse=True)
    return np.asarray(contexts, dtype=np.float64), np.eye(len(known), dtype=bool)[index]


def _sklearn(loader: Callable[..., tuple[object, Iterable[object]]], **options: object) -> Raw:
    return _one_right(*loader(**options))


def _river(make: Callable[[], Iterable[tuple[dict[str, float], object]]], n: int) -> Raw:
    rows, labels = zip(*islice(make(), n), strict=True)
    return _one_right([[float(row[name]) for name in rows[0]] for row in rows], labels)


def _yeast() -> Raw:
    rows, labels = zip(*river_sets.Yeast(), strict=True)
    return np.array([list(row.values()) for row in rows]), np.array([list(label.values()) for label in labels])


def _shipped(make: Callable[..., object], rounds: int, **options: object) -> Source:
    return Source(partial(_sklearn, make, return_X_y=True, **options), rounds)


def _stream(make: type, rounds: int, total: int) -> Source:
    return Source(partial(_river, make, total), rounds)


def _drawn(make: Callable[..., object], **options: object) -> Source:
    read = partial(_sklearn, make, n_samples=GENERATED_ROUNDS, random_state=SEED, **options)
    return Source(read, GENERATED_ROUNDS, generated=True)


def _synth(make: Callable[..., object], **seeds: int) -> Source:
    return Source(partial(_river, partial(make, **seeds), GENERATED_ROUNDS), GENERATED_ROUNDS, generated=True)


SETS: Mapping[str, Source] = {
    "iris": _shipped(sklearn_sets.load_iris, 150),
    "wine": _shipped(sklearn_sets.load_wine, 178),
    "breast_cancer": _shipped(sklearn_sets.load_breast_cancer, 569),
    "digits": _shipped(sklearn_sets.load_digits, 1_797),
    "phishing": _stream(river_sets.Phishing, 1_250, 1_250),
    "segments": _stream(river_sets.ImageSegments, 2_310, 2_310),
    "yeast": Source(_yeast, 2_417),
    "bananas": _stream(river_sets.Bananas, ROUNDS_MAX, 5_300),
    "shuttle": _stream(river_sets.Shuttle, ROUNDS_MAX, 49_097),
    "blobs": _drawn(sklearn_sets.make_blobs),
    "circles": _drawn(sklearn_sets.make_circles, noise=0.2, factor=0.5),
    "moons": _drawn(sklearn_sets.make_moons, noise=0.3),
    "classification": _drawn(sklearn_sets.make_classification),
    "quantiles": _drawn(sklearn_sets.make_gaussian_quantiles),
    "hastie": _drawn(sklearn_sets.make_hastie_10_2),
    "agrawal": _synth(synth.Agrawal, seed=SEED),
    "hyperplane": _synth(synth.Hyperplane, seed=SEED),
    "led": _synth(synth.LED, seed=SEED),
    "mixed": _synth(synth.Mixed, seed=SEED),
    "random_rbf": _synth(synth.RandomRBF, seed_model=SEED, seed_sample=SEED),
    "random_tree": _synth(synth.RandomTree, seed_tree=SEED, seed_sample=SEED),
    "sea": _synth(synth.SEA, seed=SEED),
    "sine": _synth(synth.Sine, seed=SEED),
    "stagger": _synth(synth.STAGGER, seed=SEED),
    "waveform": _synth(synth.Waveform, seed=SEED),
}
