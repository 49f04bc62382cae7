"""`oo replay` on a running stack: it makes again what was logged, and touches nothing of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import called, oo
from outside import client, eventually, send, settled, settled_tip, state_of, task
from valkey import Valkey

from deploy.replay.manifest import Run, RunError
from deploy.replay.run import bring_to_end
from deploy.replay.sink import Sink
from deploy.run_topics import RunTopics
from deploy.stack.running import RunningStack
from deploy.stack.topics import admin
from streams.reader import end_offsets, read_partition
from streams.record import Record


def replay(stack: RunningStack, *options: str, check: bool = True) -> dict[str, Any]:
    shown = called("replay", *options, "--json", state_of(stack), check=check).stdout
    found: dict[str, Any] = json.loads(shown)
    return found


def somebody(stack: RunningStack) -> str:
    """Somebody with tasks and a reaction, one that teaches nobody to be silent: others of this folder wait for tips."""
    user = f"again-{uuid.uuid4().hex[:8]}"
    send(stack, "signals", *(task(user, f"{number}", f"Errand {number}") for number in range(5)))
    with client(stack, user) as http:
        shown = settled_tip(stack, http)["decision_id"]
        for reaction in ("seen", "done"):
            assert http.post("/v1/feedback", json={"decision_id": shown, "reaction": reaction}).status_code == 202
        eventually(lambda: [one for one in http.get("/v1/tips").json()["items"] if one["outcome"]])
    settled(stack)
    return user


@contextmanager
def named(stack: RunningStack, *options: str) -> Iterator[str]:
    """A run, gone with the block."""
    name = f"run-{uuid.uuid4().hex[:8]}"
    replay(stack, "run", f"--name={name}", *options)
    try:
        yield name
    finally:
        called("replay", "rm", name, "--as=replayer", state_of(stack))


def bytes_of(stack: RunningStack, name: str) -> dict[str, str]:
    folder = Path(stack.folder.root) / "replays" / name
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("partition-*/*"))
    }


def users(path: Path) -> list[str]:
    found: list[str] = pq.read_table(path)["user"].to_pylist()
    return found


def test_a_run_makes_again_what_was_logged_and_finds_what_was_changed(stack: RunningStack) -> None:
    user = somebody(stack)
    with named(stack) as run:
        found = replay(stack, "verify", run)
        assert found["difference"] == "" and found["decisions"] >= 2 and found["outcomes"] >= 2
        with psycopg.connect(stack.recommender_dsn, autocommit=True) as database:
            of_theirs = "SELECT decision_id, message FROM recommender.decisions WHERE user_id = %s LIMIT 1"
            ((decision_id, message),) = database.execute(of_theirs, [stack.pseudonym(user)]).fetchall()
            change = "UPDATE recommender.decisions SET propensity = propensity, message = %s WHERE decision_id = %s"
            (other,) = database.execute(
                "SELECT message FROM recommender.decisions WHERE user_id = %s AND decision_id <> %s LIMIT 1",
                [stack.pseudonym(user), decision_id],
            ).fetchone() or (b"",)
            database.execute(change, [other, decision_id])
            try:
                torn = called("replay", "verify", run, state_of(stack), check=False)
            finally:
                database.execute(change, [message, decision_id])
        assert torn.returncode == 1 and found["rows"] >= 1
        # A row that another writer put over theirs.
        folder = stack.folder.root / "replays" / run
        part = next(path for path in folder.glob("partition-*/rows-*.parquet") if stack.pseudonym(user) in users(path))
        kept, told = part.read_bytes(), pq.read_table(part).to_pylist()
        changed = [{**one, "digest": bytes(16)} if one["user"] == stack.pseudonym(user) else one for one in told]
        pq.write_table(pa.Table.from_pylist(changed, schema=pq.read_schema(part)), part)
        off = called("replay", "verify", run, state_of(stack), check=False)
        part.write_bytes(kept)
        assert off.returncode == 1 and f"row of {stack.pseudonym(user)}" in off.stdout, off.stdout
        assert f"decision {decision_id} of partition" in torn.stdout and "not the same" in torn.stdout
        assert replay(stack, "verify", run)["difference"] == ""


def test_another_policy_is_asked_on_the_logged_slates_and_rows_follow_the_log(
    stack: RunningStack, tmp_path: Path
) -> None:
    user = somebody(stack)
    with (
        named(stack, f"--users={user}", "--policy=mixed") as same,
        named(stack, f"--users={user}", "--policy=random") as other,
    ):
        decided, asked = replay(stack, "diff", same), replay(stack, "diff", other)
        assert decided["decisions"] == asked["decisions"] > 0
        assert decided["otherwise"] == 0 and decided["distance"] == 0
        assert asked["distance"] > 0
        # What the one that decided would have earned is what was earned; of one that differs there is an estimate.
        told, mixed = decided["earned"]
        assert told["policy"] == "logged" and {**mixed, "policy": "logged"} == told and told["mean_weight"] == 1
        assert decided["valued"] == decided["decisions"] and decided["answered"] >= 1 and told["ips"]["value"] > 0
        assert [one["policy"] for one in asked["earned"]] == ["logged", "random"]
        for example in asked["examples"]:
            assert all(choice["features"] or choice["kind"] in ("none", "starter") for choice in example["choices"])
        shown = oo("replay", "diff", same, other, f"--html={tmp_path / 'diff.html'}", state_of(stack)).stdout
        assert "random held against mixed" in shown
        assert "random held against mixed" in (tmp_path / "diff.html").read_text()
        # What it says of the log is what a verification says, whoever is asked beside it.
        assert replay(stack, "verify", other)["difference"] == ""


def decider(stack: RunningStack, user: str) -> str:
    """The policy of somebody's newest decision, after one more signal."""
    send(stack, "signals", task(user, uuid.uuid4().hex[:8], "Errand", priority=1))
    settled(stack)
    with psycopg.connect(stack.recommender_dsn) as database:
        newest = (
            "SELECT policy_version FROM recommender.decisions WHERE user_id = %s ORDER BY journal_offset DESC LIMIT 1"
        )
        ((version,),) = database.execute(newest, [stack.pseudonym(user)]).fetchall()
    return str(version).partition("-")[0]


