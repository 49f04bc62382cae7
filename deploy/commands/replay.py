"""oo replay: folds a range of the journal again, apart from what is live: verified byte for byte, or with what another policy says at each decision.

`oo replay ask` has logged requests to a language model answered again by another prompt or model."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deploy.commands.session import DEFAULT_STATE, AsOption, CommandError, JsonOption, StateOption, open_state
from deploy.commands.since import SINCE_HELP, here_ms
from deploy.stack.rights import PROMOTER, REPLAYER

if TYPE_CHECKING:
    from connectors.embedder import MiniLm
    from deploy.replay.again import Again, Picked
    from deploy.replay.diff import Diff
    from deploy.replay.manifest import Manifest, Run
    from deploy.replay.run import Estimate
    from deploy.stack.running import RunningStack

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")]
NEEDED = ("mac_key_file", "kek_dir")


def run(
    since: Annotated[str, typer.Option("--from", help=f"A journal offset, or {SINCE_HELP}.")] = "0",
    until: Annotated[str, typer.Option("--to", help="The same; by default what the workers have taken now.")] = "",
    partitions: Annotated[str, typer.Option("--partitions", help="Such as 0,3; all by default.")] = "",
    users: Annotated[str, typer.Option("--users", help="Such as ada,bob; everybody by default.")] = "",
    policy: Annotated[str, typer.Option("--policy", help="Ask this policy, NAME or NAME@VERSION, too.")] = "",
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Ask what another configuration says.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Of the run; by default made of the time.")] = "",
    rate: Annotated[float, typer.Option("--rate", min=0, help="Records a second of each process; 0: all it can.")] = 0,
    lag_max: Annotated[
        int, typer.Option("--lag-max", min=0, help="Wait while a live group is further behind; 0: never.")
    ] = 1_000,
    topics: Annotated[
        bool, typer.Option("--topics", help="Write decisions and outcomes into topics of the run's own, too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do, and do nothing.")] = False,
    role: AsOption = "",
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Fold a range of the journal again into Parquet files of its own."""
    from deploy.replay.other import settings_of
    from deploy.replay.run import estimated, planned

    _check_parquet()
    needed = (*(["name_key_file"] if users else []), *(["registry_url"] if topics else []))
    stack = open_state(state, *NEEDED, *needed, ready=False)
    by = stack.as_named(role, REPLAYER) if topics and not dry_run else stack
    called = name or f"run-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    one = _run(stack, called)
    manifest = asyncio.run(
        planned(
            stack,
            called,
            since=_place(since),
            until=_place(until) if until else 1 << 62,
            partitions=_numbers(partitions),
            users=tuple(stack.pseudonym(user) for user in users.split(",") if user),
            policy=policy,
            settings=settings_of(changes or ()),
            rate=rate,
            lag_max=lag_max,
            topics=topics,
        )
    )
    if dry_run:
        estimate = asyncio.run(estimated(stack, manifest, one.root))
        if as_json:
            print(json.dumps({**asdict(manifest), "estimate": asdict(estimate), "folder": str(one.folder)}))
        else:
            print(_plan(stack, one, manifest, estimate))
        return
    one.create(manifest)
    _bring_to_end(stack, by, one, as_json=as_json)


