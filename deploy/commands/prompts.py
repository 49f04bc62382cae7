"""oo prompts: which prompts there are, how often each is asked, and how often what came of it is done. It only reads."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.commands.session import DEFAULT_STATE, CommandError, JsonOption, StateOption, open_state
from deploy.commands.since import SINCE_HELP, here_ms

if TYPE_CHECKING:
    from deploy.judging import Verdict
    from deploy.prompted import Compared
    from deploy.stack.running import RunningStack
    from deploy.tried import Version, Wrote
    from oo.v1.policy_pb2 import Variant


WIDTH = 140
"""Of the tables, in characters."""


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
    most: Annotated[
        int,
        typer.Option(
            "--judge",
            min=0,
            max=1000,
            help="Have so many of the last days' tips judged by the alias judge: a call each.",
        ),
    ] = 0,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with a plot into this file.")] = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """How often tips of each prompt and model are done, with bounds that hold however often you look."""
    from agents.evaluation import rates
    from deploy import judging
    from deploy.prompted import ALPHA, summary

    if html is not None and find_spec("matplotlib") is None:
        raise CommandError("--html draws with matplotlib: pip install 'oo-recommender[replay]'")
    since_ms = here_ms(since) or 0
    found = _compared(state, since_ms=since_ms, so_far=so_far)
    wrote, verdict = asyncio.run(_tried(state, found, since_ms=since_ms, most=most))
    told = {version: (rate, *rates.interval(rate, alpha=ALPHA)) for version, rate in found.rates.items()}
    if html is not None:
        from deploy.prompts_page import page

        html.write_text(page(found, wrote, verdict), "utf-8")
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
        counts |= {"unshared": found.unshared, "unread": found.unread}
        print(json.dumps({"versions": rows, **counts, "written": judging.as_json(wrote, verdict)}))
        return
    console = Console(highlight=False)
    # A narrow terminal wraps lines; cells that are cut would hide which prompt it is.
    console.width = max(console.width, WIDTH)
    if told:
        table = Table("prompt", "model", "seen", "done", "share", "95 %", "effective", box=None, pad_edge=False)
        for (prompt, model), (rate, low, high) in told.items():
            share, between = f"{rate.share:.2f}", f"{low:.2f} to {high:.2f}"
            table.add_row(prompt, model, str(rate.n), str(rate.done), share, between, f"{rate.effective_n:.0f}")
        console.print(table)
    console.print(summary(found), soft_wrap=True)
    if wrote:
        table = Table(*judging.HEAD, box=None, pad_edge=False)
        for row in judging.rows(wrote, verdict):
            table.add_row(*row)
        console.print(table)
    if most:
        console.print(judging.judged_summary(verdict), soft_wrap=True)
    if html is not None:
        print(f"The same with a plot: {html}")


def _shares(prompt: str, variants: list[Variant]) -> tuple[str, ...]:
    total = sum(one.weight for one in variants)
    return tuple(f"{one.model} {one.weight / total:.0%}" for one in variants if one.prompt_version == prompt and total)


def _compared(state: Path, *, since_ms: int, so_far: bool) -> Compared:
    from deploy.console.compared import compared_in
    from deploy.keys import HeldKeys

    stack = open_state(state, "recommender_dsn", "kek_dir", ready=False)
    return compared_in(stack, HeldKeys(stack.cluster, stack.kek_dir), since_ms=since_ms, so_far=so_far)


async def _tried(state: Path, found: Compared, *, since_ms: int, most: int) -> tuple[dict[Version, Wrote], Verdict]:
    from deploy.judging import Verdict
    from deploy.keys import read_keys
    from deploy.tried import wrote

    stack = open_state(state, "kek_dir", ready=False)
    keys = await read_keys(stack.cluster, stack.kek_dir)
    written = await wrote(stack.cluster, keys, since_ms=since_ms)
    if not most or not written:
        return written, Verdict()
    from rich.progress import Progress

    from connectors.models import FileUnusable, Models
    from deploy.judging import judged
    from deploy.rows import row_of

    path = llm_file(stack)
    if path is None:
        raise CommandError(
            "--judge asks the alias judge of a litellm.yaml: 'oo up --llm ...' has one, elsewhere OO_LLM_FILE names it"
        )
    try:
        # Titles of people's tasks go to a model near it alone.
        models = Models.of(path)
    except (FileUnusable, ModuleNotFoundError) as error:
        raise CommandError(str(error)) from None
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("judged", total=most)
        verdict = await judged(
            models,
            written,
            most=most,
            row_of=lambda whose: row_of(stack, whose, keys=keys),
            done=found.done,
            on_one=lambda n: bar.update(task, completed=n),
        )
    return written, verdict


def llm_file(stack: RunningStack) -> Path | None:
    """The litellm.yaml of a stack: what its state folder remembers, or OO_LLM_FILE."""
    from deploy.stack import llm

    told = os.environ.get("OO_LLM_FILE")
    if told:
        return Path(told)
    choice = (stack.folder.read() or {}).get("llm", llm.OFF) if stack.ports else llm.OFF
    if choice == llm.OFF:
        return None
    return stack.folder.llm_file if choice == llm.LOCAL or "://" in choice else Path(choice)
