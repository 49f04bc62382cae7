"""Writes files of a lake anew: without who has left, and those of a day as one. It reads no record of the log but who left.

A file that is written anew has another name, and takes the place of the old ones in the manifest in one step; then those are removed.
"""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from connectors.leaving import leavers_of
from deploy.lake.datasets import DATASETS, People
from deploy.lake.files import Part, holds, read
from deploy.lake.manifest import FEAST, File, Lake, Manifest
from deploy.lake.schema import Row
from deploy.stack.running import RunningStack
from streams.reader import end_offsets

IsOut = Callable[[str, int], bool]
"""Told a person and the journal's offset of a row, whether it has to go."""
_ROW_BYTES, _CANDIDATE_BYTES = 200, 60
"""What a row is taken for where its message is not at hand, and each candidate in it."""


async def forget(stack: RunningStack, lake: Lake, manifest: Manifest, *, also: frozenset[bytes] = frozenset()) -> int:
    """Take everybody out of a lake that the caller holds of whom oo.erasures says that they left, and `also` these; returns how many rows went.

    Without `also` nothing is looked at where the topic has said nothing since the last time.
    """
    ends = {
        str(number): end for number, end in (await end_offsets(stack.cluster, stack.cluster.name("erasures"))).items()
    }
    if ends == manifest.heard and not also:
        return 0
    leavers = await leavers_of(stack.cluster)
    gone = without(lake, manifest, lambda person, at: leavers.passes(person.encode(), at) or person.encode() in also)
    if (lake.root / FEAST).exists():
        from deploy.lake import people

        # Also where no row went: a kill may have come between the two.
        people.write_again(lake, manifest)
    manifest.heard = ends
    lake.write(manifest)
    return gone


def without(lake: Lake, manifest: Manifest, is_out: IsOut) -> int:
    """Write those files anew that hold such rows, without them; returns how many went."""
    gone = 0
    for file in list(manifest.files):
        found = holds(lake.root / file.path(manifest.formats[0]), is_out)
        if found:
            name = _next(file.name)
            _replace(lake, manifest, [file], name, lambda row: not is_out(row["person"], row["journal_offset"]))
            gone += found
    return gone


def rows_of(root: Path, is_theirs: IsOut) -> int:
    """How many rows of somebody the files of the lake in a folder hold. Raises FileNotFoundError while another process writes one anew."""
    manifest = Lake(root).manifest()
    if manifest is None:
        return 0
    return sum(holds(root / one.path(manifest.formats[0]), is_theirs) for one in manifest.files)


def compact(
    lake: Lake, manifest: Manifest, *, before: str = "", many: int = 2, progress: Callable[[int], None] = lambda _: None
) -> int:
    """Make the files of a data set's day one, where there are so `many`; of days `before` this one, if it is named. Returns how many days."""
    days = defaultdict[tuple[str, str], list[File]](list)
    for one in manifest.files:
        if not before or one.day < before:
            days[one.dataset, one.day].append(one)
    done = 0
    for files in days.values():
        if len(files) >= many:
            greatest = max((int(one.name.split("-")[1]) for one in files if one.name.startswith("day-")), default=0)
            _replace(lake, manifest, files, f"day-{greatest + 1:04}", lambda _: True)
            done += 1
        progress(len(files))
    return done


def files_to_compact(manifest: Manifest) -> int:
    """How many `compact` looks at."""
    return len(manifest.files)


def _replace(lake: Lake, manifest: Manifest, files: list[File], name: str, keep: Callable[[Row], bool]) -> None:
    """Put one file with their rows, but those that are not kept, in the place of these, which are of one data set and day."""
    dataset = next(one for one in DATASETS if one.name == files[0].dataset)
    columns = dataset.columns(People(manifest.people))
    new: File | None = None
    part = Part(lake.root, manifest.formats, columns, dataset=dataset.name, day=files[0].day, name=name)
    try:
        for row in _merged(lake, manifest, files):
            if keep(row):
                part.add(row, _ROW_BYTES + _CANDIDATE_BYTES * len(row.get("slate", ())))
        if part.holds_any:
            new = part.finish(name)
    finally:
        part.abandon()
    manifest.files = [one for one in manifest.files if one not in files] + ([new] if new else [])
    lake.write(manifest)
    for one in files:
        for form in manifest.formats:
            (lake.root / one.path(form)).unlink(missing_ok=True)


def _merged(lake: Lake, manifest: Manifest, files: list[File]) -> Iterator[Row]:
    """Their rows by partition and offset. A file is opened when its turn comes, so that few are at once."""
    waiting: list[tuple[list[int], int]] = [(one.first, at) for at, one in enumerate(files)]
    heapq.heapify(waiting)
    open_ones: dict[int, tuple[Row, Iterator[Row]]] = {}
    while waiting:
        _, at = heapq.heappop(waiting)
        if at not in open_ones:
            rows = read(lake.root / files[at].path(manifest.formats[0]))
            open_ones[at] = next(rows), rows
        row, rows = open_ones[at]
        yield row
        following = next(rows, None)
        if following is None:
            del open_ones[at]
        else:
            open_ones[at] = following, rows
            heapq.heappush(waiting, ([following["kafka_partition"], following["kafka_offset"]], at))


def _next(name: str) -> str:
    """What a file is called that was written anew.

    >>> _next("000-000000000000-000000000009"), _next("day-0001-r9")
    ('000-000000000000-000000000009-r1', 'day-0001-r10')
    """
    base, number = re.fullmatch(r"(.*?)(?:-r(\d+))?", name).groups()  # type: ignore[union-attr]  # any text fits
    return f"{base}-r{int(number or 0) + 1}"