def ask(
    prompt: Annotated[
        str, typer.Option("--prompt", help="NAME or NAME@HASH of this build; by default each request's own.")
    ] = "",
    model: Annotated[str, typer.Option("--model", metavar="ALIAS", help="Who is asked.")] = "tip-generator",
    llm: Annotated[
        Path | None,
        typer.Option("--llm", metavar="FILE", help="A litellm.yaml with that alias; by default what the stack asks."),
    ] = None,
    since: Annotated[str, typer.Option("--from", help=f"A journal offset, or {SINCE_HELP}.")] = "0",
    until: Annotated[str, typer.Option("--to", help="The same; by default the journal's end.")] = "",
    users: Annotated[str, typer.Option("--users", help="Such as ada,bob; everybody by default.")] = "",
    sample: Annotated[int, typer.Option("--sample", min=1, max=10_000, help="Requests at most: a call each.")] = 20,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Of all calls together, at most.")] = 50_000,
    deadline_s: Annotated[float, typer.Option("--deadline", min=1, help="Seconds of a call.")] = 60,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before words of people go elsewhere.")] = False,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Have logged requests answered again by another prompt or model, offline, and hold the answers against the logged ones. Nothing of it is served."""
    from connectors.models import FileUnusable, Models, elsewhere
    from deploy.audit import note
    from deploy.commands.prompts import llm_file
    from deploy.replay.again import NothingToAsk, ask_again, pick, prompt_named
    from deploy.replay.run import offsets_between

    if not (prompt or llm or model != "tip-generator"):
        raise CommandError("--prompt NAME, --model ALIAS or --llm FILE says what is to be asked otherwise")
    stack = open_state(state, "kek_dir", "registry_url", *(["name_key_file"] if users else []), ready=False)
    path = llm or llm_file(stack)
    if path is None:
        raise CommandError("no model is asked here: --llm FILE names a litellm.yaml with the alias")
    try:
        version = prompt_named(prompt) if prompt else ""
        models = Models.of(path, far=True)
    except KeyError:
        raise CommandError(f"this build has no prompt {prompt}: 'oo prompts list' shows which there are") from None
    except FileUnusable as error:
        raise CommandError(str(error)) from None
    except ModuleNotFoundError as missing:
        raise CommandError(f"asking a model needs {missing.name}: pip install 'oo-recommender[llm]'") from None
    if model not in models.aliases:
        raise CommandError(f"{path} has no alias {model}: it has {', '.join(sorted(models.aliases))}")

    async def find() -> Picked:
        start, end = await offsets_between(stack, _place(since), _place(until) if until else 1 << 62)
        with _bar("reading requests", as_json=as_json) as progress:
            pseudonyms = {stack.pseudonym(user) for user in users.split(",") if user}
            return await pick(stack, start=start, end=end, users=pseudonyms, sample=sample, progress=progress)

    try:
        picked = asyncio.run(find())
    except NothingToAsk as nothing:
        raise CommandError(str(nothing)) from None
    if where := elsewhere(path, model):
        told = f"Titles in {len(picked.logged)} requests (people: {picked.people}) would leave this network: {where}"
        if not yes and not typer.confirm(f"{told}. Ask it?"):
            raise CommandError("nothing was asked")
    said = f"oo replay ask: requests {len(picked.logged)}, people {picked.people}, to {model}{where and f', {where}'}"
    asyncio.run(note(stack, said, whose=None))

    async def go() -> Again:
        with _bar("asking", total=len(picked.logged), as_json=as_json) as progress:
            return await ask_again(
                picked,
                models,
                model=model,
                prompt=version,
                tokens=tokens,
                deadline_s=deadline_s,
                embedder=_embedder(),
                progress=progress,
            )

    found = asyncio.run(go())
    if as_json:
        print(json.dumps({**asdict(found), "found": picked.found, "passed_over": picked.passed_over}))
        return
    _show_again(found, picked, asked=f"{version or 'their own prompts'} by {model}")


def resume(
    run: RunArgument, role: AsOption = "", state: StateOption = DEFAULT_STATE, as_json: JsonOption = False
) -> None:
    """Let a paused run go on, or take up one that was ended; it comes to the same bytes. It is noted in oo.audit."""
    _check_parquet()
    stack = open_state(state, *NEEDED, "registry_url", ready=False)
    one = _run(stack, run)
    by = stack.as_named(role, REPLAYER) if one.manifest().topics else stack
    _note(stack, f"oo replay resume {run}")
    paused = one.paused_file.exists()
    one.paused_file.unlink(missing_ok=True)
    if paused and one.state() == "running":
        print(f"{run} goes on, where it was called")
        return
    _bring_to_end(stack, by, one, as_json=as_json)


def pause(run: RunArgument, state: StateOption = DEFAULT_STATE) -> None:
    """Let a run wait until 'oo replay resume'. It is noted in oo.audit."""
    stack = open_state(state, "registry_url", ready=False)
    one = _run(stack, run)
    one.manifest()
    _note(stack, f"oo replay pause {run}")
    one.paused_file.touch()
    print(f"{run} waits: 'oo replay resume {run}' lets it go on")


def listed(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Which runs there are."""
    from deploy.replay.manifest import runs

    found = [(one, one.manifest()) for one in runs(_root(open_state(state, ready=False)))]
    if as_json:
        print(json.dumps([{**asdict(manifest), "state": one.state(), "done": one.done()} for one, manifest in found]))
        return
    for one, manifest in found:
        print(f"{one.name}: {one.state()}, {one.done():.0%} of {_what(manifest)}")
    if not found:
        print("There is none: 'oo replay run' begins one.")


def show(run: RunArgument, state: StateOption = DEFAULT_STATE) -> None:
    """A run's manifest, and how it stands."""
    one = _run(open_state(state, ready=False), run)
    manifest = one.manifest()
    told = {
        "state": one.state(),
        "folder": str(one.folder),
        "folded": one.folded(),
        "reached": one.reached(),
        "done": one.done(),
    }
    print(json.dumps({**asdict(manifest), **told}, indent=1))


def verify(run: RunArgument, state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Hold what a run made again against what was logged; exit status 1 at the first difference, which is shown."""
    from deploy.replay.compare import compare

    _check_parquet()
    stack = open_state(state, *NEEDED, "recommender_dsn", ready=False)
    found = asyncio.run(compare(stack, _run(stack, run)))
    if as_json:
        print(json.dumps(asdict(found)))
    else:
        print(
            f"{found.decisions} decisions, {found.outcomes} outcomes, {found.requests} requests and {found.rows} rows compared; "
            f"{found.rows_ahead} rows went on behind the range, {found.passed_over} passed over"
        )
        print(found.difference or "0 differences")
    if found.difference:
        raise typer.Exit(1)


def diff(
    run: RunArgument,
    other: Annotated[str, typer.Argument(metavar="[RUN2]", help="Hold this run against the first.")] = "",
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with plots into this file.")] = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Where the other policy of an evaluation would have chosen otherwise, and what it would have earned, on the same slates."""
    from deploy.replay.diff import diff as held_against

    _check_parquet()
    if html is not None and find_spec("matplotlib") is None:
        raise CommandError("--html draws with matplotlib: pip install 'oo-recommender[replay]'")
    stack = open_state(state, ready=False)
    found = held_against(_run(stack, run), _run(stack, other) if other else None)
    if html is not None:
        from deploy.replay.page import page

        html.write_text(page(found), "utf-8")
    if as_json:
        print(json.dumps(asdict(found)))
        return
    _show(found)
    if html is not None:
        print(f"The same with plots: {html}")


def _show(found: Diff) -> None:
    from deploy.replay import words as told

    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{found.second} held against {found.first}: {told.summary(found)}")
    for one in told.cautions(found):
        console.print(f"NOTE: {one}.")
    if found.earned:
        table = Table(
            "policy", "reward of a decision", "self-normalized", "effective", "weight", box=None, pad_edge=False
        )
        for earned in found.earned:
            numbers = told.spoken(earned.doubly_robust), told.spoken(earned.snips)
            table.add_row(earned.policy, *numbers, f"{earned.effective_n:.0f}", f"{earned.mean_weight:.2f}")
        console.print(table)
        console.print(f"{found.second} less {found.first}: {told.spoken(found.ahead)}")
        console.print(told.counted(found))
        if found.gate is not None:
            console.print(told.gated(found))
    for kind, of_kind in sorted(found.by_kind.items()):
        values = ", ".join(f"{policy} {told.spoken(value)}" for policy, value in of_kind.snips.items())
        console.print(f"  {kind}: {of_kind.otherwise} of {of_kind.decisions} otherwise{values and f'; {values}'}")
    for person in found.most:
        console.print(f"  {person.user}: {person.otherwise} of {person.decisions} otherwise")
    for example in found.examples:
        console.print(f"{example.distance:.3f} apart: decision {example.decision_id} of {example.user}")
        for choice in example.choices:
            console.print(f"  {told.chose(choice)}")


def promote(
    run: RunArgument,
    because: Annotated[str, typer.Option("--because", help="The reason, kept with it.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let the policy decide again that did before.")] = False,
    by_hand: Annotated[bool, typer.Option("--by-hand", help="Also where the run does not prove it better.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    role: AsOption = "",
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Let the policy of a run decide from the next version on; refused where the gate would not, and undone with --undo."""
    from deploy import promoting, proof
    from deploy.earned import champion, promotions
    from deploy.replay import words as told
    from deploy.replay.diff import diff as held_against

    _check_parquet()
    stack = open_state(state, "registry_url", ready=False).as_named(role, PROMOTER)
    if undo:
        _ask(f"What decided before {run} was promoted will decide again", yes=yes)
        said = asyncio.run(promoting.undo(stack, run, command="oo replay promote --undo", why=because))
    else:
        one = _run(stack, run)
        policy, changed, found = one.manifest().policy, one.manifest().settings, held_against(one)
        if changed:
            raise CommandError(f"{one.manifest().asks}: settings are not promoted, they come with a build")
        if "@" in policy:
            name = policy.partition("@")[0]
            raise CommandError(
                f"{policy} believes what was known then, and what decides believes what is known now: run {name}"
            )
        print(f"{policy} held against what was logged: {told.summary(found)}")
        print(f"{policy} less {found.first}: {told.spoken(found.ahead)}. {told.gated(found)}")
        refusal = proof.objection(found, champion=champion(asyncio.run(promotions(stack.cluster))))
        if refusal and not by_hand:
            raise CommandError(f"not promoted: {refusal} --by-hand promotes it nevertheless")
        _ask(f"{policy} will decide for everybody", yes=yes)
        evidence = proof.evidence_of(found)
        said = asyncio.run(
            promoting.promote(stack, policy, command="oo replay promote", why=because, run=run, evidence=evidence)
        )
    print(f"{said.policy} decides after {said.before}, as soon as its first version is marked: 'oo policies' shows it")
    if not undo:
        print(f"'oo replay promote {run} --undo --because TEXT' takes it back")


def _ask(what: str, *, yes: bool) -> None:
    print(f"{what}, from the next policy version on.")
    if not yes and not typer.confirm("Promote?"):
        raise CommandError("nothing was promoted")


def rm(run: RunArgument, role: AsOption = "", state: StateOption = DEFAULT_STATE) -> None:
    """Remove a run and all that it wrote, topics too."""
    stack = open_state(state, ready=False)
    one = _run(stack, run)
    if one.manifest().topics:
        from deploy.run_topics import RunTopics

        one.remove(first=RunTopics(one, stack.as_named(role, REPLAYER)).remove)
    else:
        one.remove()
    print(f"{run} is gone")


def _bring_to_end(stack: RunningStack, by: RunningStack, one: Run, *, as_json: bool) -> None:
    """`by`: who may write topics of runs, where this one does."""
    from deploy.replay.run import bring_to_end

    manifest, count = one.manifest(), 0
    total = sum(manifest.to_fold(folded=one.folded()).values())
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar:
        task = bar.add_task("folding the journal", total=max(total, 1))

        def progress(records: int) -> None:
            bar.advance(task, records)

        done = asyncio.run(bring_to_end(stack, one, progress=progress))
        count = round(done["folded"])
        if manifest.topics:
            from deploy.run_topics import RunTopics

            bar.update(task, description="writing topics", total=None)
            asyncio.run(RunTopics(one, by).publish())
    if as_json:
        print(json.dumps({"run": one.name, "folder": str(one.folder), **done}))
    else:
        print(f"{one.name}: {count} records folded into {one.folder}")
        after = "diff" if manifest.asks else "verify"
        print(f"'oo replay {after} {one.name}' says how it compares with what was logged")


def _plan(stack: RunningStack, one: Run, manifest: Manifest, estimate: Estimate) -> str:
    where = str(one.folder)
    if manifest.topics:
        from deploy.run_topics import KINDS, RunTopics

        where = ", ".join((where, *(RunTopics(one, stack).name(kind) for kind in KINDS)))
    lines = [f"{one.name} would be {_what(manifest)}, written into {where}; nothing else is written"]
    snapshots = manifest.snapshots()
    for number, end in manifest.end.items():
        begun = "the journal's beginning"
        if number in snapshots:
            offset, path = snapshots[number]
            begun = f"the row snapshot {path.name} at {offset}"
        lines.append(f"  partition {number}: offsets {manifest.start[number]} to {end}, from {begun} on")
    if estimate.seconds:
        lines.append(
            f"about {estimate.seconds:.0f} s for {estimate.records} records, by {estimate.rate:.0f} a second of each process, "
            f"as of {estimate.of}"
        )
    if manifest.lag_max:
        lines.append(f"it waits while a live group is more than {manifest.lag_max} records behind")
    return "\n".join(lines)


def _what(manifest: Manifest) -> str:
    what = f"an evaluation of {manifest.asks}" if manifest.asks else "a verification"
    whose = f" of {len(manifest.users)} people" if manifest.users else ""
    return f"{what}{whose} over {manifest.records} records of {len(manifest.end)} partitions"


def _embedder() -> MiniLm | None:
    """The one of this machine, where it has been fetched."""
    from connectors.embedder import MiniLm
    from deploy.stack.fetch import default_cache

    given = os.environ.get("OO_EMBEDDER_FILE", "")
    found = [Path(given)] if given else sorted(default_cache().embedder.glob("*.jar"))
    return MiniLm.of(found[0]) if found else None


@contextmanager
def _bar(what: str, *, as_json: bool, total: int | None = None) -> Iterator[Callable[[int], None]]:
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar:
        task = bar.add_task(what, total=total)
        yield lambda n: bar.advance(task, n)


def _show_again(found: Again, picked: Picked, *, asked: str) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    over = ", ".join(f"{n} {why}" for why, n in picked.passed_over.most_common())
    console.print(
        f"{found.requests} of {picked.found} requests, of {found.people} people, asked again: {asked}. {found.stopped.capitalize()}."
    )
    if over:
        console.print(f"Passed over: {over}.")
    table = Table("", "logged", "again", box=None, pad_edge=False)
    sides = (found.then, found.now)
    share = [f"{one.answered} ({one.answered / found.requests:.0%})" if found.requests else "0" for one in sides]
    table.add_row("requests with a tip", *share)
    table.add_row("tips", *(str(one.tips) for one in sides))
    for name, counts in (("no tip", [one.without for one in sides]), ("held back", [one.held_back for one in sides])):
        for what in sorted({*counts[0], *counts[1]}):
            table.add_row(f"{name}: {what}", *(str(one.get(what, 0)) for one in counts))
    table.add_row("tokens read", *(str(one.tokens_in) for one in sides))
    table.add_row("tokens written", *(str(one.tokens_out) for one in sides))
    table.add_row("seconds", *(f"{one.call_s:.1f}" for one in sides))
    console.print(table)
    if found.both:
        near = (
            "" if found.permille is None else f"; the nearest has a cosine of {found.permille / 1000:.2f}, in the mean"
        )
        console.print(
            f"Where both have tips ({found.both} requests), {found.same} of {found.compared} ask for the same as a logged one{near}."
        )
    console.print(
        "This estimates words, not what people would have done with them: nobody was shown any of it, and nothing was written to the stack's topics but the "
        "note in oo.audit."
    )


def _note(stack: RunningStack, command: str) -> None:
    from deploy.audit import note

    asyncio.run(note(stack, command, whose=None))


def _root(stack: RunningStack) -> Path:
    from deploy.replay.manifest import FOLDER

    return stack.folder.root / FOLDER


def _run(stack: RunningStack, name: str) -> Run:
    from deploy.replay.manifest import Run

    return Run(_root(stack), name)


def _place(text: str) -> int | str:
    return int(text) if text.isdecimal() else f"@{here_ms(text)}"


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(one) for one in text.split(",") if one}))
    except ValueError:
        raise CommandError(f"{text!r} names no partitions: write numbers such as 0,3") from None


def _check_parquet() -> None:
    if find_spec("pyarrow") is None:
        raise CommandError("oo replay writes Parquet, which needs pyarrow: pip install 'oo-recommender[replay]'")
