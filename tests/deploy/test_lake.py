"""`oo lake` on a real broker: each record once, also through a kill; who left and who withdrew in no file; texts for who asks by name alone."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command import ROOT, called
from filled import fill

from connectors.key_files import KeyFiles
from deploy.lake.files import read
from deploy.lake.manifest import Lake, Manifest
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Decision
from oo.v1.erased_pb2 import Erased
from oo.v1.journal_pb2 import JournalRecord, Mark, Position
from oo.v1.key_pb2 import WrappedKey
from oo.v1.outcome_pb2 import Outcome
from oo.v1.settings_pb2 import Settings
from oo.v1.subject_request_pb2 import PURPOSE_LEARNING
from streams.cipher import KEY_BYTES
from streams.keys import about, name_of
from streams.partitioner import partition_of
from streams.sealing import KEY_ID_BYTES, seal
from streams.topics import PARTITIONS
from tests.agents.process import Topics, until

PEOPLE = ("ada", "bob", "cyd", "dan", "eve")
MANY = 200
TITLE = "Call the dentist"


ENDS_ITSELF = """
import os, signal, sys
from deploy import cli
synced, left = os.fsync, int(sys.argv.pop(1))
def fsync(file):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    synced(file)
os.fsync = fsync
cli.main()
"""
"""Kills itself before it has so many files or folders brought to the disk: of a data set's file in both formats, and of the manifest, each with
its folder's entry."""


def own_env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}"}


def home(whose: str) -> int:
    return partition_of(whose.encode(), PARTITIONS)


@dataclass(slots=True)
class Log:
    """Topics with five people, each with a signal, decisions and outcomes."""

    servers: RunningStack
    topics: Topics

    def give_key(self, whose: str) -> None:
        key_id, kek = secrets.token_bytes(KEY_ID_BYTES), KeyFiles(self.servers.kek_dir)
        kek_id, wrapped = kek.wrap(secrets.token_bytes(KEY_BYTES), about(whose.encode(), key_id))
        word = WrappedKey(kek_id=kek_id, wrapped=wrapped)
        self.topics.produce("keys", [word], key=name_of(whose.encode(), key_id), partition=home(whose))

    def put(self, topic: str, whose: str, *messages: Any) -> None:
        keys = self.topics.keys()
        sealed = [seal(one, whose=whose.encode(), keys=keys) for one in messages]
        self.topics.produce(topic, sealed, key=whose.encode(), partition=home(whose))

    def at(self, whose: str, offset: int) -> Position:
        return Position(topic_id=self.topics.topic_id("journal"), partition=home(whose), offset=offset)

    def live(self, whose: str, *, many: int = MANY) -> None:
        """Let somebody say something, and have decisions made for them, all at the offsets from 0 on of the journal."""
        said = JournalRecord()
        fill(said.signal, nth=0)
        said.signal.task_upserted.title = TITLE
        self.put("journal", whose, said)
        decision = Decision(title=TITLE, policy="mixed", propensity=0.5, chosen=1)
        for at in range(20):
            decision.slate.add(id=f"task:x/{TITLE}-{at}", kind=Decision.TASK, x=[at] * 34, propensity=0.05)
        made = []
        for number in range(many):
            one = Decision()
            one.CopyFrom(decision)
            one.decision_id = f"{whose}-{number}"
            one.journal.CopyFrom(self.at(whose, number))
            made.append(one)
        self.put("decisions", whose, *made)
        outcomes = [
            Outcome(decision_id=one.decision_id, kind=Outcome.DONE, reward=1.0, journal=one.journal) for one in made
        ]
        self.put("outcomes", whose, *outcomes)

    def environment(self, tmp_path: Path) -> dict[str, str]:
        """What a command is told of these topics: a cluster elsewhere."""
        cluster = self.topics.cluster
        return {
            "OO_KAFKA_BOOTSTRAP": cluster.bootstrap,
            "OO_TOPIC_PREFIX": cluster.prefix,
            "OO_REGISTRY_URL": cluster.registry_url,
            "OO_KEK_DIR": str(self.servers.kek_dir),
            "HOME": str(tmp_path / "home"),
        }


