"""Which prompts requests draw from, as an operator says it, in versions of those that this build has. It draws nothing."""

from __future__ import annotations

from agents.generation.prompts import PROMPTS, latest

WEIGHT_MAX = 1_000


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
        try:
            found[latest(name).version] = int(weight or 1)
        except KeyError:
            names = ", ".join(sorted({prompt.name for prompt in PROMPTS.values()}))
            raise NoSuchPrompt(f"OO_LLM_PROMPTS: there is no prompt {name!r}; there are {names}") from None
    return found
