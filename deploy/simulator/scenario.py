"""A scenario: what a simulated population is like, read from a file and checked. It never draws anything.

The files in `scenarios/` ship with the package; a file names only what differs from the defaults here. Every number is
an assumption about people, none is measured on them: scenarios exist to be varied, and a policy has to hold in all.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path

FOLDER = Path(__file__).parent / "scenarios"


class ScenarioError(Exception):
    """There is no such scenario, or its file is wrong; the message says where."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that a simulation is told about people. Shares and probabilities are within [0, 1]."""

    name: str = ""
    about: str = ""
    """One line, for the list of scenarios."""

    # The population of the slate level (slates.py); the whole core and a live stack are told how many and how long.
    people: int = field(default=120, metadata={"range": (1, 100_000)})
    decisions_per_person: int = field(default=60, metadata={"range": (1, 10_000)})
    candidates: int = field(default=10, metadata={"range": (2, 40)})
    decisions_per_day: float = field(default=2.5, metadata={"range": (0.1, 48.0)})
    joining_days: float = field(default=6.0, metadata={"range": (0.0, 365.0)})
    """People join over the first so many days: each starts cold, most while others have taught something."""
    silent_candidate: bool = False
    """Saying nothing, worth 0, stands on each slate."""

    # Tastes.
    clusters: int = field(default=6, metadata={"range": (1, 100)})
    heterogeneity: float = field(default=1.0, metadata={"range": (0.0, 5.0)})
    """Scale of what tells people apart; 0 makes all of them alike."""
    drift_share: float = field(default=0.4, metadata={"range": (0.0, 1.0)})
    """People who change to another cluster's tastes midway."""

    # Truth.
    nonlinearity: float = field(default=1.0, metadata={"range": (0.0, 5.0)})
    """Weight of thresholds, products and routines beside what is linear in a candidate's facts."""
    hidden: float = field(default=1.0, metadata={"range": (0.0, 5.0)})
    """Weight of what no feature shows: dread, mood, whim, the hour at which one is at their best."""
    label_noise: float = field(default=0.15, metadata={"range": (0.0, 1.0)})
    """Candidates whose visible topic is wrong or missing."""
    fatigue: float = field(default=0.25, metadata={"range": (0.0, 5.0)})
    """How much each tip of the last hours takes from the next."""
    busy_annoyance: float = field(default=0.8, metadata={"range": (0.0, 10.0)})
    """How much being busy adds to dismissing."""

    # What no sum of what is told says; everybody's alike.
    afternoons_apart: float = field(default=0.0, metadata={"range": (-5.0, 5.0)})
    """How much more the important draws than the unimportant before noon and in the evening, and the less so in the afternoon."""
    weekends_apart: float = field(default=0.0, metadata={"range": (-5.0, 5.0)})
    """How much people are drawn at the weekend to some topics and away from all others, and on working days the contrary."""

    # Tips that a language model wrote (likings.py); nothing where there are none.
    written: float = field(default=0.0, metadata={"range": (-5.0, 5.0)})
    """How much more than its task a written tip draws people in the mean."""
    written_apart: float = field(default=1.0, metadata={"range": (0.0, 5.0)})
    """Scale of what is thought of written tips, of prompts and of models, by everybody and by each."""

    # Reactions.
    delay_median_minutes: float = field(default=25.0, metadata={"range": (0.0, 10_000.0)})
    delay_spread: float = field(default=1.3, metadata={"range": (0.0, 4.0)})
    """Standard deviation of the delay's logarithm."""
    lost: float = field(default=0.25, metadata={"range": (0.0, 1.0)})
    """Reactions that never arrive, whatever they were: silence at random."""
    lost_done: float = field(default=0.0, metadata={"range": (0.0, 1.0)})
    """Of what was done, the share that is never ticked off: silence of those who did it."""
    silent_dislike: float = field(default=0.0, metadata={"range": (0.0, 10.0)})
    """How strongly dislike becomes silence instead of a dismissal: silence of the displeased."""
    clickers: float = field(default=0.0, metadata={"range": (0.0, 1.0)})
    """People whose reactions say nothing of what they think: always done, always dismiss, or the contrary."""

    # Worth of a reaction, as the product's configuration has it.
    worth_done: float = field(default=1.0, metadata={"range": (-1.0, 1.0)})
    worth_snooze: float = field(default=0.125, metadata={"range": (-1.0, 1.0)})
    worth_dismiss: float = field(default=-0.25, metadata={"range": (-1.0, 1.0)})
    interruption_cost: float = field(default=0.046875, metadata={"range": (0.0, 1.0)})
    """Taken from the value of whatever is said; a policy knows it."""

    # Days, for the whole core and a live stack.
    tasks_at_first: int = field(default=5, metadata={"range": (0, 200)})
    tasks_per_day: float = field(default=3.0, metadata={"range": (0.0, 100.0)})
    events_per_day: float = field(default=1.5, metadata={"range": (0.0, 24.0)})
    looks_per_day: float = field(default=8.0, metadata={"range": (0.1, 200.0)})
    """How often a person looks whether there is a tip."""
    tips_per_hour: int = field(default=0, metadata={"range": (0, 60)})
    """What they let through, as they tell in their profile; 0 leaves it to the product."""
    tips_per_day: int = field(default=0, metadata={"range": (0, 500)})


def names() -> list[str]:
    """The scenarios that come with the package, `base` first.

    >>> names()[0]
    'base'
    """
    found = sorted(path.stem for path in FOLDER.glob("*.toml"))
    return sorted(found, key=lambda name: (name != "base", name))


def load(name: str) -> Scenario:
    """The scenario of that name, or in that file (a path that ends in .toml); raises ScenarioError."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not name.endswith(".toml") and name not in names():
        raise ScenarioError(f"no scenario {name!r}: there are {', '.join(names())}, or name a .toml file")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path} cannot be read: {type(error).__name__}") from None
    return parse(text, name=path.stem)


def parse(text: str, *, name: str) -> Scenario:
    """The scenario that a TOML text describes: defaults with some of them changed; raises ScenarioError.

    >>> parse("lost = 0.5", name="mine").lost
    0.5
    >>> parse("lots = 0.5", name="mine")
    Traceback (most recent call last):
    deploy.simulator.scenario.ScenarioError: scenario mine: there is no setting 'lots'
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"scenario {name}: {error}") from None
    known = {one.name: one for one in fields(Scenario) if one.name != "name"}
    for key, stated in given.items():
        if key not in known:
            raise ScenarioError(f"scenario {name}: there is no setting {key!r}")
        kind = type(known[key].default)
        value = given[key] = float(stated) if kind is float and type(stated) is int else stated
        if type(value) is not kind:
            raise ScenarioError(f"scenario {name}: {key} is {value!r}, and should be a {_KINDS[kind]}")
        low, high = known[key].metadata.get("range", (None, None))
        if low is not None and not low <= value <= high:
            raise ScenarioError(f"scenario {name}: {key} is {value}, and should be within {low} and {high}")
    return Scenario(name=name, **given)


_KINDS: dict[type, str] = {float: "number", int: "whole number", bool: "true or false", str: "text"}
