"""When a new version is worth making, and of what it is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from tempfile import mkdtemp

from sealed import give, keys_in

from agents import sample
from agents.bandit.belief import is_named
from agents.features import VERSION
from agents.learn import DRIFT_MS, SIZE, Learn
from agents.prior import prior
from agents.rows import head
from oo.v1 import erased_pb2, journal_pb2, policy_pb2
from streams.day_keys import of_day
from streams.frames import Frames
from streams.key_maker import KeyMaker
from streams.keys import Keys
from streams.record import Batch, Record
from streams.sealing import seal
from streams.topics import topics
from streams.units import DAY_MS
from tables.leavers import Leavers
from tables.store import MemoryStore
from tests.agents.build import MONDAY_MS
from tests.agents.test_cuts import Partition

SCHEMAS = Frames()
DAYS = of_day("sums", MONDAY_MS), of_day("sums", MONDAY_MS + DAY_MS)


class Sent:
    """Keeps what is produced; a delivery is acknowledged at once."""

    def __init__(self) -> None:
        self.versions: list[policy_pb2.PolicyVersion] = []
        self.marks = 0

    def produce(self, topic: str, *, value: bytes | None, **_: object) -> asyncio.Future[None]:
        if topic == "oo.policies":
            self.versions.append(SCHEMAS.unframe("policies", value))  # type: ignore[arg-type]
        elif topic == "oo.journal":
            self.marks += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def sums(
    n: int,
    *,
    offset: int,
    erasures: int = 0,
    others: int = 0,
    since: int = 0,
    partition: int = 0,
    sealed: tuple[Keys, bytes] | None = None,
) -> Record:
    """`sealed`: with these keys, under the one of that name."""
    total = policy_pb2.Total(
        feature_version=VERSION, landmark=740, n=n, users=1, epoch=prior().epoch, contribution=[0] * SIZE
    )
    part = policy_pb2.PartitionSums(totals=[total], erasures=erasures, others=others, since_sequence=since)
    part.journal.topic_id, part.journal.partition, part.journal.offset = bytes(16), partition, offset
    if sealed is not None:
        part.whose = sealed[1]
        part = seal(part, whose=part.whose, keys=sealed[0])
    name = str(partition).encode()
    return Record("oo.policy-sums", 0, offset, MONDAY_MS, name, SCHEMAS.frame("policy-sums", part), ())


def versions(
    *told: Record,
    champion: list[str] | None = None,
    drifts: list[int] | None = None,
    before: policy_pb2.PolicyVersion | None = None,
    permille: int = 0,
    leavers: Leavers | None = None,
    now_ms: int = MONDAY_MS,
    keys: Keys | None = None,
    begun_with: Sequence[policy_pb2.Total] = (),
) -> Sent:
    """What learn makes of these, looking after each; `champion` and `drifts` hold what is so then."""
    keys = keys or keys_in(Path(mkdtemp(prefix="oo-kek-")))
    sent, now = Sent(), {"champion": "mixed", "drift": 0}

    async def standing(name: str) -> AsyncIterator[list[Record]]:
        if before is not None and name == "policies":
            yield [Record("oo.policies", 0, 0, MONDAY_MS, b"", SCHEMAS.frame("policies", before), ())]

    async def run() -> None:
        learn = Learn(
            topics=topics(),
            schemas=SCHEMAS,
            keys=keys,
            maker=KeyMaker(keys, topic="oo.keys", producer=sent, frames=SCHEMAS),  # type: ignore[arg-type]
            producer=sent,  # type: ignore[arg-type]
            read=standing,
            every_s=0.0,
            champion=lambda: str(now["champion"]),
            drifted_ms=lambda: int(now["drift"]),
            sample_permille=permille,
            leavers=leavers,
            begun_with=begun_with,
            now_ms=lambda: now_ms,
        )
        await learn.assign({0})
        for number, record in enumerate(told):
            now["champion"] = champion[number] if champion else "mixed"
            now["drift"] = drifts[number] if drifts else 0
            await learn.handle([Batch("oo.policy-sums", 0, (record,), 0)])
            await learn.publish_version()

    asyncio.run(run())
    return sent


def test_a_version_is_made_once_there_is_enough_new_and_marked_in_every_partition() -> None:
    sent = versions(sums(6400, offset=1), sums(6500, offset=2), sums(6600, offset=3))
    # The first is made of nothing, at the assignment.
    assert [one.n for one in sent.versions] == [0, 6400, 6600]
    assert sent.marks == 8 * 3


def test_sums_whose_key_is_gone_hold_the_next_version_back_until_their_owner_says_them_anew(tmp_path: Path) -> None:
    keys, others = keys_in(tmp_path / "ours"), keys_in(tmp_path / "others")
    for one in (keys, others):
        give(one, DAYS[0])
    told = [
        sums(6400, offset=1, partition=1, sealed=(keys, DAYS[0])),
        sums(6400, offset=2, sealed=(others, DAYS[0])),
        sums(9000, offset=3, partition=1, sealed=(keys, DAYS[0])),
        sums(6400, offset=2, sealed=(keys, DAYS[0])),
    ]
    assert [one.n for one in versions(*told, keys=keys).versions] == [0, 6400, 15400]


def test_the_key_of_a_day_ends_once_every_partition_has_said_its_sums_under_a_later_one(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    for day in (*DAYS, b"ada", of_day("letters", MONDAY_MS)):
        give(keys, day)
    both = [sums(6400, offset=1, partition=one, sealed=(keys, DAYS[0])) for one in (0, 1)]
    later = [sums(6400, offset=1, partition=one, sealed=(keys, DAYS[1])) for one in (0, 1)]
    for told, left in (([*both, later[0]], 4), ([*both, *later], 3)):
        versions(*told, keys=keys)
        assert len(keys.holders()) == left
    assert DAYS[0] not in keys.holders()


def test_sums_that_a_worker_said_before_it_slept_hold_no_version_back_where_later_ones_are_there(
    tmp_path: Path,
) -> None:
    keys, of_then = keys_in(tmp_path / "ours"), keys_in(tmp_path / "then")
    give(keys, DAYS[1])
    give(of_then, DAYS[0])
    told = [
        sums(6400, offset=5, sealed=(keys, DAYS[1])),
        sums(6300, offset=2, sealed=(of_then, DAYS[0])),
        sums(6400, offset=1, partition=1, sealed=(keys, DAYS[1])),
    ]
    assert [one.n for one in versions(*told, keys=keys).versions] == [0, 6400, 12800]


def test_the_key_of_a_day_ends_though_a_partition_has_folded_nothing_since_it_came_to_its_worker(
    tmp_path: Path,
) -> None:
    keys = keys_in(tmp_path)
    for day in DAYS:
        give(keys, day)
    idle = Partition(MemoryStore(head=head), keys).assigned
    idle.journal_id = bytes(16)
    assert idle.sums(Leavers(idle.journal_id), whose=DAYS[1]) is None, "nothing stands in its journal"
    idle.begun = 7
    anew = idle.sums(Leavers(idle.journal_id), whose=DAYS[1])
    assert anew is not None
    assert anew.journal.offset == 7
    said = SCHEMAS.frame("policy-sums", seal(anew, whose=anew.whose, keys=keys))
    versions(
        sums(6400, offset=7, sealed=(keys, DAYS[0])),
        Record("oo.policy-sums", 0, 2, MONDAY_MS, b"0", said, ()),
        keys=keys,
    )
    assert list(keys.holders()) == [DAYS[1]]
    idle.withheld_until = 8
    assert idle.sums(Leavers(idle.journal_id), whose=DAYS[1]) is None, "rows are ahead of the commit"


def test_a_promotion_makes_a_version_of_the_new_champion_from_the_same_sums() -> None:
    sent = versions(sums(6400, offset=1), sums(6400, offset=2), champion=["mixed", "lin_ts"])
    assert [one.policy for one in sent.versions] == ["mixed", "mixed", "lin_ts"]
    assert sent.versions[2].n == sent.versions[1].n == 6400
    assert sent.versions[2].mean == sent.versions[1].mean


def test_how_decisions_are_sampled_stands_in_the_next_version_and_in_its_id_at_once() -> None:
    told = [sums(6400, offset=1), sums(6400, offset=2)]
    for permille, probability in ((0, 1.0), (100, 0.1)):
        made = versions(*told, permille=permille).versions
        assert {sample.probability(one.version_id) for one in made} == {probability}
        assert all(is_named(one) for one in made)
    changed = versions(*told, before=versions(*told).versions[-1], permille=100).versions
    assert [(one.n, one.sample_permille) for one in changed] == [(0, 100), (6400, 100)]


def test_a_drift_halves_what_was_taught_for_a_week() -> None:
    told = [sums(6400, offset=offset) for offset in range(1, 4)]
    sent = versions(*told, drifts=[0, MONDAY_MS - 1, MONDAY_MS - DRIFT_MS])
    assert [one.discount for one in sent.versions] == [1.0, 1.0, 0.5, 1.0]


def left(*offsets: int) -> Leavers:
    """Who left the partition of these tests, a millisecond apart."""
    leavers = Leavers(bytes(16))
    for number, offset in enumerate(offsets):
        place = journal_pb2.Position(topic_id=bytes(16), offset=offset)
        leavers.add(erased_pb2.Erased(user_id=f"u{number}", journal=place, erased_ms=MONDAY_MS + number))
    return leavers


def test_the_version_without_somebody_comes_with_the_changes_of_ten_others() -> None:
    told = [
        sums(6400, offset=1),
        sums(9000, offset=5, erasures=1, others=9, since=2),
        sums(9001, offset=6, erasures=1, others=10, since=1),
        sums(9002, offset=7, erasures=1, others=10, since=2),
    ]
    made = versions(*told, leavers=left(3)).versions
    assert [(one.n, one.erasures) for one in made] == [(0, 0), (6400, 0), (9002, 1)]
    assert all(is_named(one) for one in made)


def test_or_it_comes_a_day_after_the_first_of_them_left_however_little_there_is() -> None:
    told = [sums(6400, offset=1), sums(6399, offset=5, erasures=2)]
    for now_ms, expected in ((MONDAY_MS + DAY_MS - 1, [0, 6400]), (MONDAY_MS + DAY_MS, [0, 6400, 6399])):
        assert [one.n for one in versions(*told, leavers=left(2, 5), now_ms=now_ms).versions] == expected
    # Who had left before the last version was made is nobody's to wait for.
    assert [one.n for one in versions(*told, leavers=left(1, 9), now_ms=MONDAY_MS + DAY_MS).versions] == [0, 6400]
