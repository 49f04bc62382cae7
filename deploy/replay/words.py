"""A diff in words, for the command, its page and the console. Pure; no text of a person is in them."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.replay.diff import Choice, Diff, Value


def summary(found: Diff) -> str:
    """How much differs, in a sentence."""
    share = found.otherwise / found.decisions if found.decisions else 0
    return (
        f"{found.otherwise} of {found.decisions} decisions otherwise ({share:.0%}), of {found.people_otherwise} of {found.people} people; "
        f"total variation between the two, in the mean: {found.distance:.3f}"
    )


def cautions(found: Diff) -> list[str]:
    """What has to be known before any of the numbers is believed."""
    told = [found.ranges] if found.ranges else []
    if found.without:
        told.append(f"{found.without} decisions have no counterpart: they are compared with nothing, and have no value")
    if found.out_of_reach:
        told.append(
            f"in {found.out_of_reach} decisions a policy would have chosen what the log never could: what that earns is in no estimate"
        )
    return told


def counted(found: Diff) -> str:
    """What the values rest on."""
    unshared = f", {found.unshared} of people from whom nobody else may learn left out" if found.unshared else ""
    return (
        f"Doubly robust, with 95 % intervals, over {found.valued} decisions{unshared}; {found.answered} were answered in the range, and of the "
        "others what is known counts."
    )


def gated(found: Diff) -> str:
    """What the gate would do, of these decisions alone."""
    if found.gate is None:
        return "The gate says nothing of it."
    low, margin = f"{found.gate.low:+.3f}", f"{found.gate.margin:g}"
    match found.gate.verdict:
        case "promote":
            return f"The gate would promote {found.second}: it is ahead by {low} at the least."
        case "distrust":
            return "The gate trusts none of it: the draws do not fit the logged probabilities."
        case _:
            return f"The gate holds: {found.second} is ahead by {low} at the least, and it takes more than {margin}."


def spoken(value: Value) -> str:
    """A value with its interval.

    >>> spoken(Value(0.25, 0.1, 0.4)), spoken(Value(0.25, None, None))
    ('+0.250 (+0.100 to +0.400)', '+0.250 (too little to tell)')
    """
    known = value.low is not None and value.high is not None
    between = f"{value.low:+.3f} to {value.high:+.3f}" if known else "too little to tell"
    return f"{value.value:+.3f} ({between})"


def features(seen: Mapping[str, float]) -> str:
    """What was seen of a candidate.

    >>> features({"priority": 0.75, "has_due": 1.0})
    'priority 0.75, has_due 1'
    """
    return ", ".join(f"{name} {value:g}" for name, value in seen.items()) or "nothing"


def chose(one: Choice) -> str:
    """What one of the two chose, and why: what both say of it, the first's word first."""
    (first, second), (worth, others_worth) = one.probability, one.worth
    return (
        f"{one.policy} chose {one.kind}: probability {first:.3f} / {second:.3f}, worth {worth:+.3f} / {others_worth:+.3f}; "
        f"seen of it: {features(one.features)}"
    )
