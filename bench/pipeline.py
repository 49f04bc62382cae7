"""The whole pipeline per core-second: admit and recommend over a backlog, decisions on, in one core process; beside the build
before, in turns.

Beside it, in the same run: the bare `step` over the very journal that the process wrote, its records in memory; and a
bare aiokafka loop that takes the same signals over as many hops and does nothing with them. A second pass of the same
process under a sampling profiler says where its time goes.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from statistics import median

import psutil
from confluent_kafka.admin import AdminClient, NewTopic

from agents.fold import entry_of
from agents.step import Entry, step
from bench.builds import in_turns
from bench.cores import Cores, backlog, cores, framed, homes, write
from bench.result import Bench, Result, compared
from deploy.keys import read_keys
from deploy.stack.running import RunningStack
from oo.v1 import journal_pb2, row_pb2
from streams.reader import end_offsets, read_partition, topic_ids
from streams.schemas import Schemas
from streams.sealing import Sealing
from streams.topics import PARTITIONS
from tests.agents.build import PRIOR

USERS = 400
EVENTS = 16_000
TURNS = 5
"""Of each build beside the other."""
PASSES = 2
PROFILED = 8_000
SAMPLES_PER_S = 250

SIGNALS, BROKER = "signals per core-second", "broker's microseconds"

PARTS = (
    (r"\((streams/(producer|sending|transport)|aiokafka/(producer|record)/)", "the producer"),
    (r"\((agents/(admit|admission)|tables/message_rules)\.py|protovalidate", "admission"),
    (r"\(streams/(frames|wire|registry)\.py|google/protobuf", "framing and parsing"),
    (r"\(agents/rows\.py|\(streams/(table|rocks|store)\.py|\(tables/row\.py", "rows"),
    (r"\(agents/(fold|step|decide|signals|outcomes|reactions|candidates|eligibility|features|why|reward)\.py", "step"),
    (r"\(agents/policies/|\(agents/bandit/|\(tables/|numpy", "step"),
    (r"\(agents/", "the recommend agent around step"),
    (r"\(aiokafka/", "aiokafka's consumer"),
    (r"\(faust/|\(mode/", "Faust"),
    (r"\(streams/", "our driver"),
    (r"\(asyncio/|\(uvloop/", "event loops"),
)
"""A sample counts for the innermost of its frames that one of these knows; the first that matches."""


def measure(bench: Bench) -> Result:
    """Events per core-second: ours, the bare step's, the bare loop's."""
    events = EVENTS // 10 if bench.quick else EVENTS
    turns = 2 if bench.quick else TURNS
    people = USERS // 10 if bench.quick else USERS
    bench.say("a stack of servers and a core process in both builds")
    compared_builds = in_turns(bench, "bench.measured.pipeline", f"{people}", f"{events // 2}", turns=turns)
    users = [f"bench-{uuid.uuid4().hex}" for _ in range(people)]
    with bench.stack(servers_only=True) as stack, cores(stack) as running:
        schemas = asyncio.run(_schemas(stack))
        signals = stack.cluster.name("signals")
        core = running.start("core-0")
        write(stack.cluster.bootstrap, signals, framed(schemas, homes(users), run="homes"))
        running.until_folded()
        ours = []
        for number in range(PASSES):
            starts = asyncio.run(end_offsets(stack.cluster, stack.cluster.name("journal")))
            records = framed(schemas, backlog(users, events, seed=number), run=f"pass-{number}")
            before_s = core.cpu_s
            write(stack.cluster.bootstrap, signals, records)
            running.until_folded()
            ours.append(events / (core.cpu_s - before_s))
            bench.say(f"pass {number + 1} of {PASSES}: {ours[-1]:,.0f} signals per core-second")
        bare = _bare_step(asyncio.run(_entries(stack, schemas)), starts)
        loop = _bare_loop(stack, records)
        core.end()
        shares = _profile(stack, schemas, running, users, PROFILED // 10 if bench.quick else PROFILED)
    where = ", ".join(f"{name} {share:.0%}" for name, share in shares.most_common() if share >= 0.01)
    note = (
        f"{events:,} signals of {len(users)} people with ten tasks and an event each: tasks that come (35 %), change "
        "(25 %) and are done (25 %), events, signs of activity. Processor time is the core process's, all threads, "
        f"without the broker's; the best of {len(ours)} passes. Where a sampling profiler found it: {where or 'py-spy is not here'}."
    )
    what = "admit and recommend, decisions on, signals per core-second"
    before, now = (
        {name: median(turn[name] for turn in compared_builds[side]) for name in compared_builds[side][0]}
        for side in ("before", "now")
    )
    return Result(
        [
            compared(
                "pipeline-before",
                what,
                now[SIGNALS],
                "events/s",
                peer=before[SIGNALS],
                peer_name=bench.against,
                at_least=3.0,
                note=f"Beside {bench.against}: the middle one of {turns} turns of {events // 2:,} signals each.",
            ),
            compared(
                "pipeline-broker-before",
                "the broker's processor time of a signal meanwhile",
                now[BROKER],
                "µs",
                peer=before[BROKER],
                peer_name=bench.against,
            ),
            compared(
                "pipeline-step",
                what,
                max(ours),
                "events/s",
                peer=bare,
                peer_name="the bare step over the same journal in memory",
                note=note,
            ),
            compared(
                "pipeline-loop",
                what,
                max(ours),
                "events/s",
                peer=loop,
                peer_name="aiokafka taking the same records over two hops",
                note=note,
            ),
        ]
    )


async def _schemas(stack: RunningStack) -> Schemas:
    schemas = Schemas(stack.cluster)
    await schemas.register()
    return schemas


async def _entries(stack: RunningStack, schemas: Schemas) -> dict[int, list[Entry]]:
    """The whole journal as `step` takes it, by partition, without the marks of policy versions."""
    topic = stack.cluster.name("journal")
    topic_id = (await topic_ids(stack.cluster, [topic]))[topic]
    entries: dict[int, list[Entry]] = {number: [] for number in range(PARTITIONS)}
    sealing = Sealing(schemas, await read_keys(stack.cluster, stack.kek_dir))
    for number, found in entries.items():
        async for records in read_partition(stack.cluster, topic, number):
            for record in records:
                journal = sealing.unframe("journal", record.value, whose=record.key or b"")
                assert isinstance(journal, journal_pb2.JournalRecord)
                if not journal.HasField("mark"):
                    found.append(entry_of(record, journal, topic_id=topic_id))
    return entries


def _bare_step(entries: dict[int, list[Entry]], starts: dict[int, int]) -> float:
    """Records a second of processor time, from these offsets on; what stands before them is folded and not counted."""
    counted, spent_s = 0, 0.0
    for number, journal in entries.items():
        rows: dict[str, row_pb2.UserRow | None] = {}
        began_s = 0.0
        for entry in journal:
            if entry.offset >= starts[number]:
                began_s = began_s or time.process_time()
                counted += 1
            rows[entry.user_id], _ = step(rows.get(entry.user_id), entry, PRIOR)
        spent_s += time.process_time() - began_s if began_s else 0.0
    return counted / spent_s


def _bare_loop(stack: RunningStack, records: list[tuple[bytes, bytes]]) -> float:
    """Records a second of processor time through two hops of aiokafka."""
    names = [f"bench-{uuid.uuid4().hex[:8]}-{hop}" for hop in "abc"]
    admin = AdminClient({"bootstrap.servers": stack.cluster.bootstrap})
    for created in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        created.result()
    argv = (sys.executable, str(Path(__file__).with_name("bare.py")), "aiokafka", stack.cluster.bootstrap, *names)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for _ in range(2):
                assert process.stdout.readline().startswith("ready")
            loop = psutil.Process(process.pid)
            before = loop.cpu_times()
            write(stack.cluster.bootstrap, names[0], records)
            while sum(asyncio.run(end_offsets(stack.cluster, names[2])).values()) < len(records):
                time.sleep(0.2)
            after = loop.cpu_times()
        finally:
            process.kill()
    return len(records) / (after.user + after.system - before.user - before.system)


def _profile(stack: RunningStack, schemas: Schemas, running: Cores, users: list[str], events: int) -> Counter[str]:
    """Share of each part in the samples of a core process that folds a backlog; nothing where py-spy is missing."""
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if spy is None:
        return Counter()
    # Written first, so that nearly all of what is sampled is work; the start is not known by any part.
    write(
        stack.cluster.bootstrap,
        stack.cluster.name("signals"),
        framed(schemas, backlog(users, events, seed=PASSES), run="profiled"),
    )
    file = stack.folder.root / "profile"
    core = running.start(
        "core-1",
        under=(spy, "record", "--gil", "--rate", f"{SAMPLES_PER_S}", "--format", "raw", "--output", str(file), "--"),
    )
    running.until_folded()
    psutil.Process(core.process.pid).children()[0].terminate()
    core.process.wait(30)
    shares: Counter[str] = Counter()
    for line in file.read_text().splitlines():
        stack_of_frames, count = line.rsplit(" ", 1)
        part = _part(stack_of_frames.split(";"))
        if part is not None:
            shares[part] += int(count)
    total = sum(shares.values())
    return Counter({part: count / total for part, count in shares.items()})  # type: ignore[misc]


def _part(frames: list[str]) -> str | None:
    if not any(
        "_go_round" in frame or "agents/settling.py" in frame or "_start_thread" in frame or "streams/app.py" in frame
        for frame in frames
    ):
        return None
    for frame in reversed(frames):
        for pattern, part in PARTS:
            if re.search(pattern, frame):
                return part
    return None