def test_a_run_is_promoted_with_a_reason_and_taken_back_and_decisions_say_so(stack: RunningStack) -> None:
    user = somebody(stack)
    assert json.loads(called("policies", "--json", state_of(stack)).stdout)["champion"] == "mixed"

    def promote(run: str, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return called("replay", "promote", run, "--yes", "--as=promoter", *options, state_of(stack), check=check)

    def last() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(called("policies", "--json", state_of(stack)).stdout)["promotions"][-1]
        return found

    with named(stack, f"--users={user}", "--policy=linucb") as run:
        assert replay(stack, "diff", run)["gate"]["verdict"] == "hold"
        refused = promote(run, "--because=I like it", check=False)
        assert refused.returncode == 1 and "not promoted: The gate holds" in refused.stderr
        assert "nothing of it to undo" in promote(run, "--because=no", "--undo", check=False).stderr
        try:
            promote(run, "--because=a trial", "--by-hand")
            said = last()
            assert (said["policy"], said["before"], said["run"], said["why"]) == ("linucb", "mixed", run, "a trial")
            assert said["account"] and int(said["evidence"]["n"]) > 0
            eventually(lambda: decider(stack, user), lambda policy: policy == "linucb")
        finally:
            promote(run, "--because=the trial is over", "--undo")
        assert (last()["policy"], last()["undoes"]) == ("mixed", True)
        eventually(lambda: decider(stack, user), lambda policy: policy == "mixed")
        assert "undone already" in promote(run, "--because=again", "--undo", check=False).stderr
    noted = json.loads(called("audit", "--json", state_of(stack)).stdout)
    assert [one["command"] for one in noted if "promote" in one["command"]][-2:] == [
        "oo replay promote",
        "oo replay promote --undo",
    ]


def begun(stack: RunningStack, manifest: dict[str, Any], **other: Any) -> Run:
    """A run of the same range that nothing was folded of yet."""
    run = Run(stack.folder.root / "replays", f"run-{uuid.uuid4().hex[:8]}")
    run.folder.mkdir(mode=0o700)
    changed = {**manifest, "name": run.name, **other}
    (run.folder / "manifest.json").write_text(json.dumps(changed))
    return run


@pytest.mark.long("tests/e2e/test_replaying.py::test_a_run_makes_again_what_was_logged_and_finds_what_was_changed")
def test_a_run_that_was_killed_goes_on_behind_its_last_whole_part_to_the_same_bytes(stack: RunningStack) -> None:
    send(stack, "signals", *(task(f"again-{uuid.uuid4().hex[:8]}", "1", "Errand") for _ in range(40)))
    settled(stack)
    with named(stack) as whole:
        manifest = json.loads((stack.folder.root / "replays" / whole / "manifest.json").read_text())
    longest = max(manifest["end"].values())
    # The longest partition has five parts, and takes twenty seconds.
    manifest["part_records"] = max(longest // 5, 1)
    unbroken, killed = begun(stack, manifest), begun(stack, manifest, rate=max(longest / 20, 1))
    try:
        # In how many processes is in no byte either.
        asyncio.run(bring_to_end(stack, unbroken, progress=lambda _: None, processes=2))
        resume = (sys.executable, "-P", "-m", "deploy.cli", "replay", "resume", killed.name, state_of(stack))
        quiet = subprocess.DEVNULL
        with subprocess.Popen(resume, stdout=quiet, stderr=quiet, start_new_session=True) as folding:
            try:
                eventually(lambda: list(killed.folder.glob("partition-*/*.rows")))
                assert folding.poll() is None
                # Between two parts it says how far it is.
                eventually(lambda: sum(killed.reached().values()) > sum(killed.folded().values()))
                shown = json.loads(called("replay", "show", killed.name, state_of(stack)).stdout)
                assert shown["state"] == "running" and 0 < shown["done"] < 1
                assert f"{killed.name}: running, " in oo("replay", "list", state_of(stack)).stdout
                called("replay", "pause", killed.name, state_of(stack))
                assert killed.state() == "paused"
            finally:
                os.killpg(folding.pid, signal.SIGKILL)
        assert not (killed.folder / "done.json").exists()
        noted = [one["command"] for one in json.loads(called("audit", "--json", state_of(stack)).stdout)]
        assert f"oo replay pause {killed.name}" in noted
        # It goes on as fast as it can; how fast is in no byte.
        changed = json.loads((killed.folder / "manifest.json").read_text()) | {"rate": 0.0}
        (killed.folder / "manifest.json").write_text(json.dumps(changed))
        replay(stack, "resume", killed.name)
        assert bytes_of(stack, killed.name) == bytes_of(stack, unbroken.name) != {}
        parts = [path.name for path in killed.folder.glob("partition-*/decisions-*.parquet")]
        assert len(parts) > len(manifest["end"])
    finally:
        for run in (unbroken, killed):
            called("replay", "rm", run.name, state_of(stack))


def live(stack: RunningStack, user: str) -> dict[str, Any]:
    """What a run must not have changed: topics that nobody writes by themselves, and what is served and recorded of somebody."""
    whose, names = (
        stack.pseudonym(user),
        ("signals", "reactions", "subject-requests", "promotions", "audit", "dead-letters"),
    )
    with psycopg.connect(stack.recommender_dsn) as database, Valkey.from_url(stack.as_admin.valkey_url) as valkey:
        history = [
            database.execute(f"SELECT * FROM recommender.{table} WHERE user_id = %s ORDER BY 1", [whose]).fetchall()
            for table in ("decisions", "outcomes")
        ]
        served = {key: valkey.dump(key) for key in sorted(valkey.scan_iter("*")) if whose.encode() in key}
    ends = {name: asyncio.run(end_offsets(stack.cluster, stack.cluster.name(name))) for name in names}
    topics = (*names, "journal", "decisions", "outcomes", "tips", "settings", "rows", "keys")
    said = {
        name: [one for one in records(stack, stack.cluster.name(name)) if whose.encode() in (one.key or b"")]
        for name in topics
    }
    return {"history": history, "served": served, "ends": ends, "said": said}


def records(stack: RunningStack, topic: str) -> list[Record]:
    """All of a topic."""

    async def read() -> list[Record]:
        numbers = await end_offsets(stack.cluster, topic)
        return [
            one for number in numbers async for some in read_partition(stack.cluster, topic, number) for one in some
        ]

    return asyncio.run(read())


@pytest.mark.long(
    "tests/e2e/test_replaying.py::test_another_policy_is_asked_on_the_logged_slates_and_rows_follow_the_log"
)
def test_another_configuration_is_asked_and_what_it_alone_decides_has_no_value(stack: RunningStack) -> None:
    user = somebody(stack)
    with (
        named(stack, f"--users={user}", "--set=exploration=64") as bold,
        named(stack, f"--users={user}", "--set=duplicate_permille=300", "--set=cap_hour=1") as other,
    ):
        asked, apart = replay(stack, "diff", bold), replay(stack, "diff", other)
        assert (asked["without"], asked["second"]) == (0, "exploration=64")
        assert asked["decisions"] == asked["valued"] > 0
        # Titles that share a word are one, and one tip an hour is enough: other candidates, and no value of those.
        assert apart["without"] > 0 and apart["valued"] == apart["decisions"] < asked["decisions"]
        # Rows follow the log, whatever is asked.
        assert replay(stack, "verify", other)["difference"] == ""
        refused = called(
            "replay", "promote", bold, "--because=x", "--yes", "--as=promoter", state_of(stack), check=False
        )
        assert "settings are not promoted" in refused.stderr
    strange = called("replay", "run", "--set=cap_hours=4", state_of(stack), check=False)
    assert "there is no setting cap_hours" in strange.stderr


def test_a_run_waits_while_live_groups_are_behind_and_goes_on_once_they_are_not(stack: RunningStack) -> None:
    somebody(stack)
    with named(stack) as whole:
        manifest = json.loads((stack.folder.root / "replays" / whole / "manifest.json").read_text())
    # Behind by more than -1: always.
    waiting = begun(stack, manifest, lag_max=-1)
    resume = (sys.executable, "-P", "-m", "deploy.cli", "replay", "resume", waiting.name, state_of(stack))
    try:
        with subprocess.Popen(resume, stdout=subprocess.DEVNULL, start_new_session=True) as folding:
            try:
                eventually(waiting.yielding_file.exists)
                assert waiting.state() == "yielding" and not (waiting.folder / "done.json").exists()
            finally:
                os.killpg(folding.pid, signal.SIGKILL)
        changed = json.loads((waiting.folder / "manifest.json").read_text()) | {"lag_max": 1_000_000}
        (waiting.folder / "manifest.json").write_text(json.dumps(changed))
        replay(stack, "resume", waiting.name)
        assert waiting.state() == "done" and not waiting.yielding_file.exists()
    finally:
        oo("replay", "rm", waiting.name, state_of(stack))


def test_what_is_live_is_the_same_before_and_after_a_run(stack: RunningStack) -> None:
    user = somebody(stack)
    before = live(stack, user)
    assert before["served"] and all(before["history"])
    with named(stack, "--policy=random") as run:
        replay(stack, "verify", run)
        replay(stack, "diff", run)
    assert live(stack, user) == before
    with named(stack, "--topics", "--as=replayer"):
        pass
    after = live(stack, user)
    # That it wrote is noted.
    assert sum(after["ends"].pop("audit").values()) == sum(before["ends"].pop("audit").values()) + 1
    assert after == before


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from deploy import run_topics
from deploy.replay.manifest import Run
from deploy.stack.running import open_stack

run_topics.AT_ONCE = 2
stack = open_stack(Path(sys.argv[1]), ready=False)
one = run_topics.RunTopics(Run(stack.folder.root / "replays", sys.argv[2]), stack.as_named("replayer", ""))
asyncio.run(one.publish(progress=lambda _: os.kill(os.getpid(), signal.SIGKILL)))
"""


def test_topics_of_a_run_hold_what_live_ones_hold_each_once_though_who_writes_them_is_killed(
    stack: RunningStack,
) -> None:
    user = somebody(stack)
    with named(stack, "--topics", "--as=replayer") as whole:
        manifest = json.loads((stack.folder.root / "replays" / whole / "manifest.json").read_text())
        names = [f"{stack.cluster.prefix}replay.{whole}.{kind}" for kind in ("decisions", "outcomes")]
        assert all(records(stack, name) for name in names)
    assert not set(names) & set(admin(stack.cluster).list_topics(timeout=30).topics)
    run = begun(stack, manifest)
    run.unpublished_file.touch()
    decisions = f"{stack.cluster.prefix}replay.{run.name}.decisions"
    try:
        asyncio.run(bring_to_end(stack, run, progress=lambda _: None))
        assert run.state() == "unfinished"
        written = 0
        for _ in range(2):
            publishing = (sys.executable, "-P", "-c", KILLED, str(stack.folder.root), run.name)
            assert subprocess.run(publishing, check=False).returncode == -signal.SIGKILL
            before, written = written, len(records(stack, decisions))
            assert written > before
        replay(stack, "resume", run.name, "--as=replayer")
        assert run.state() == "done"
        for kind in ("decisions", "outcomes"):
            found = records(stack, f"{stack.cluster.prefix}replay.{run.name}.{kind}")
            ids = [dict(one.headers)["oo_id"] for one in found]
            parts = [pq.read_table(path) for path in run.folder.glob(f"partition-*/{kind}-*.parquet")]
            assert len(set(ids)) == len(ids) == sum(len(part) for part in parts) > 1
            # Sealed as the original was, and so the same bytes, where the same key's records stand.
            whose = stack.pseudonym(user).encode()
            told, live_ones = (
                {(one.partition, one.value) for one in some if one.key == whose}
                for some in (found, records(stack, stack.cluster.name(kind)))
            )
            assert told == live_ones != set()
    finally:
        called("replay", "rm", run.name, "--as=replayer", state_of(stack))
    refused = called("replay", "run", "--topics", "--policy=random", "--as=replayer", state_of(stack), check=False)
    assert "goes without --policy" in refused.stderr


def test_what_names_topics_of_a_run_can_name_no_other(stack: RunningStack, tmp_path: Path) -> None:
    assert RunTopics(Run(tmp_path, "mine"), stack).name("decisions") == f"{stack.cluster.prefix}replay.mine.decisions"
    with pytest.raises(TypeError, match="named by its run"):
        RunTopics("oo.decisions", stack)  # type: ignore[arg-type]


def test_a_plan_says_what_would_be_read_and_writes_nothing(stack: RunningStack) -> None:
    planned = replay(stack, "run", "--dry-run", "--name=only-a-plan", "--from=2026-01-01", "--partitions=0,1")
    of_now = {one: replay(stack, "run", "--dry-run", "--name=plan", f"--from={one}") for one in ("1h", "0s")}
    assert of_now["0s"]["start"] == of_now["0s"]["end"]
    assert sum(of_now["1h"]["start"].values()) < sum(of_now["0s"]["start"].values())
    assert "no time; write 90m" in called("replay", "run", "--from=soon", state_of(stack), check=False).stderr
    assert set(planned["end"]) == {"0", "1"} and planned["start"] == {"0": 0, "1": 0}
    assert not (stack.folder.root / "replays" / "only-a-plan").exists()
    assert planned["estimate"]["records"] == sum(planned["end"].values())
    assert planned["estimate"]["of"]
    shown = called("replay", "run", "--dry-run", "--name=only-a-plan", state_of(stack)).stdout
    assert "it waits while a live group is more than 1000 records behind" in shown
    strange = called("replay", "run", "--partitions=99", state_of(stack), check=False)
    assert strange.returncode == 1 and "there is no partition 99" in strange.stderr


def test_what_a_run_writes_cannot_leave_its_folder(tmp_path: Path) -> None:
    for name in ("../x", "a/b", "", "A", ".x"):
        with pytest.raises(RunError, match="cannot name a run"):
            Run(tmp_path, name)
    with pytest.raises(TypeError, match="writes into its run's folder"):
        Sink(tmp_path, 0)  # type: ignore[arg-type]