@pytest.fixture
def log(servers: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    found = Log(servers, Topics(servers))
    for one in PEOPLE:
        found.give_key(one)
    for one in PEOPLE:
        found.live(one)
    found.topics.produce("journal", [JournalRecord(mark=Mark(sequence=1))], key=b"", partition=0)
    for name, value in found.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    yield found
    found.topics.close()


def export(out: Path, *options: str, check: bool = True) -> dict[str, Any]:
    told = called("lake", "export", f"--out={out}", "--format=both", "--json", *options, check=check)
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def manifest(out: Path) -> Manifest:
    found = Lake(out).manifest()
    assert found is not None
    return found


def ids(out: Path, dataset: str, form: str) -> list[tuple[str, int, int]]:
    """Whose each row is, and where its record stands."""
    found = [row for one in manifest(out).files if one.dataset == dataset for row in read(out / one.path(form))]
    return sorted((row["person"], row["kafka_partition"], row["kafka_offset"]) for row in found)


def files(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


@pytest.mark.long("tests/deploy/test_lake.py::test_who_left_or_withdrew_is_not_written_and_goes_from_what_was_written")
def test_each_record_is_in_a_lake_once_also_where_the_export_was_killed(log: Log, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    to = "--to=2100-01-01"
    told = export(whole, to)
    assert told["rows"] == {"decisions": MANY * 5, "outcomes": MANY * 5, "signals": 5}
    assert told["left_out"]["signals"] == {"nobody's": 1}
    for form in ("parquet", "avro"):
        for dataset, many in told["rows"].items():
            found = ids(whole, dataset, form)
            assert len(found) == len(set(found)) == many
    kept = (whole / "manifest.json").read_bytes()

    # Killed as the kernel does it, at each step of putting a file in place, then once while one is filled; the last comes to its end.
    argv = ("lake", "export", f"--out={killed}", "--format=both", "--json", to)
    for step in (3, 2, 4, 5, 6):
        ended = subprocess.run(
            (sys.executable, "-c", ENDS_ITSELF, str(step), *argv), env=own_env(), cwd=ROOT, check=False
        )
        assert ended.returncode == -signal.SIGKILL
    with subprocess.Popen((sys.executable, "-m", "deploy.cli", *argv), env=own_env(), cwd=ROOT) as process:
        while process.poll() is None and not list(killed.rglob("*.part")):
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
    export(killed, to)
    assert files(killed) == files(whole)

    # Again, nothing is read; and what has come since goes into files of its own.
    assert export(whole, to)["rows"] == told["rows"]
    assert (whole / "manifest.json").read_bytes() == kept
    log.put("outcomes", "ada", Outcome(decision_id="late", journal=log.at("ada", 0)))
    assert export(whole)["rows"] == {**told["rows"], "outcomes": MANY * 5 + 1}
    follows = (
        sys.executable,
        "-m",
        "deploy.cli",
        "lake",
        "export",
        f"--out={whole}",
        "--format=both",
        "--follow",
        "--every=1",
    )
    with subprocess.Popen(follows, env=own_env(), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for number in range(2):
            log.put("outcomes", "eve", Outcome(decision_id=f"later-{number}", journal=log.at("eve", 0)))
            until(lambda number=number: len(ids(whole, "outcomes", "avro")) == MANY * 5 + 2 + number)
        process.send_signal(signal.SIGINT)
        shown = process.communicate()[0]
    assert (process.returncode, f"{MANY * 5 + 3:,} outcomes" in shown) == (130, True)
    days = {(one.dataset, one.day) for one in manifest(whole).files}
    called("lake", "compact", f"--out={whole}")
    assert len(manifest(whole).files) == len(days)
    assert len(set(ids(whole, "outcomes", "avro"))) == MANY * 5 + 3
    assert not list(whole.rglob("*.part"))


def test_nobodys_words_stand_in_a_lake_unless_an_operator_asks_which_is_noted(log: Log, tmp_path: Path) -> None:
    for people in ("coarse", "sealed", "open"):
        out = tmp_path / people
        export(out, f"--people={people}")
        said = str([list(read(out / one.path("avro"))) for one in manifest(out).files])
        assert (TITLE in said) == (people == "open")
    entries = [one.command for number in range(PARTITIONS) for one in log.topics.messages("audit", partition=number)]  # type: ignore[attr-defined]
    assert [one for one in entries if "--people open" in one]
    assert len(entries) == 1
    asked = called("lake", "export", f"--out={tmp_path / 'open'}", "--format=both", check=False)
    assert asked.returncode == 1
    assert "was begun with --people open --format both" in asked.stderr


def test_who_left_or_withdrew_is_not_written_and_goes_from_what_was_written(log: Log, tmp_path: Path) -> None:
    out = tmp_path / "lake"
    withdrawn = Settings(user_id="bob", journal=log.at("bob", 1))
    withdrawn.consents.add(purpose=PURPOSE_LEARNING, granted=False)
    log.put("settings", "bob", withdrawn)
    export(out)
    assert {who for who, *_ in ids(out, "decisions", "parquet")} == {"ada", "cyd", "dan", "eve"}

    # Ada leaves after half of what was decided for her.
    left = Erased(user_id="ada", receipt="r", journal=log.at("ada", MANY // 2), erased_ms=1)
    log.topics.produce("erasures", [left], key=b"ada", partition=home("ada"))
    log.put("settings", "cyd", Settings(user_id="cyd", consents=withdrawn.consents, journal=log.at("cyd", 1)))
    assert "rows were taken out" in called("lake", "forget").stdout
    for form in ("parquet", "avro"):
        assert not [who for who, *_ in ids(out, "signals", form) if who in ("ada", "bob", "cyd")]
        for dataset in ("decisions", "outcomes"):
            found = ids(out, dataset, form)
            assert sum(who == "ada" for who, *_ in found) == MANY // 2
            assert {who for who, *_ in found} == {"ada", "dan", "eve"}
    # Of those from before her leaving nothing is in the folder any more, and a new lake has the same.
    told = export(tmp_path / "new")
    assert ids(tmp_path / "new", "decisions", "avro") == ids(out, "decisions", "avro")
    assert told["left_out"]["decisions"] == {"left": MANY // 2, "withdrawn": 2 * MANY}


def test_the_lost_key_of_somebody_who_is_here_ends_it_and_says_whose_record(log: Log, tmp_path: Path) -> None:
    partition = home("dan")
    for record in log.topics.read("keys", partition=partition):
        if (record.key or b"").startswith(b"dan"):
            log.topics.bury("keys", key=record.key or b"", partition=partition)
    done = called("lake", "export", f"--out={tmp_path / 'lake'}", check=False)
    assert done.returncode == 1
    assert "is not in the topic of keys" in done.stderr
