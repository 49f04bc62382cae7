"""`oo simulate`: simulated people, against a running stack (a demo and a load generator) or the pure core alone (fast).

It never touches another user's topics or rows: its people's ids begin with `sim-`.
"""

from __future__ import annotations

import asyncio
import logging
import signal as signals
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from confluent_kafka import KafkaException
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agents.policies import DEFAULT, POLICIES
from deploy.commands.session import DEFAULT_STATE, AsOption, CommandError, JsonOption, StateOption, open_state
from deploy.simulator.curve import Point, check, curve, overall, sparkline, write
from deploy.simulator.live import Crowd, Heard, Plan
from deploy.simulator.pure import simulate as simulate_pure
from deploy.simulator.scenario import Scenario, load, names
from deploy.simulator.visit import Tally
from streams.producer import DeliveryFailed
from tables.pseudonyms import Pseudonyms

RUN_NAME_CHARS_MAX = 64

_out = Console(highlight=False, soft_wrap=True, emoji=False, markup=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False, markup=False)


def _run_name(value: str | None) -> str | None:
    fits = value is None or (value.isascii() and value.replace("-", "").isalnum() and len(value) <= RUN_NAME_CHARS_MAX)
    if not fits:
        raise typer.BadParameter("a run's name has letters, digits and -, 64 at most")
    return value


