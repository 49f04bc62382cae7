"""oo verify: folds the journal again and compares it with what is live. It only reads."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from deploy.commands.session import DEFAULT_STATE, CommandError, JsonOption, StateOption, open_state

if TYPE_CHECKING:
    from deploy.stack.running import RunningStack
    from deploy.verify import Report


def verify(
    state: StateOption = DEFAULT_STATE,
    from_snapshot: Annotated[
        bool,
        typer.Option(
            "--from-snapshot", help="Fold from each partition's newest row snapshot on, not from the beginning."
        ),
    ] = False,
    partitions: Annotated[
        list[int] | None,
        typer.Option("--partitions", help="Of the journal, one each time it is given. All by default."),
    ] = None,
    in_turn: Annotated[
        bool,
        typer.Option(
            "--in-turn",
            help="The partition whose turn it is, from where it was last found sound on, at the lowest priority; 'oo status' shows what came of it.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Fold the journal again and compare it with what is live, while people write; exit status 1 at a difference."""
    from deploy.cut import NotSettled
    from deploy.folding import BeginningGone
    from deploy.shares import RefoldError
    from deploy.verify import verify as compare

    stack = open_state(state, "valkey_url", "recommender_dsn", "mac_key_file", "kek_dir", ready=False)
    if in_turn:
        if from_snapshot or partitions:
            raise CommandError("--in-turn chooses the partition and where to begin by itself")
        _in_turn(stack, as_json=as_json)
        return
    count = stack.cluster.topics["journal"].partitions
    if any(not 0 <= number < count for number in partitions or ()):
        raise CommandError(f"the journal has partitions 0 to {count - 1}")
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar:
        task = bar.add_task("folding the journal", total=None)
        try:
            report = asyncio.run(
                compare(
                    stack,
                    from_snapshot=from_snapshot,
                    partitions=partitions or None,
                    progress=lambda done, total: bar.update(task, completed=done, total=max(total, 1)),
                )
            )
        except (NotSettled, BeginningGone, RefoldError) as error:
            raise CommandError(str(error)) from None
    print(json.dumps(asdict(report)) if as_json else _in_words(report))
    if report.differences:
        raise typer.Exit(1)


def _in_turn(stack: RunningStack, *, as_json: bool) -> None:
    from deploy.cut import NotSettled
    from deploy.folding import BeginningGone
    from deploy.shares import RefoldError
    from deploy.verify import verify_in_turn

    try:
        number, found = asyncio.run(verify_in_turn(stack))
    except (NotSettled, BeginningGone, RefoldError) as error:
        raise CommandError(str(error)) from None
    if as_json:
        print(json.dumps({"partition": number, **asdict(found)}))
    else:
        said = f"partition {number}: sound below offset {found.sound}, {found.differences} differences"
        print(said, *found.shown, sep="\n")
    if found.differences:
        raise typer.Exit(1)


def _in_words(report: Report) -> str:
    compared = (
        f"{report.records} journal records folded: {report.rows} rows, {report.decisions} decisions "
        f"({report.vectors} vectors of features), {report.outcomes} outcomes, {report.requests} requests, {report.deliveries} deliveries, {report.tips} tips and "
        f"{report.settings} settings compared below a cut, {report.differences} differences"
    )
    begun = [f"{len(report.starts)} partitions were folded from a row snapshot on"] if report.starts else []
    return "\n".join([compared, *begun, *report.shown])
