"""oo prompts: which prompts there are, how often each is asked, and how often what came of it is done. It only reads."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.commands.session import DEFAULT_STATE, CommandError, JsonOption, StateOption, open_state
from deploy.commands.since import SINCE_HELP, here_ms

if TYPE_CHECKING:
    from deploy.prompted import Compared
    from oo.v1.policy_pb2 import Variant


@dataclass(frozen=True, slots=True)
class Standing:
    """A prompt as `oo prompts list` shows it."""

    prompt: str
    is_here: bool
    """This build can write with it."""
    asked: tuple[str, ...]
    """Aliases of the models that are asked with it now, each with its share."""


def listed(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """The prompts of this build, and which of them are asked, of which model, how often."""
    from agents.generation.prompts import PROMPTS
    from deploy.earned import newest_version

    stack = open_state(state, ready=False)
    version = asyncio.run(newest_version(stack.cluster))
    variants = list(version.config.generation.variants) if version is not None else []
    names = sorted({*PROMPTS, *(one.prompt_version for one in variants)})
    found = [Standing(name, name in PROMPTS, _shares(name, variants)) for name in names]
    if as_json:
        print(json.dumps([{"prompt": one.prompt, "is_here": one.is_here, "asked": one.asked} for one in found]))
        return
    console = Console(highlight=False)
    if not variants:
        console.print("No model is asked: 'oo up --llm local' or 'oo up --llm URL' begins that.")
    for one in found:
        missing = "" if one.is_here else "  this build lacks it: nothing is written with it"
        console.print(f"{one.prompt}  {', '.join(one.asked) or 'not asked'}{missing}", soft_wrap=True)


def compare(
    since: Annotated[
        str | None,
        typer.Option("--since", help=f"Only what was decided from then on: {SINCE_HELP}.", show_default=False),
    ] = None,
    so_far: Annotated[
        bool,
        typer.Option("--so-far", help="Wait for no answer: what has none counts as not done, so shares are too low."),
    ] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with a plot into this file.")] = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """How often tips of each prompt and model are done, with bounds that hold however often you look."""
    from agents.evaluation import rates
    from deploy.prompted import ALPHA, summary

    if html is not None and find_spec("matplotlib") is None:
        raise CommandError("--html draws with matplotlib: pip install 'oo-recommender[replay]'")
    found = _compared(state, since_ms=here_ms(since) or 0, so_far=so_far)
    told = {version: (rate, *rates.interval(rate, alpha=ALPHA)) for version, rate in found.rates.items()}
    if html is not None:
        from deploy.prompts_page import page

        html.write_text(page(found), "utf-8")
    if as_json:
        rows = [
            {
                "prompt": prompt,
                "model": model,
                "tips": rate.n,
                "done": rate.done,
                "share": rate.share,
                "low": low,
                "high": high,
                "effective": rate.effective_n,
            }
            for (prompt, model), (rate, low, high) in told.items()
        ]
        counts = {"decisions": found.decisions, "waiting": found.waiting, "unseen": found.unseen}
        print(json.dumps({"versions": rows, **counts, "unshared": found.unshared, "unread": found.unread}))
        return
    console = Console(highlight=False)
    if told:
        table = Table("prompt", "model", "seen", "done", "share", "95 %", "effective", box=None, pad_edge=False)
        for (prompt, model), (rate, low, high) in told.items():
            share, between = f"{rate.share:.2f}", f"{low:.2f} to {high:.2f}"
            table.add_row(prompt, model, str(rate.n), str(rate.done), share, between, f"{rate.effective_n:.0f}")
        console.print(table)
    console.print(summary(found), soft_wrap=True)
    if html is not None:
        print(f"The same with a plot: {html}")


def _shares(prompt: str, variants: list[Variant]) -> tuple[str, ...]:
    total = sum(one.weight for one in variants)
    return tuple(f"{one.model} {one.weight / total:.0%}" for one in variants if one.prompt_version == prompt and total)


def _compared(state: Path, *, since_ms: int, so_far: bool) -> Compared:
    from agents.reward import DEFAULT
    from deploy.console.database import rows
    from deploy.keys import HeldKeys
    from deploy.prompted import WRITTEN, compared
    from oo.v1.decision_pb2 import Decision
    from streams.clock import clock_ms
    from streams.partitioner import partition_of
    from streams.sealing import KeyMissing, opened
    from streams.topics import PARTITIONS

    stack = open_state(state, "recommender_dsn", "kek_dir", ready=False)
    held = HeldKeys(stack.cluster, stack.kek_dir)
    keys_of = cache(held.of)

    def read(user_id: str, message: bytes) -> Decision | None:
        whose = user_id.encode()
        try:
            return opened(Decision.FromString(message), whose=whose, keys=keys_of(partition_of(whose, PARTITIONS)))
        except KeyMissing:
            return None

    found = rows(stack.recommender_dsn, WRITTEN, since=since_ms)
    return compared(found, opened=read, now_ms=clock_ms(), window_ms=DEFAULT.reaction_window_ms, so_far=so_far)