def simulate(
    scenario: Annotated[str, typer.Option(help="A name from --list, or a .toml file.")] = "base",
    users: Annotated[int, typer.Option(min=1, max=100_000, help="How many people.")] = 100,
    pure: Annotated[bool, typer.Option("--pure", help="The pure core in memory, in virtual time; no stack.")] = False,
    minutes: Annotated[float, typer.Option(min=0.05, max=100_000, help="Live: how long it runs.")] = 60.0,
    speed: Annotated[float, typer.Option(min=0.1, max=100_000, help="Live: simulated seconds a second.")] = 60.0,
    rate: Annotated[
        float | None,
        typer.Option(min=0.01, max=100_000, help="Live: signals a second; else the scenario's own."),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(callback=_run_name, help="Live: goes into all ids; a name used again sends duplicates."),
    ] = None,
    days: Annotated[float, typer.Option(min=0.1, max=3650, help="--pure: simulated days.")] = 14.0,
    policy: Annotated[str, typer.Option(help="--pure: which policy decides.")] = DEFAULT,
    learn_expired: Annotated[
        bool, typer.Option("--learn-expired", help="--pure: silence teaches a reward of 0, instead of nothing.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Who the people are, and their luck.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the summary and its curve: a .json or .svg file.")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="The scenarios, and what each is about.")] = False,
    role: AsOption = "",
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Let simulated people use it: they tell of tasks, look at tips and react, by their tastes, routines and moods."""
    if show_list:
        _list()
        return
    if out is not None:
        check(out)
    chosen = load(scenario)
    if pure:
        servable = [name for name, one in POLICIES.items() if one.servable]
        if policy not in servable:
            raise CommandError(f"there is no policy {policy!r} that decides: --policy takes {', '.join(servable)}")
        summary, tally = _pure(chosen, users=users, days=days, seed=seed, policy=policy, learn_expired=learn_expired)
    else:
        name = run or f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
        plan = Plan(users=users, minutes=minutes, speed=speed, seed=seed, run=name, rate=rate)
        try:
            summary, tally = asyncio.run(_live(chosen, plan, state=state, role=role))
        except DeliveryFailed as error:
            raise CommandError(f"Kafka did not take what was sent ({error}): 'oo status' shows what runs") from None
        except KafkaException as error:
            raise CommandError(f"Kafka cannot be read ({error.args[0]}): 'oo status' shows what runs") from None
    points = curve(tally.judged)
    summary = {"scenario": chosen.name, "users": users, "seed": seed, **summary, **_figures(tally)}
    if out is not None:
        write(out, summary, points)
    _show(summary, points, as_json=as_json)


def _pure(
    scenario: Scenario, *, users: int, days: float, seed: int, policy: str, learn_expired: bool
) -> tuple[dict[str, Any], Tally]:
    with _progress() as progress:
        task = progress.add_task(f"{days:g} days of {users} people", total=1.0)
        found = simulate_pure(
            scenario,
            users=users,
            days=days,
            seed=seed,
            policy=policy,
            learn_expired=learn_expired,
            on_progress=lambda share: progress.update(task, completed=share),
        )
    if found.faults:
        raise CommandError(f"the core failed on {len(found.faults)} records, the first time with {found.faults[0]}")
    shown = {name: value for name, value in asdict(found).items() if name not in ("tally", "faults")}
    return {"mode": "pure", "policy": policy, "learn_expired": learn_expired, "days": days, **shown}, found.tally


async def _live(scenario: Scenario, plan: Plan, *, state: Path, role: str) -> tuple[dict[str, Any], Tally]:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    stack = open_state(state, "registry_url", "kek_dir", "name_key_file")
    pseudonyms = Pseudonyms.in_file(stack.name_key_file)
    sends = (stack.as_named(role, "producer") if role else stack.as_role("producer")).cluster
    crowd = Crowd(plan, scenario, cluster=stack.cluster, sends=sends, kek_dir=stack.kek_dir, pseudonyms=pseudonyms)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signals.SIGINT, signals.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with _progress() as progress:
        task = progress.add_task("begins", total=1.0)

        def tell(share: float, tally: Tally, heard: Heard) -> None:
            said = f"{tally.signals} signals, {heard.tips} tips, {tally.reactions} reactions"
            progress.update(task, completed=share, description=said)

        await crowd.run(stop, on_progress=tell)
    return {"mode": "live", **asdict(plan), "tips": crowd.heard.tips}, crowd.tally


def _figures(tally: Tally) -> dict[str, Any]:
    whole = overall(tally.judged)
    return {
        "signals": tally.signals,
        "seen": tally.seen,
        "reactions": tally.reactions,
        "silences": tally.silences,
        "mean_reward": round(tally.reward / tally.seen, 4) if tally.seen else None,
        "mean_value": whole.value if whole else None,
        "regret": whole.regret if whole else None,
        "captured": whole.captured if whole else None,
    }


def _show(summary: dict[str, Any], points: list[Point], *, as_json: bool) -> None:
    if as_json:
        _out.print_json(data={**summary, "curve": [asdict(point) for point in points]})
        return
    told = f"{summary['tips']} tips, " if "tips" in summary else f"{summary['decisions']} decisions, "
    _out.print(
        f"{summary['scenario']}, {summary['users']} people: {summary['signals']} signals, {told}"
        f"{summary['seen']} seen, {summary['reactions']} reactions, {summary['silences']} met with silence"
    )
    if not points:
        _out.print("Nobody looked at a tip: let it run longer, or with a greater --speed.")
        return
    mean = f"{summary['mean_reward']:.3f}" if summary["mean_reward"] is not None else "none"
    _out.print(
        f"mean reward of a tip seen {mean}; in the mean a decision was worth {summary['mean_value']:.3f}, "
        f"{summary['regret']:.3f} less than the best on its slate (captured gain {summary['captured']:.2f})"
    )
    _out.print(f"worth over time  {sparkline([point.value for point in points])}")
    _out.print(f"captured gain    {sparkline([point.captured for point in points])}")
    table = Table("days", "decisions", "worth", "regret", "captured")
    for point in points:
        row = (f"{point.days:.2f}", str(point.decisions), f"{point.value:.3f}", f"{point.regret:.3f}")
        table.add_row(*row, f"{point.captured:.2f}")
    _out.print(table)


def _list() -> None:
    table = Table("scenario", "what is different")
    for name in names():
        table.add_row(name, load(name).about)
    _out.print(table)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    return Progress(*columns, console=_err, transient=True, disable=not _err.is_terminal)
