"""Somebody leaves a running engine: on real servers, killed and rebuilt, nothing of them comes back."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.active_version import ActiveVersion
from agents.rows import read_rows
from connectors.leaving import leave, leavers_of
from deploy.folding import Journal
from deploy.keys import read_keys
from deploy.refold import compare_part
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Tip
from oo.v1.erased_pb2 import Erased
from oo.v1.policy_pb2 import PolicyVersion
from oo.v1.row_pb2 import UserRow
from oo.v1.subject_request_pb2 import SubjectRequest
from streams.frames import Frames
from streams.keys import Keys
from streams.partitioner import partition_of
from streams.reader import end_offsets, read_partition
from streams.sealing import open_row
from streams.topics import PARTITIONS
from tables.row import spelled_out
from tests.agents.build import grant, task
from tests.agents.process import AgentProcess, Topics, until
from tests.faults.leaving import STEPS

RECEIPT = "receipt-of-leaving"
HOME = partition_of(b"ada", PARTITIONS)


@pytest.fixture
def under(servers: RunningStack) -> Iterator[Topics]:
    topics = Topics(servers)
    yield topics
    topics.close()


def test_who_leaves_stays_away_however_the_engine_dies_and_comes_back_empty_handed(
    servers: RunningStack, under: Topics, tmp_path: Path
) -> None:
    worker = AgentProcess("core", servers, under, tmp_path, {}).start()
    under.produce("signals", [task("1"), task("2"), task("1", user="bob")], partition=2)
    until(lambda: len(rows(under)) == 2, alive=worker)
    ask(under, leaving(under))
    until(lambda: words(under) != [], alive=worker)
    under.produce("signals", [task("3"), task("2", user="bob")], partition=2)
    until(lambda: settled(under), alive=worker)
    # Refused at the door, once it has heard of it, and not a byte is kept.
    until(lambda: refused_again(under), alive=worker)
    under.produce("signals", [b"\0\0\0\0\0 of ada"], partition=2, key=b"ada")
    until(lambda: under.dead_letters()[-1].reason == "truncated", alive=worker)
    letters = under.dead_letters()
    assert {letter.reason for letter in letters} == {"erased", "truncated"}
    assert not any(b"ada" in letter.SerializeToString() or letter.original_length for letter in letters)
    junk = [b'{"user_id":"%b","title":"Call"}' % one for one in (b"ada", b"bob")]
    under.produce("signals", [*junk, b'{"data":{"userId":"\\ud800"}}', b"\0\0 of somebody"], partition=2)
    until(lambda: len(under.dead_letters()) == len(letters) + 4, alive=worker)
    found = under.dead_letters()[-4:]
    assert [one.original for one in found] == [b"", *junk[1:], b'{"data":{"userId":"\\ud800"}}', b"\0\0 of somebody"]
    assert [one.whose.partition(b" ")[0] for one in found] == [b"", b"bob", b"\0letters", b"\0letters"]
    assert not any(part in (one.value or b"") for one in under.read("dead-letters") for part in (b'"bob', b"Call"))
    [word] = words(under)
    assert (word.user_id, word.receipt) == ("ada", RECEIPT)
    tip = Frames().unframe("tips", [one.value for one in under.read("tips", partition=HOME) if one.key == b"ada"][-1])
    assert isinstance(tip, Tip)
    assert not tip.decision_id and tip.journal == word.journal
    stub = rows(under)["ada"]
    assert UserRow.FromString(stub).left.receipt == RECEIPT
    assert differences(under, servers) == 0

    # Killed, its disk lost, and everything folded once more.
    worker.kill()
    shutil.rmtree(tmp_path / "core")
    worker.start()
    under.produce("signals", [task("4"), task("3", user="bob")], partition=2)
    until(lambda: settled(under), alive=worker)
    assert rows(under)["ada"] == stub
    assert differences(under, servers) == 0

    ask(under, grant("begin-again-000001", knows_of=RECEIPT))
    until(lambda: len(words(under)) == 2, alive=worker)
    refused = len(under.dead_letters())
    under.produce("signals", [task("5")], partition=2)
    until(lambda: titles(under, servers) == ["Task 5"], alive=worker)
    assert len(under.dead_letters()) == refused, "who writes once the word stands there is let in"
    assert worker.stop() == 0
    assert differences(under, servers) == 0


KILLED_BEFORE = pytest.mark.long(
    "tests/agents/test_leaving.py::test_a_worker_killed_at_any_step_of_an_erasure_leaves_what_an_undisturbed_one_would[folded]"
)


@pytest.mark.parametrize(
    "step", [step if step == "folded" else pytest.param(step, marks=KILLED_BEFORE) for step in STEPS]
)
def test_a_worker_killed_at_any_step_of_an_erasure_leaves_what_an_undisturbed_one_would(
    servers: RunningStack, under: Topics, tmp_path: Path, step: str
) -> None:
    told = {"OO_ENDS_AT": step}
    worker = AgentProcess("core", servers, under, tmp_path, told, module="tests.faults.leaving").start()
    under.produce("signals", [task("1"), task("2"), task("1", user="bob")], partition=2)
    until(lambda: len(rows(under)) == 2 and settled(under), alive=worker)
    before = rows(under)["ada"]
    ask(under, leaving(under))
    until(lambda: not worker.running())
    assert (words(under) != []) == (step != "folded")
    assert (rows(under)["ada"] != before) == (step == "written")
    shutil.rmtree(tmp_path / "core")
    worker.start()
    under.produce("signals", [task("2", user="bob")], partition=2)
    until(lambda: words(under) != [] and settled(under), alive=worker)
    assert worker.stop() == 0
    assert {(word.user_id, word.receipt, word.journal.offset) for word in words(under)} == {
        ("ada", RECEIPT, words(under)[0].journal.offset)
    }
    assert UserRow.FromString(rows(under)["ada"]).left.receipt == RECEIPT
    assert asyncio.run(keys_of(under, servers)).lacks(b"ada"), "their key is gone"
    assert not asyncio.run(keys_of(under, servers)).lacks(b"bob")
    assert differences(under, servers) == 0


def test_a_disk_of_before_and_a_new_life_do_without_the_key_that_is_gone(
    servers: RunningStack, under: Topics, tmp_path: Path
) -> None:
    worker = AgentProcess("core", servers, under, tmp_path, {}).start()
    under.produce("signals", [task("1"), task("2"), task("1", user="bob")], partition=2)
    until(lambda: len(rows(under)) == 2 and settled(under), alive=worker)
    assert worker.stop() == 0
    shutil.copytree(tmp_path / "core", tmp_path / "before")
    worker.start()
    ask(under, leaving(under))
    until(lambda: words(under) != [] and settled(under), alive=worker)
    assert asyncio.run(keys_of(under, servers)).lacks(b"ada")
    assert worker.stop() == 0

    shutil.rmtree(tmp_path / "core")
    (tmp_path / "before").rename(tmp_path / "core")
    worker.start()
    ask(under, grant("begin-again-000001", knows_of=RECEIPT))
    until(lambda: len(words(under)) == 2, alive=worker)
    under.produce("signals", [task("5"), task("2", user="bob")], partition=2)
    until(lambda: titles(under, servers) == ["Task 5"] and settled(under), alive=worker)
    assert worker.stop() == 0
    assert not asyncio.run(keys_of(under, servers)).lacks(b"ada"), "a key of the new life"
    assert {letter.reason for letter in under.dead_letters()} == set()
    assert differences(under, servers) == 0


async def keys_of(under: Topics, servers: RunningStack) -> Keys:
    """All that stand in the topic."""
    return await read_keys(under.cluster, servers.kek_dir)


def refused_again(under: Topics) -> bool:
    """Whether the door has refused another task of ada's."""
    under.produce("signals", [task("3")], partition=2)
    return under.dead_letters() != []


