"""Features of people: one contract for every store of them. A store answers as the plainest definition does, at every time.

Feast's environment is made at the first use (tests/foreign.py): about five seconds with pip's files at hand.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from foreign import programs
from simulated import followed, simulated_set

from streams.units import DAY_MS, HOUR_MS
from tables import slates
from tests.serving.valkeys import ValkeyServer
from training.feast import repository
from training.feast.store import FeastError, FeastStore
from training.people import KEPT_MS, KINDS, NAMES, PLACES, SHARED, FeatureStore, Row, Rows, rows_of

T = 1_790_000_000_000
LATER = T + 400 * DAY_MS
"""What is now for who tells."""
_number = itertools.count()


def somebody() -> str:
    return f"person-{next(_number)}"


def row(person: str, at_ms: int, value: int | None, *, known_ms: int | None = None) -> Row:
    return Row(person, at_ms, at_ms if known_ms is None else known_ms, (value, *(None,) * (len(NAMES) - 1)))


def plainly(rows: list[Row], person: str, at_ms: int) -> Row | None:
    known = [one for one in rows if one.person == person and max(one.at_ms, one.known_ms) <= at_ms]
    latest = max(known, key=lambda one: one.rank, default=None)
    return latest if latest is not None and at_ms - latest.at_ms <= KEPT_MS else None


@pytest.fixture(scope="module")
def feasts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], FeastStore]]:
    """Of each online store one, started when it is first asked for."""
    with ExitStack() as until_the_end:

        @cache
        def started(online: str) -> FeastStore:
            folder, address = tmp_path_factory.mktemp(online), ""
            if online == "valkey":
                server = ValkeyServer(folder)
                server.start()
                until_the_end.callback(server.stop)
                address = f"127.0.0.1:{server.port}"
            repository.make(folder, [], valkey=address)
            return until_the_end.enter_context(
                FeastStore(folder, python=programs(repository.LOCK) / "python", timeout_s=300)
            )

        yield started


@pytest.fixture(params=["sqlite", "valkey"])
def feast(request: pytest.FixtureRequest, feasts: Callable[[str], FeastStore]) -> FeastStore:
    return feasts(request.param)


@pytest.fixture(scope="module")
def in_memory() -> Rows:
    return Rows()


@pytest.fixture(params=["rows", "sqlite", "valkey"])
def store(request: pytest.FixtureRequest, in_memory: Rows) -> FeatureStore:
    if request.param == "rows":
        return in_memory
    found: FeastStore = request.getfixturevalue("feasts")(request.param)
    return found


def test_each_question_has_its_answer_in_its_place_also_of_who_is_not_known_and_before_and_after_all(
    store: FeatureStore,
) -> None:
    ada, bob = somebody(), somebody()
    first, second = row(ada, T, 3), row(ada, T + HOUR_MS, 0)
    store.tell([second, first], now_ms=LATER)
    asked = [
        *((bob, T), (ada, T + HOUR_MS), (ada, T - 1), (ada, T)),
        *((ada, T + HOUR_MS - 1), (ada, T + HOUR_MS + KEPT_MS), (ada, T + HOUR_MS + KEPT_MS + 1), (ada, T)),
    ]
    assert store.at(asked) == [None, second, None, first, first, second, None, first]
    assert store.at([]) == []


def test_what_was_known_late_is_told_from_then_on_and_never_of_before(store: FeatureStore) -> None:
    ada = somebody()
    early, late = row(ada, T, 1), row(ada, T + 10, 2, known_ms=T + HOUR_MS)
    older = row(ada, T - 10, 3, known_ms=T + 2 * HOUR_MS)
    store.tell([early, late, older], now_ms=LATER)
    asked = [(ada, T + 20), (ada, T + HOUR_MS - 1), (ada, T + HOUR_MS), (ada, T + 3 * HOUR_MS)]
    assert store.at(asked) == [early, early, late, late]


def test_now_is_the_latest_decision_whatever_is_told_after_it(store: FeatureStore) -> None:
    ada = somebody()
    store.tell([row(ada, T, 1)], now_ms=T)
    store.tell([row(ada, T + 1, 2)], now_ms=LATER)
    store.tell([row(ada, T, 3), row(ada, T - HOUR_MS, 4, known_ms=T + HOUR_MS)], now_ms=LATER)
    assert store.now(ada, now_ms=T + HOUR_MS) == row(ada, T + 1, 2)
    store.tell([row(ada, T + 1, 5, known_ms=T + 2)], now_ms=LATER)
    assert store.now(ada, now_ms=T + HOUR_MS) == row(ada, T + 1, 5, known_ms=T + 2), "known later of the same decision"
    assert store.now(somebody(), now_ms=T) is None


def test_a_value_that_nobody_says_any_more_is_none(store: FeatureStore) -> None:
    ada = somebody()
    store.tell([row(ada, T, 64)], now_ms=LATER)
    store.tell([row(ada, T + 1, None)], now_ms=LATER)
    assert store.now(ada, now_ms=T + 1) == row(ada, T + 1, None)
    assert store.at([(ada, T), (ada, T + 1)]) == [row(ada, T, 64), row(ada, T + 1, None)]


def test_now_knows_nothing_that_is_too_old(store: FeatureStore) -> None:
    ada = somebody()
    store.tell([row(ada, T, 5)], now_ms=T)
    assert store.now(ada, now_ms=T + KEPT_MS) == row(ada, T, 5)
    assert store.now(ada, now_ms=T + KEPT_MS + 1) is None


def test_a_row_of_the_future_is_refused_with_all_that_is_told_beside_it(store: FeatureStore) -> None:
    ada = somebody()
    with pytest.raises(ValueError, match="1 ms from now"):
        store.tell([row(ada, T, 1), row(ada, T, 2, known_ms=T + 1)], now_ms=T)
    assert store.now(ada, now_ms=LATER) is None and store.at([(ada, T + 1)]) == [None]


def test_who_is_forgotten_is_not_there_and_the_others_are(store: FeatureStore) -> None:
    ada, bob = somebody(), somebody()
    store.tell([row(ada, T, 1), row(bob, T, 2)], now_ms=T)
    store.forget([ada])
    assert store.at([(ada, T), (bob, T)]) == [None, row(bob, T, 2)]
    assert store.now(ada, now_ms=T) is None and store.now(bob, now_ms=T) == row(bob, T, 2)


def test_rows_in_any_order_and_parts_give_what_the_plainest_definition_gives(store: FeatureStore) -> None:
    chance = random.Random(7)
    people = [somebody() for _ in range(6)]
    rows = []
    for _ in range(120):
        at_ms = T + chance.randrange(40) * DAY_MS + chance.randrange(3)
        known_ms = at_ms + chance.choice((-1, 0, 0, 1, 2, DAY_MS, 9 * DAY_MS))
        rows.append(row(chance.choice(people), at_ms, chance.choice((None, *range(4))), known_ms=known_ms))
    chance.shuffle(rows)
    for part in (rows[:50], rows[50:], rows[20:70]):
        store.tell(part, now_ms=LATER)
    asked = [(who, T + day * DAY_MS + ms) for who in people for day in range(-1, 80) for ms in range(-1, 4)]
    expected = [plainly(rows, *one) for one in asked]
    assert store.at(asked) == expected and 0.2 < expected.count(None) / len(asked) < 0.8
    now_ms = T + 52 * DAY_MS
    assert [store.now(who, now_ms=now_ms) for who in people] == [plainly(rows, who, now_ms) for who in people]


def test_decisions_of_a_training_set_are_told_as_they_were_made(store: FeatureStore) -> None:
    some = simulated_set()
    rows = rows_of(some)
    store.tell(rows, now_ms=LATER)
    asked = [(one.person, one.at_ms) for one in rows]
    last = {(one.person, one.at_ms): one for one in sorted(rows, key=lambda one: one.rank)}
    assert store.at(asked) == [last[one] for one in asked] and len({one.person for one in rows}) > 20


def test_a_row_has_what_the_candidates_of_its_decision_share_by_kind() -> None:
    decided = {entry.offset: outputs.decision for entry, outputs in followed() if outputs.decision is not None}
    some = simulated_set()
    said = set[int | None]()
    for offset, one in zip(some.offset.tolist(), rows_of(some), strict=True):
        slate = slates.eligible(decided[offset])
        for place, value in enumerate(one.values):
            kind, at = list(KINDS.values())[place // len(SHARED)], PLACES[place % len(SHARED)]
            seen = {int(x[at]) for x, its in zip(slate.x, slate.kinds, strict=True) if its == kind}
            assert seen == (set() if value is None else {value}), NAMES[place]
            said.add(value)
    assert None in said and len(said) > 10


# What Feast answers where nobody guards it. One of these that fails says that a guard can go.


def raw(one: Row) -> dict[str, object]:
    return {**repository.told(one), "event_timestamp": one.shows_ms, "created": one.known_ms}


def test_feast_leaves_out_rows_of_which_it_knows_nothing_and_those_that_are_alike(feast: FeastStore) -> None:
    ada = somebody()
    feast.tell([row(ada, T, 1)], now_ms=T)
    asked = [(ada, T - 1), (ada, T), (ada, T), (ada, T + KEPT_MS + 1)]
    assert len(feast.worker.ask("history", asked)) == 1


def test_feast_tells_of_before_what_was_known_late_although_it_knows_when_it_was_created(feast: FeastStore) -> None:
    ada = somebody()
    early, late = row(ada, T, 1), row(ada, T + 10, 2, known_ms=T + HOUR_MS)
    repository.put(feast.folder, [(one.at_ms, one) for one in (early, late)])
    ((_, value, *_),) = feast.worker.ask("history", [(ada, T + 20)])
    assert value == 2


def test_feast_looks_at_no_ttl_online(feast: FeastStore) -> None:
    ada = somebody()
    feast.worker.ask("push", [raw(row(ada, T - 2 * KEPT_MS, 5))])
    ((value, *_),) = feast.worker.ask("online", [ada])
    assert value == 5


def test_feast_takes_online_what_is_older_and_what_is_of_the_future(feast: FeastStore) -> None:
    ada = somebody()
    for at_ms, value in ((LATER + 400 * DAY_MS, 3), (T, 1)):
        feast.worker.ask("push", [raw(row(ada, at_ms, value))])
        ((found, *_),) = feast.worker.ask("online", [ada])
        assert found == value


def test_an_error_of_feast_and_its_end_are_errors_of_ours(tmp_path: Path) -> None:
    with FeastStore(tmp_path, python=Path("/bin/false")) as store, pytest.raises(FeastError, match="Feast ended"):
        store.now(somebody(), now_ms=T)
