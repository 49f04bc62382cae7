"""oo lake: the log's decisions, outcomes and signals as Parquet and Avro files, written exactly once and without who left; logs of other systems read in."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from deploy.commands.session import DEFAULT_STATE, CommandError, JsonOption, StateOption, open_state
from deploy.commands.since import SINCE_HELP, here_ms
from deploy.lakes import remember, remembered

if TYPE_CHECKING:
    from deploy.lake.decision_logs import Found
    from deploy.lake.manifest import Lake, Manifest
    from deploy.lake.warm_prior import WarmPrior
    from deploy.stack.running import RunningStack

FOLLOW_EVERY_S = 60.0
FILES_A_DAY = 64
"""So many of a day, while it is followed, are made one."""


class Format(StrEnum):
    """Of the files."""

    PARQUET = "parquet"
    AVRO = "avro"
    BOTH = "both"


class Said(StrEnum):
    """deploy.lake.datasets.People, without its imports."""

    COARSE = "coarse"
    SEALED = "sealed"
    OPEN = "open"


OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="The lake's folder.")]


def export(
    out: OutOption,
    since: Annotated[str, typer.Option("--from", help=f"{SINCE_HELP}; by default as far back as the log goes.")] = "",
    until: Annotated[str, typer.Option("--to", help="The same; by default now.")] = "",
    form: Annotated[Format, typer.Option("--format", help="Of the files.")] = Format.PARQUET,
    people: Annotated[
        Said,
        typer.Option(
            "--people", help="Numbers and kinds by pseudonym; sealed messages; or everybody's words, which is noted."
        ),
    ] = Said.COARSE,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")] = False,
    every_s: Annotated[
        float, typer.Option("--every", min=1, help="Seconds between two rounds of --follow.")
    ] = FOLLOW_EVERY_S,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Write what is not in the lake yet of this time: again, or after a kill, it goes on where it ended."""
    _check_libraries()
    from deploy.lake.datasets import People
    from deploy.lake.export import begun
    from deploy.lake.manifest import FORMATS, Lake

    if follow and until:
        raise typer.BadParameter("--follow goes on for ever: leave --to out")
    since_ms, until_ms = (here_ms(text or None) for text in (since, until))
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise typer.BadParameter("--from has to be before --to")
    stack = open_state(state, "kek_dir", *(["registry_url"] if people is Said.OPEN else []), ready=False)
    formats = list(FORMATS) if form is Format.BOTH else [form.value]
    lake = Lake(out.absolute())

    async def go(manifest: Manifest) -> None:
        from deploy.audit import note
        from deploy.lake import rewriting
        from deploy.lake.export import Export

        if people is Said.OPEN:
            said = f"oo lake export --people open --from '{since}' --to '{until}' --out {lake.root}"
            await note(stack, said, whose=None)
        remember(stack, lake)
        gone = await rewriting.forget(stack, lake, manifest)
        while True:
            with _bar("reading", as_json=as_json) as bar:
                export = Export(stack, lake, manifest, progress=bar.advance)
                gaps = await export.gaps(since_ms=since_ms, until_ms=until_ms)
                bar.begin(sum(one.end - one.start for one in gaps))
                await export.bring(gaps)
            # Who left meanwhile may be in what was written.
            gone += await rewriting.forget(stack, lake, manifest)
            if gone and not as_json:
                print(f"{gone} rows of people who have left were taken out")
            if not follow:
                return
            rewriting.compact(lake, manifest, before=f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%d}")
            rewriting.compact(lake, manifest, many=FILES_A_DAY)
            gone = 0
            await asyncio.sleep(every_s)

    with lake.held(), _explained(lake):
        manifest = asyncio.run(begun(stack, lake, people=People(people), formats=formats))
        try:
            asyncio.run(go(manifest))
        finally:
            _tell(lake, manifest, as_json=as_json)


@contextmanager
def _explained(lake: Lake) -> Iterator[None]:
    """What breaks off an export, in words. What was written until then stays."""
    from confluent_kafka import KafkaException

    again = "what is written stays, and the same command goes on behind it"
    try:
        yield
    except KafkaException as error:
        raise CommandError(
            f"the log cannot be read ({error.args[0].str()}): 'oo status' shows what runs; {again}"
        ) from None
    except OSError as error:
        raise CommandError(f"{lake.root} cannot be written: {error.strerror or error}; {again}") from None


class Log(StrEnum):
    """Of other systems."""

    DSJSON = "dsjson"


class Take(StrEnum):
    """Which reward of a decision counts."""

    EARLIEST = "earliest"
    LATEST = "latest"
    SUM = "sum"


