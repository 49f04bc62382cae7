"""What two neighbours in the topic of sums, or of versions, say of somebody who left between them: docs/privacy.md has the table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
from sealed import give, keys_in

from agents.bandit.belief import epoch
from agents.features import SCORED, VERSION
from agents.learn import OTHERS_MIN, SIZE, Learn
from agents.prior import prior
from oo.v1 import journal_pb2, policy_pb2
from streams.day_keys import of_day
from streams.frames import Frames
from streams.key_maker import KeyMaker
from streams.keys import Keys
from streams.record import Batch, Record
from streams.sealing import KeyMissing, Sealing
from streams.topics import PARTITIONS, topics
from streams.units import DAY_MS
from tables import sums
from tables.linear import Ints
from tables.sums import Predicted
from tables.totals import Totals, messages, read
from tests.agents.build import MONDAY_MS
from tests.agents.test_learn import Sent

PEOPLE, LEAVE = 1_000, 20
BELIEF = prior()
FRAMES = Frames()
TODAY = of_day("sums", MONDAY_MS)
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "privacy.md").read_text()


class Crowd:
    """What each of them taught, the sums of their partitions, and all that was published of these, in the open and sealed."""

    def __init__(self, keys: Keys) -> None:
        self._chance, self._sealing = Random(11), Sealing(FRAMES, keys)
        self._totals = [Totals(epochs={BELIEF.epoch: epoch(BELIEF)}) for _ in range(PARTITIONS)]
        self._taught = [sums.nothing(SCORED.d) for _ in range(PEOPLE)]
        self._erasures = [0] * PARTITIONS
        self._others: list[set[int]] = [set() for _ in range(PARTITIONS)]
        self.sequence = 0
        self.open: list[list[policy_pb2.PartitionSums]] = [[] for _ in range(PARTITIONS)]
        self.sealed: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        for person in range(PEOPLE):
            for _ in range(self._chance.randint(1, 6)):
                self.teach(person)

    def teach(self, person: int) -> None:
        """One reaction more."""
        taught, totals = self._taught[person], self._totals[person % PARTITIONS]
        if taught.weight:
            totals.add(totals.part(taught), sign=-1)
        x = [self._chance.randint(-64, 64) for _ in range(SCORED.d)]
        time_ms = MONDAY_MS - self._chance.randrange(DAY_MS)
        sums.add(taught, x=x, reward=self._chance.randint(0, 64), time_ms=time_ms, predicted=Predicted(9, -9, 1))
        taught.epoch = BELIEF.epoch
        totals.replace(None, taught)
        self._others[person % PARTITIONS].add(person)

    def leave(self, person: int) -> Ints:
        """What they taught everybody, which their partition's sums are without from here on."""
        totals = self._totals[person % PARTITIONS]
        part = totals.part(self._taught[person])
        totals.add(part, sign=-1)
        self._erasures[person % PARTITIONS] += 1
        self._others[person % PARTITIONS].discard(person)
        return part.contribution

    def publish(self, number: int) -> Record:
        """As the partition's owner does."""
        message = policy_pb2.PartitionSums(
            journal=journal_pb2.Position(topic_id=bytes(16), partition=number, offset=len(self.open[number])),
            totals=messages(self._totals[number], feature_version=VERSION),
            erasures=self._erasures[number],
            since_sequence=self.sequence,
            others=len(self._others[number]),
            whose=TODAY,
        )
        self.open[number].append(message)
        value = self._sealing.frame("policy-sums", message, whose=TODAY)
        self.sealed[number].append(value)
        return Record("oo.policy-sums", 0, 0, MONDAY_MS, str(number).encode(), value)

    def marked(self, sequence: int) -> None:
        """A version is in force: changes are counted since."""
        self.sequence = sequence
        for others in self._others:
            others.clear()


def differences(published: list[list[policy_pb2.PartitionSums]]) -> list[Ints]:
    """Of every two neighbours of a partition."""
    whole = [[sum(read(one).contribution for one in part.totals) for part in of_one] for of_one in published]
    return [before - after for of_one in whole for before, after in pairwise(of_one)]  # type: ignore[operator]


