"""Which prompts requests draw from, and which are asked in the shadow of these, as an operator says it, in versions of those that this build has. It draws nothing."""

from __future__ import annotations

from agents.generation.prompts import PROMPTS, latest

WEIGHT_MAX = 1_000
PERMILLE = 1_000


class NoSuchPrompt(ValueError):
    """What was said names no prompt of this build, or no weight; the message says what to say."""


def prompts_of(said: str) -> dict[str, int]:
    """Read NAME or NAME=WEIGHT, with commas between, into weights by version. Raises NoSuchPrompt.

    >>> [(version.partition("@")[0], weight) for version, weight in prompts_of("tips=3,first-step").items()]
    [('tips', 3), ('first-step', 1)]
    """
    found = {}
    for one in said.split(","):
        name, equals, weight = (part.strip() for part in one.partition("="))
        if equals and not (weight.isascii() and weight.isdigit() and 0 < int(weight) <= WEIGHT_MAX):
            raise NoSuchPrompt(
                f"OO_LLM_PROMPTS: {name} needs a weight from 1 to {WEIGHT_MAX}; leave out what is not to be drawn"
            )
        found[_version(name, setting="OO_LLM_PROMPTS")] = int(weight or 1)
    return found


def shadows_of(said: str) -> dict[str, int]:
    """Read NAME=SHARE, with commas between, into thousandths of all requests by version; nothing says none. Raises NoSuchPrompt.

    >>> [(version.partition("@")[0], permille) for version, permille in shadows_of("first-step=0.05").items()], shadows_of("")
    ([('first-step', 50)], {})
    """
    found = {}
    for one in filter(None, said.split(",")):
        name, _, share = (part.strip() for part in one.partition("="))
        found[_version(name, setting="OO_LLM_SHADOW_PROMPTS")] = _permille(share)
    if not all(found.values()) or sum(found.values()) > PERMILLE:
        raise NoSuchPrompt(
            "OO_LLM_SHADOW_PROMPTS: each needs a share of all requests, NAME=0.1, from 0.001 on and 1 at most together"
        )
    return found


def _permille(share: str) -> int:
    """Return 0 for what is no share."""
    try:
        found = float(share) * PERMILLE
    except ValueError:
        return 0
    return round(found) if 0 < found <= PERMILLE else 0


def _version(name: str, *, setting: str) -> str:
    try:
        return latest(name).version
    except KeyError:
        names = ", ".join(sorted({prompt.name for prompt in PROMPTS.values()}))
        raise NoSuchPrompt(f"{setting}: there is no prompt {name!r}; there are {names}") from None