def ask(under: Topics, request: SubjectRequest) -> None:
    """As the edge sends it."""
    under.produce("subject-requests", [request], partition=HOME)


def leaving(under: Topics) -> SubjectRequest:
    """The person leaves, with the ends of the topics as they are."""
    return asyncio.run(leave(under.cluster, "ada", receipt=RECEIPT))


def words(under: Topics) -> list[Erased]:
    return [word for word in under.messages("erasures", partition=HOME) if isinstance(word, Erased)]


def rows(under: Topics) -> dict[str, bytes]:
    """Of everybody, as a worker with an empty disk finds them."""

    async def all_of_them() -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for number in range(PARTITIONS):
            changelog = read_partition(under.cluster, under.cluster.name("rows"), number, ours=True)
            found |= await read_rows(changelog, journal_id=journal_id)
        return found

    journal_id = under.topic_id("journal")
    return asyncio.run(all_of_them())


def titles(under: Topics, servers: RunningStack) -> list[str]:
    """Of ada's tasks."""
    keys = asyncio.run(keys_of(under, servers))
    row = UserRow.FromString(open_row(rows(under)["ada"], whose=b"ada", keys=keys))
    return [one.title for one in spelled_out(row).tasks]


def settled(under: Topics) -> bool:
    """Whether all that stands in the topics is taken."""
    return all(
        under.committed("core", topic, partition=number) == under.end(topic, partition=number)
        for topic in ("signals", "subject-requests", "journal")
        for number in range(PARTITIONS)
    )


def differences(under: Topics, servers: RunningStack) -> int:
    """Between the live rows and the journal folded anew."""
    mac_key, journal_id = servers.mac_key_file.read_bytes(), under.topic_id("journal")
    versions = {"": ActiveVersion.first(mac_key=mac_key)}
    for version in under.messages("policies"):
        assert isinstance(version, PolicyVersion)
        versions[version.version_id] = ActiveVersion.of(version, mac_key=mac_key)

    async def count() -> int:
        leavers = await leavers_of(under.cluster)
        journal = Journal(
            under.cluster, topic_id=journal_id, versions=versions, kek_dir=servers.kek_dir, leavers=leavers
        )
        ends = await end_offsets(under.cluster, under.cluster.name("journal"))
        parts = [await compare_part(journal, number, end, lambda _: None) for number, end in ends.items()]
        return sum(part.differences.n for part in parts)

    return asyncio.run(count())
