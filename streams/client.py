"""The half of the consumer that runs in the Kafka client's own thread, so that heartbeats go on while the app computes.

Never touches what belongs to the app's loop: it reads the aim of their `Handover`, and hands over through it.
Each override names the fault that it mends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Any

import aiokafka
import uvloop
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest, LeaveGroupRequest
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams import reset
from streams.by_id import FetchById, Session
from streams.commit_note import note, of_another_topic
from streams.handover import Aim, Handover, Push
from streams.name import FENCED_INSTANCE_ID, HeartbeatByName
from streams.pace import Pace
from streams.record import Batch, Record
from streams.run_state import RunState
from streams.watchdog import EXIT_NAME_LOST

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 1.0
"""A wait for records looks around this often, were it only to find itself cancelled."""
_FETCH_EVERY_S = 0.008
"""Between two fetches in the long run. Each costs the broker and us more than a decision does, however little it brings: where
more come, what is spent on them is missed by everybody else, and each record comes later than with fewer."""
_FETCHES_AT_ONCE = 8
"""Fetches that wait for nothing, after a time with fewer: at 50 records a second over two topics none waits."""
_CONFIRM_S = 2.0
"""How long a process that did not run waits to hear that its name is still its own; the session's end bounds it besides."""
_IDLE_WAIT_MS = 500
"""How long a fetch of every partition may wait: the first record that comes ends it, and no partition waits behind it."""
_GIVES_WAY_S = 0.002
"""How long the client's thread waits for a round over what it has handed over, at most, before it goes on."""
_PUSHES_MAX = 2
"""Handed over and not yet taken by the app's loop: then the client's thread waits, so that memory stays bounded."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """See above."""

    full = False
    """Whether as much is handed over as may be: `wake` it when some has been taken."""
    _pushes = 0
    _waiter: asyncio.Future[None] | None = None
    _member_id: str = ""
    _name: str = ""
    _place: tuple[int, str] | None = None
    """Generation and member id, once it has joined."""

    def __init__(self, *args: Any, handover: Handover, run_state: RunState, **kwargs: Any) -> None:
        self._handover = handover
        self._run_state = run_state
        self._sessions: dict[Any, Session] = {}
        """By broker."""
        self._paces: defaultdict[Any, Pace] = defaultdict(lambda: Pace(every_s=_FETCH_EVERY_S, burst=_FETCHES_AT_ONCE))
        super().__init__(*args, thread_loop=uvloop.new_event_loop(), **kwargs)
        self._close_thread_loop_on_stop = True

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        """Mends the fixed `fetch_max_wait_ms=1500`: a partition waits that long behind an idle one's fetch; and records
        of aborted and open transactions that count, since Faust reads committed only where it writes in transactions.
        """
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = self._run_state.fetch_wait_ms
        consumer._fetch_min_bytes = self._run_state.fetch_bytes_min
        consumer._isolation_level = "read_committed"
        client = consumer._client
        # uvloop is a tenth cheaper for it than asyncio's own loop.
        reset.mend(client)
        client.send = partial(self._send, client.send)
        self._name = str(consumer._group_instance_id)
        return consumer

    async def on_start(self) -> None:
        """Mends commits that name no topic but its name, see streams/by_id.py, and a name that is taken back."""
        await super().on_start()
        coordinator = self._ensure_consumer()._coordinator
        coordinator._do_fetch_commit_offsets = partial(self._committed, coordinator._do_fetch_commit_offsets)
        coordinator._do_rejoin_group = partial(self._join, coordinator._do_rejoin_group)
        fetcher = self._ensure_consumer()._fetcher
        fetcher._proc_fetch_request = partial(self._fetched, fetcher._proc_fetch_request)
        self._run_state.watchdog.confirm = self._confirm

    async def _send(self, send: Any, node_id: Any, request: Any, **more: Any) -> Any:
        """Mends fetches that read on in another topic of the same name, and that name every partition each time; and a lost
        name that is taken for a lost session."""
        if type(request) is FetchRequest:
            return await self._fetch(send, node_id, request, **more)
        if type(request) is HeartbeatRequest:
            request = HeartbeatByName(request, self._name)
        answer = await send(node_id, request, **more)
        if getattr(answer, "error_code", 0) == FENCED_INSTANCE_ID:
            log.critical("name.lost name=%s: another process has it, this one is not to be started again", self._name)
            # Not an exception: it would unwind through code that still writes.
            os._exit(EXIT_NAME_LOST)
        return answer

    async def _fetch(self, send: Any, node_id: Any, request: FetchRequest, **more: Any) -> Any:
        session = self._sessions.get(node_id)
        if session is None or session.assignment is not self._assignment:
            session = self._sessions[node_id] = Session(
                self._assignment, session_id=0 if session is None else session.id
            )
        if (wait_s := self._paces[node_id].wait_s(self.thread_loop.time())) > 0:
            await asyncio.sleep(wait_s)
        by_id = FetchById(request, self._run_state.topic_ids, session)
        if self._run_state.fetch_bytes_min <= 1 and self._names_all(request, node_id):
            by_id.wait(_IDLE_WAIT_MS)
        try:
            return by_id.named(await send(node_id, by_id, **more))
        except BaseException:
            session.end()
            raise

    def _names_all(self, request: FetchRequest, node_id: Any) -> bool:
        """Whether it asks for each of our partitions that this broker leads."""
        leader = self._ensure_consumer()._client.cluster.leader_for_partition
        ours = sum(leader(tp) == node_id for tp in self._assignment.tps) if self._assignment is not None else 0
        return sum(len(partitions) for _, partitions in request.topics) == ours

    async def _join(self, join: Any, subscription: Any) -> bool:
        """Mends a member that joins anew under a name that another has taken meanwhile."""
        coordinator = self._ensure_consumer()._coordinator
        if self._place is not None and coordinator.member_id != self._place[1]:
            # Its place is lost: to the session's end, or to somebody else.
            await coordinator._send_req(HeartbeatRequest(coordinator.group_id, *self._place))
        joined: bool = await join(subscription)
        if joined:
            self._place = coordinator.generation, coordinator.member_id
        return joined

    def _confirm(self) -> None:
        """Returns if this member's name is still its own, as far as Kafka answers; else the process ends. Blocks.

        Call it in the app's thread.
        """
        if self._place is None:
            return
        asking = asyncio.run_coroutine_threadsafe(self._ask(*self._place), self.thread_loop)
        with contextlib.suppress(TimeoutError, KafkaError):
            asking.result(_CONFIRM_S)

    async def _ask(self, generation: int, member_id: str) -> None:
        coordinator = self._ensure_consumer()._coordinator
        await coordinator._send_req(HeartbeatRequest(coordinator.group_id, generation, member_id))

    async def _committed(self, ask: Any, partitions: Any) -> Any:
        """What the group committed, of the topics that are read here; of another one of the same name it never did."""
        found = await ask(partitions)
        for tp, at in list(found.items()):
            if of_another_topic(at.metadata, self._run_state.topic_ids.get(tp.topic)):
                log.warning(
                    "commit.of_another_topic topic=%s partition=%d offset=%d: read from its beginning",
                    *tp,
                    at.offset,
                )
                del found[tp]
        return found

    async def pump(self) -> None:
        """Hand records over as they come, until cancelled.

        Mends a round trip between the threads for every fetch: asked for by one loop and answered by the other, each
        time through a queue, a task and two wake-ups, while the records lie there.
        """
        while True:
            if not await self._hand_over():
                await self._rest()

    async def _hand_over(self) -> bool:
        """Hand over what is there, if anything is, and give way; False where there is nothing, or as much as may be waits already."""
        aim = self._handover.aim
        self.full = True
        if self._pushes - self._handover.taken >= _PUSHES_MAX:
            return False
        self.full = False
        if not aim.partitions or not (batches := await self._batches(aim)):
            return False
        self._pushes += 1
        self._handover.handled.clear()
        self.parent_loop.call_soon_threadsafe(self._handover.arrived, Push(aim.epoch, batches))
        # Only one thread has the interpreter: whoever waits for these records would wait for the next fetch to be written first.
        self._handover.handled.wait(_GIVES_WAY_S)
        return True

    async def _fetched(self, take_in: Any, *about: Any) -> bool:
        """Take in what a fetch brought, and hand it over at once; says, as the fetcher has it, whether there is something for the pump.

        Mends some turns of the loop, and a look at each partition, in between: the fetcher's task hears of it first, and then wakes the pump.
        """
        has_come: bool = await take_in(*about)
        fetcher = self._ensure_consumer()._fetcher
        rests = self._waiter
        if not has_come or rests is None or rests.done() or fetcher._subscriptions.reassignment_in_progress:
            return has_come
        try:
            while await self._hand_over():
                pass
        except Exception as error:  # noqa: BLE001 (whatever it is, the pump ends with it, and with the pump the process)
            rests.set_exception(error)
        return bool(fetcher._records)

    async def _batches(self, aim: Aim) -> list[tuple[TP, Batch | None, int]]:
        """What has been fetched of each partition, at most `poll_records_max` records of each; see Push.

        Mends four faults: one busy partition fills the whole poll; the generation is read only later, in another
        thread; records fetched across a rebalance are dropped after their position has moved on; each record is first
        made one of theirs.
        """
        consumer = self._ensure_consumer()
        fetcher, limit = consumer._fetcher, consumer._max_poll_records
        while fetcher._subscriptions.reassignment_in_progress:
            await fetcher._subscriptions.wait_for_assignment()
        fetched: dict[TP, list[Record]] = {}
        # Asked without a timeout and outside a rebalance it does not suspend: what is there stays as it is seen here.
        before = _unpack_as_ours(fetcher)
        while some := await fetcher.fetched_records(aim.partitions - fetched.keys(), timeout=0, max_records=limit):
            fetched |= {TP(tp.topic, tp.partition): records for tp, records in some.items()}
            if fetched.keys() >= aim.partitions:
                break
        if aim.epoch != self._handover.aim.epoch:
            # The flow was stopped while this waited. In the same step that moved the positions, move them back.
            for tp, records in fetched.items():
                consumer.seek(driver.ensure_aiokafka_TP(tp), records[0].offset)
            return []
        generation = consumer._coordinator.generation
        # Where there was nothing but the marks of transactions, the position alone has moved.
        moved = {tp: state.position for tp, (state, position) in before.items() if state.position != position}
        batches = {tp: Batch(tp.topic, tp.partition, tuple(records), generation) for tp, records in fetched.items()}
        return [(tp, batches.get(tp), position) for tp, position in moved.items()]

    async def _rest(self) -> None:
        """Wait for records, or to be woken."""
        fetcher = self._ensure_consumer()._fetcher
        self._waiter = fetcher._create_fetch_waiter()
        # Counts as polling: a member whose app holds everything back is alive.
        with fetcher._subscriptions.fetch_context():
            done, _ = await asyncio.wait([self._waiter], timeout=_LOOK_AGAIN_S)
        for waiter in done:
            waiter.result()  # an error of the fetcher's, if it had one
        self._waiter.cancel()

    def wake(self) -> None:
        """Look again: the aim has widened, or a push was taken. Call it in the app's thread."""
        self.thread_loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def commit_offsets(self, offsets: Mapping[TP, int]) -> bool:
        """Commit; False when the group has moved on, so that the new owner handles these records again.

        Mends a commit that reports success although nothing was left to commit.
        """
        consumer = self._ensure_consumer()
        ids = self._run_state.topic_ids
        wanted = {
            driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, note(ids.get(tp.topic)))
            for tp, offset in offsets.items()
        }
        if not wanted.keys() <= consumer.assignment():
            return False
        try:
            await consumer.commit(wanted)
        except (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError) as refused:
            log.warning("commit.refused error=%s", type(refused).__name__)
            return False
        return True

    async def leave(self) -> None:
        """Give this member's place up, so that the others take its partitions over now.

        Mends a static member that cannot leave: Kafka keeps its place for the session timeout, also where it does not
        come back.
        """
        coordinator = self._ensure_consumer()._coordinator
        await coordinator._send_req(LeaveGroupRequest(coordinator.group_id, coordinator.member_id))

    def rejoin(self) -> None:
        """Join the group anew. Mends an assignment that outlives what it was made of: a static member that comes back
        gets what it had, whatever topics and partitions came meanwhile, and nobody looks again until more come."""
        self._ensure_consumer()._coordinator.request_rejoin()

    def check_membership(self) -> str | None:
        """What is wrong with this member, if anything.

        Mends three silent deaths: a fetcher or coordinator task that has ended, and a member that Kafka had expelled and
        that joined again under another id while its old work goes on.
        """
        consumer = self._ensure_consumer()
        fetching: asyncio.Task[None] = consumer._fetcher.error_future
        if fetching.done():
            return f"the fetch task has ended: {fetching}"
        coordinator = consumer._coordinator
        task = getattr(coordinator, "_coordination_task", None)
        if task is not None and task.done():
            return "the group coordination task has ended"
        member_id = getattr(coordinator, "member_id", "")
        if self._member_id and member_id != self._member_id:
            return "this member was expelled from its group"
        self._member_id = member_id
        return None

    def progress(self, tp: TP) -> tuple[int, int, int] | None:
        """(position, end, wall clock of the last fetch in ms) of an assigned partition, once fetched.

        The end is the last stable offset: behind it stand records of a transaction that may yet be aborted, and those
        written after them.
        """
        assignment = self._assignment
        topic_partition = driver.ensure_aiokafka_TP(tp)
        if assignment is None or topic_partition not in assignment.tps:
            return None
        state = assignment.state_value(topic_partition)
        if state is None or state.lso is None or not state.has_valid_position:
            return None
        answered_ms = [one.answered_ms for one in list(self._sessions.values()) if one.names(*tp)]
        return state.position, state.lso, max(state.timestamp or 0, *answered_ms, 0)

    @property
    def _assignment(self) -> Any:
        subscription = self._ensure_consumer()._subscription.subscription
        return subscription.assignment if subscription is not None else None

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Mends false alarms: it compares a wall clock with a monotonic one. Partitions has a watchdog that acts."""


def _unpack_as_ours(fetcher: Any) -> dict[TP, tuple[Any, int]]:
    """Have what was fetched and not yet taken give our records: aiokafka unpacks one only when it is taken.

    Returns each partition's state, and its position before anything is taken.
    """
    found = {}
    for tp, result in fetcher._records.items():
        if type(result) is FetchResult and result.has_more():
            result._partition_records._consumer_record = _record
            state = result._assignment.state_value(tp)
            found[TP(tp.topic, tp.partition)] = state, state.position
    return found


def _record(tp: Any, record: Any) -> Record:
    # Past the constructor with its names, which takes half as long again.
    return tuple.__new__(
        Record,
        (tp.topic, tp.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)),
    )