class Kind(StrEnum):
    """Of tips."""

    TASK = "task"
    STARTER = "starter"
    GENERATED = "generated"


def import_logs(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="JSON lines, also gzipped (.gz); joined or not.")
    ],
    form: Annotated[Log, typer.Option("--format", help="Of the files.")],
    take: Annotated[
        Take, typer.Option("--reward", help="Which counts where several were observed, in files that are not joined.")
    ] = Take.EARLIEST,
    default_reward: Annotated[float, typer.Option("--default-reward", help="Of a decision without one, there.")] = 0.0,
    prior: Annotated[
        Path | None,
        typer.Option(
            "--prior", metavar="NEW", help="Write what they say of features of ours: core begins with OO_PRIOR_FILE."
        ),
    ] = None,
    kind: Annotated[
        Kind, typer.Option("--kind", help="What kind of tip an action is taken for, with --prior.")
    ] = Kind.TASK,
    worth: Annotated[
        int,
        typer.Option("--worth", min=1, help="As if so many decisions had been made now, at the most, with --prior."),
    ] = 1_000,
    as_json: JsonOption = False,
) -> None:
    """Say what the decisions of a Vowpal Wabbit or Azure Personalizer log earned, and what others would have: nothing of a stack is touched."""
    from connectors.dsjson import SeveralSlots
    from deploy.lake.decision_logs import Reading

    assert form is Log.DSJSON
    if prior is not None and prior.exists():
        raise CommandError(f"{prior} is there already: name another file")
    warm = _warm(kind) if prior else None
    with _bar("lines", as_json=as_json) as bar:
        hears = {} if warm is None else {"heard": warm.hear}
        reading = Reading(take=take.value, default_reward=default_reward, progress=bar.advance, **hears)
        try:
            found = reading.read(*files)
        except SeveralSlots as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{error.filename or files[0]} cannot be read: {error.strerror or error}") from None
    if not found.events:
        why = found.bad[0] if found.bad else "no decision counts"
        raise CommandError(f"none of {found.lines} lines can be used: {why}")
    if warm is not None and prior is not None:
        prior.write_bytes(warm.sums(worth=worth).SerializeToString(deterministic=True))
    if as_json:
        print(json.dumps({**found.told(), **({} if warm is None else {"carried": warm.carried, "left": warm.left})}))
        return
    _show_logs(found)
    if warm is not None:
        print(
            f"{prior}: {min(worth, warm.n):,} decisions' worth of {kind}, and of {_most(warm.carried) or 'no feature beside'}"
        )
        print(f"  not carried over, since oO has no feature of that name: {_most(warm.left) or 'nothing'}")
        print(f"  OO_PRIOR_FILE={prior.absolute() if prior else ''} lets core begin with it")