def recovered(taught: list[Ints], found: list[Ints]) -> int:
    """Whose numbers are one of these, to the bit."""
    known = {one.tobytes() for one in found}
    return sum(one.tobytes() in known for one in taught)


def opened(sealed: list[list[bytes]], keys: Keys) -> list[list[policy_pb2.PartitionSums]]:
    """What these keys open of the topic."""
    found: list[list[policy_pb2.PartitionSums]] = []
    for of_one in sealed:
        found.append([])
        for value in of_one:
            try:
                message = Sealing(FRAMES, keys).unframe("policy-sums", value, whose=TODAY)
            except KeyMissing:
                continue
            assert isinstance(message, policy_pb2.PartitionSums)
            found[-1].append(message)
    return found


def test_neighbours_give_away_who_left_in_the_open_and_nobody_once_the_days_key_is_gone(tmp_path: Path) -> None:
    keys = keys_in(tmp_path / "kek")
    give(keys, TODAY)
    crowd, sent, chance = Crowd(keys), Sent(), Random(7)
    leavers = chance.sample(range(PEOPLE), LEAVE)
    stayers = sorted(set(range(PEOPLE)) - set(leavers))
    taught: list[Ints] = []
    changed: list[set[int]] = []
    """Whose numbers are in the difference of two neighbouring versions."""

    async def standing(_: str) -> AsyncIterator[list[Record]]:
        for records in ():
            yield records

    async def live() -> None:
        learn = Learn(
            topics=topics(),
            schemas=FRAMES,
            keys=keys,
            maker=KeyMaker(keys, topic="oo.keys", producer=sent, frames=FRAMES),  # type: ignore[arg-type]
            producer=sent,  # type: ignore[arg-type]
            read=standing,
            every_s=0.0,
        )

        async def publish(person: int) -> bool:
            made = len(sent.versions)
            await learn.handle([Batch("oo.policy-sums", 0, (crowd.publish(person % PARTITIONS),), 0)])
            await learn.publish_version()
            if len(sent.versions) > made:
                crowd.marked(sent.versions[-1].sequence)
            return len(sent.versions) > made

        await learn.assign({0})
        crowd.marked(1)
        for number in range(PARTITIONS):
            await publish(number)
        for leaver in leavers:
            taught.append(crowd.leave(leaver))
            between = {leaver}
            is_made = await publish(leaver)
            while not is_made:
                other = chance.choice(stayers)
                crowd.teach(other)
                between.add(other)
                is_made = await publish(other)
            changed.append(between)

    asyncio.run(live())
    others = keys_in(tmp_path / "no key-encryption key of ours")
    give(others, TODAY)
    rows = [("`oo.policy-sums` in the open, as they stood there before", recovered(taught, differences(crowd.open)))]
    rows += [
        (
            "`oo.policy-sums`, with the keys and the key-encryption key of that day",
            recovered(taught, differences(opened(crowd.sealed, keys))),
        ),
        ("`oo.policy-sums`, without them", recovered(taught, differences(opened(crowd.sealed, others)))),
    ]
    keys.forget(TODAY)
    rows.append(
        (
            "`oo.policy-sums`, with every key that is left a day later",
            recovered(taught, differences(opened(crowd.sealed, keys))),
        )
    )
    alone = sum(len(between) == 1 for between in changed)
    rows.append((f"versions; each difference is of {min(map(len, changed))} people or more", alone))
    table = [f"| {what} | {count} |" for what, count in rows]
    assert "\n".join(table) in PAGE, table
    assert [count for _, count in rows] == [LEAVE, LEAVE, 0, 0, 0]
    assert min(map(len, changed)) > OTHERS_MIN
    assert all(one.any() and len(one) == SIZE for one in taught)
    assert np.unique([one.tobytes() for one in taught]).size == LEAVE
