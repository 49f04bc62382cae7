"""oo train: reward models from a bounded replay of the journal, judged on later decisions, and registered as challengers."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deploy.commands.session import DEFAULT_STATE, CommandError, JsonOption, StateOption, open_state
from deploy.commands.since import SINCE_HELP, here_ms

if TYPE_CHECKING:
    from deploy.models.collected import Collected
    from deploy.models.run import Made
    from deploy.stack.running import RunningStack

NEEDED = ("mac_key_file", "kek_dir")
HOW_TO_INSTALL = "run 'make setup', or 'uv sync --extra local --extra ml', where oO's source is"


class Kind(StrEnum):
    """Which models."""

    LINEAR = "linear"
    BOOSTING = "boosting"
    NET = "net"
    ALL = "all"


def train(
    name: Annotated[str, typer.Option("--name", help="Of the model: its versions are NAME@1, NAME@2 and so on.")],
    since: Annotated[str, typer.Option("--from", help=f"A journal offset, or {SINCE_HELP}.")] = "0",
    until: Annotated[str, typer.Option("--to", help="The same; by default what the workers have taken now.")] = "",
    model: Annotated[
        Kind, typer.Option("--model", help="Which to make; the best of all becomes the challenger.")
    ] = Kind.ALL,
    wait: Annotated[
        int,
        typer.Option(
            "--wait", min=0, help="Seconds in which what comes of a decision shows: younger ones are left out."
        ),
    ] = 4 * 3600,
    if_due: Annotated[
        int,
        typer.Option(
            "--if-due",
            min=0,
            metavar="SECONDS",
            help="Only where the newest version is so old, rewards have drifted since, or somebody left; 0: always. "
            "What has outstayed its time since somebody left goes.",
        ),
    ] = 0,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Make reward models of what was decided and what came of it, and register those that hold on later decisions."""
    check_installed()
    from agents.reward import DEFAULT
    from connectors.model_registry import NAME
    from deploy.journal import newest_version
    from deploy.models.collected import collect
    from deploy.models.places import registry_of, training_folder
    from deploy.models.run import alone, made_of
    from training.models import MODELS

    if not NAME.fullmatch(name):
        raise CommandError(f"{name!r} cannot name a model: small letters, digits and hyphens, 64 at most")
    stack = open_state(state, *NEEDED, ready=False)
    kinds = tuple(MODELS) if model is Kind.ALL else (model.value,)
    if if_due and not _is_due(stack, name, every_s=if_due):
        return
    with (
        Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar,
        alone(training_folder(stack)) as folder,
    ):
        reading = bar.add_task("reading the journal", total=None)

        async def read() -> Collected:
            return await collect(
                stack,
                since=_place(since),
                until=_place(until) if until else 1 << 62,
                wait_ms=wait * 1000,
                progress=lambda done, total: bar.update(reading, completed=done, total=total),
            )

        collected = asyncio.run(read())
        latest = asyncio.run(newest_version(stack.cluster))
        config = DEFAULT if latest is None else latest.config
        found = made_of(
            collected,
            registry_of(stack),
            name=name,
            kinds=kinds,
            config=config,
            folder=folder,
            tell=lambda what: bar.update(reading, description=what),
            extra={"wait_s": wait, "from": since, "to": until},
        )
    if as_json:
        print(json.dumps(_told(name, collected, found)))
    else:
        _show(name, collected, found)
    if not any(one.version for one in found):
        raise CommandError(f"no version of {name} was registered: the table says why not")


def check_installed() -> None:
    """Raise CommandError where the extra `ml` is not here."""
    if missing := [one for one in ("sklearn", "skl2onnx", "onnxruntime", "matplotlib") if find_spec(one) is None]:
        raise CommandError(f"training is not installed ({', '.join(missing)}): {HOW_TO_INSTALL}")


def _is_due(stack: RunningStack, name: str, *, every_s: int) -> bool:
    """Whether to make a model now, which is said; what has outstayed its time is taken away before."""
    from connectors.leaving import leavers_of
    from deploy.earned import standing
    from deploy.models.due import due
    from deploy.models.places import registry_of
    from deploy.models.retiring import retire_outstayed
    from deploy.models.schedule import why_now
    from streams.clock import clock_ms

    registry, now_ms = registry_of(stack), clock_ms()
    to_go = due(registry.versions(), asyncio.run(leavers_of(stack.cluster)))
    for gone in asyncio.run(retire_outstayed(stack, registry, to_go, now_ms=now_ms)):
        print(f"{gone.spelled} is gone: it may have held somebody who left")
    now = asyncio.run(standing(stack.cluster))
    drift_ms = max((one.drift_ms for one in now.estimates if one.policy == now.champion), default=0)
    why = why_now(registry.versions(name), now_ms=now_ms, every_s=every_s, drift_ms=drift_ms, to_go=to_go)
    print(f"{name} is made: {why}" if why else f"{name} is not due")
    return bool(why)


def _place(text: str) -> int | str:
    return int(text) if text.isdecimal() else f"@{here_ms(text)}"


def _told(name: str, collected: Collected, found: list[Made]) -> dict[str, object]:
    from deploy.models.run import metrics

    models = [
        {
            "model": one.kind,
            "version": one.version,
            "why_not": one.why_not,
            **({"rows": one.trained.rows, "export": one.trained.export._asdict()} if one.trained else {}),
            "metrics": metrics(one.trained) if one.trained else {},
        }
        for one in found
    ]
    return {
        "name": name,
        "decisions": len(collected.rows),
        "audit": asdict(collected.audit),
        "ranges": collected.ranges,
        "erasures": collected.erasures,
        "unshared": collected.unshared,
        "fingerprint": collected.rows.fingerprint(),
        "models": models,
    }


def _show(name: str, collected: Collected, found: list[Made]) -> None:
    audit, console = collected.audit, Console(highlight=False)
    console.print(
        f"{len(collected.rows)} decisions of {sum(end - start for start, end in collected.ranges.values())} records; features of "
        f"{audit.decisions} live decisions compared ({audit.vectors} vectors): {audit.differences} differences, {audit.missing} not there any more",
        soft_wrap=True,
    )
    table = Table(
        "model", "version", "error", "done above", "off", "would earn", "logged", "export", box=None, pad_edge=False
    )
    for one in found:
        judged = one.trained
        if judged is None:
            table.add_row(one.kind, "-")
            continue
        whole = judged.earned.groups["all"]
        table.add_row(
            one.kind,
            f"{name}@{one.version}" if one.version else "-",
            f"{judged.later.error:.3f}",
            _between(judged.later.done_above.value, judged.later.done_above.low, judged.later.done_above.high),
            _between(judged.calibration.off.value, judged.calibration.off.low, judged.calibration.off.high),
            _between(whole.earned.value, whole.earned.low, whole.earned.high),
            _between(whole.logged.value, whole.logged.low, whole.logged.high),
            f"{judged.export.difference:.1g}",
        )
    console.print(table)
    for one in found:
        if one.why_not:
            console.print(f"{one.kind} was not registered: {one.why_not}", soft_wrap=True)


def _between(value: float, low: float | None, high: float | None) -> str:
    return f"{value:+.3f}" if low is None or high is None else f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