def _most(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({many:,})" for name, many in counts.most_common(12))


def _warm(kind: Kind) -> WarmPrior:
    from deploy.lake.warm_prior import WarmPrior
    from streams.clock import clock_ms

    return WarmPrior(kind=kind.value, now_ms=clock_ms())


def _show_logs(found: Found) -> None:
    from deploy.lake.decision_logs import Z_ALERT

    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{found.events:,} decisions count, of {found.lines:,} lines; {found.bad_many:,} could not be used")
    for line in found.bad:
        console.print(f"  {line}")
    for what, many in sorted(found.counts.items()):
        if many:
            console.print(f"  {many:,}: {what}")
    table = Table("policy", "reward of a decision (IPS)", "self-normalized", "mean weight", box=None, pad_edge=False)
    for policy, told in found.told()["policies"].items():
        table.add_row(policy, *(_spoken(told[kind]) for kind in ("ips", "snips")), f"{told['mean_weight']:.3f}")
    console.print(table)
    if abs(found.weight_z) > Z_ALERT:
        console.print(
            f"NOTE: the mean weight of drawing at random is {abs(found.weight_z):.0f} standard errors off 1: the probabilities that were logged are not those "
            "that were drawn from, or are another action's, and no estimate here can be trusted."
        )


def _spoken(one: Mapping[str, float | None]) -> str:
    value, low, high = (one[name] for name in ("value", "low", "high"))
    return f"{value:.4f}" + ("" if low is None or high is None else f" [{low:.4f}, {high:.4f}]")


def compact(out: OutOption, as_json: JsonOption = False) -> None:
    """Make the files of each day one."""
    from deploy.lake import rewriting

    _check_libraries()
    with _held(out) as (lake, manifest):
        lake.sweep(manifest)
        with _bar("files", as_json=as_json) as bar:
            bar.begin(rewriting.files_to_compact(manifest))
            rewriting.compact(lake, manifest, progress=bar.advance)
        _tell(lake, manifest, as_json=as_json)


def forget(
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out", metavar="DIR", help="A lake's folder; by default all that were exported with this state folder."
        ),
    ] = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Take out of a lake who has left, and who has withdrawn that others learn from them, since it was written."""
    stack = open_state(state, "kek_dir", ready=False)
    if not (out or remembered(stack)):
        print("No lake was exported from here: --out DIR names one")
        return
    forget_in(stack, *(out or ()))


def forget_in(stack: RunningStack, *folders: Path) -> None:
    """The same of these lakes, else of all that the state folder remembers; says what went. One that another process writes is left to it."""
    _check_libraries()
    from deploy.lake.datasets import People
    from deploy.lake.export import withdrawn
    from deploy.lake.manifest import LakeError
    from deploy.lake.rewriting import forget as take_out

    for folder in folders or remembered(stack):
        try:
            with _held(folder) as (lake, manifest):
                lake.sweep(manifest)

                async def go(lake: Lake = lake, manifest: Manifest = manifest) -> int:
                    also = frozenset[bytes]() if manifest.people == People.SEALED else await withdrawn(stack)
                    return await take_out(stack, lake, manifest, also=also)

                print(f"lake {lake.root}: {asyncio.run(go())} rows were taken out")
        except LakeError as error:
            print(f"lake {folder}: {error}; it takes out who left at its end")


def feast(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The repository's folder; what is there of it is made anew.")
    ],
    out: OutOption,
    valkey: Annotated[
        str, typer.Option("--valkey", metavar="HOST:PORT", help="Feast's online store; by default SQLite in DIR.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a Feast repository of a lake's decisions: features of people at any time (docs/models.md)."""
    _check_libraries()
    from deploy.lake import people
    from training.feast import repository

    with _held(out) as (lake, manifest):
        with _bar("decisions", as_json=as_json) as bar:
            bar.begin(sum(one.rows for one in manifest.files if one.dataset == "decisions"))
            people.note(lake, folder.absolute())
            many = repository.make(folder, people.rows_of(lake, manifest, progress=bar.advance), valkey=valkey)
    if as_json:
        print(json.dumps({"folder": str(folder), "rows": many}))
        return
    print(f"{folder}: {many:,} rows. In an environment of its own, there:")
    print("  pip install --require-hashes -r requirements.txt")
    print('  feast apply && feast materialize-incremental "$(date -u +%Y-%m-%dT%H:%M:%S)"')


@contextmanager
def _held(out: Path) -> Iterator[tuple[Lake, Manifest]]:
    """A lake that is there, and its manifest, held."""
    from deploy.lake.manifest import NAME, Lake

    lake = Lake(out.absolute())
    if not (lake.root / NAME).exists():
        raise CommandError(f"{out} is no lake: 'oo lake export --out {out}' makes one")
    with lake.held():
        manifest = lake.manifest()
        assert manifest is not None
        yield lake, manifest


def _tell(lake: Lake, manifest: Manifest, *, as_json: bool) -> None:
    names = sorted(manifest.topics)
    rows = {name: sum(one.rows for one in manifest.files if one.dataset == name) for name in names}
    size = {form: sum(one.bytes[form] for one in manifest.files) for form in manifest.formats}
    if as_json:
        told = {
            "folder": str(lake.root),
            "rows": rows,
            "left_out": manifest.left_out,
            "files": len(manifest.files),
            "bytes": size,
        }
        print(json.dumps(told))
        return
    print(
        f"{lake.root}: {', '.join(f'{many:,} {name}' for name, many in rows.items())} in {len(manifest.files)} files of each format"
    )
    for form, many in size.items():
        print(f"  {form}: {many:,} bytes")
    out = [
        f"{many:,} of {name} ({why})"
        for name, counts in sorted(manifest.left_out.items())
        for why, many in sorted(counts.items())
    ]
    if out:
        print(f"  left out: {', '.join(out)}")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")


class _Bar:
    def __init__(self, what: str, *, disable: bool) -> None:
        columns = (
            TextColumn(what),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=Console(stderr=True), transient=True, disable=disable)
        self._task = self.progress.add_task(what, total=None)

    def begin(self, total: int) -> None:
        self.progress.update(self._task, total=total)

    def advance(self, many: int) -> None:
        self.progress.advance(self._task, many)


@contextmanager
def _bar(what: str, *, as_json: bool) -> Iterator[_Bar]:
    bar = _Bar(what, disable=as_json)
    with bar.progress:
        yield bar


def _check_libraries() -> None:
    if missing := [name for name in ("fastavro", "pyarrow") if find_spec(name) is None]:
        raise CommandError(f"oo lake writes files with {missing[0]}: pip install 'oo-recommender[lake]'")
