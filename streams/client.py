"""The half of the consumer that runs in the Kafka client's own thread, so that heartbeats go on while the app computes.

Never touches what belongs to the app's loop: it reads the aim of their `Handover`, and hands over through it.
Each override names the fault that it mends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import aiokafka
import uvloop
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.protocol.group import HeartbeatRequest, LeaveGroupRequest
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams import reset
from streams.commit_note import note, of_another_topic
from streams.fetching import Fetching
from streams.handover import Handover, Push
from streams.name import FENCED_INSTANCE_ID, HeartbeatByName
from streams.run_state import RunState
from streams.watchdog import EXIT_NAME_LOST

log = logging.getLogger(__name__)

_CONFIRM_S = 2.0
"""How long a process that did not run waits to hear that its name is still its own; the session's end bounds it besides."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """See above."""

    _fetching: Fetching | None = None
    _member_id: str = ""
    _name: str = ""
    _place: tuple[int, str] | None = None
    """Generation and member id, once it has joined."""

    def __init__(self, *args: Any, handover: Handover, run_state: RunState, **kwargs: Any) -> None:
        self._handover = handover
        self._run_state = run_state
        super().__init__(*args, thread_loop=uvloop.new_event_loop(), **kwargs)
        self._close_thread_loop_on_stop = True

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        client = consumer._client
        # uvloop is a tenth cheaper for it than asyncio's own loop.
        reset.mend(client)
        client.send = partial(self._send, client.send)
        self._name = str(consumer._group_instance_id)
        return consumer

    async def on_start(self) -> None:
        """Mends what a fetch costs, and whose records it brings, see streams/fetching.py; commits that name no topic but its name, see
        streams/by_id.py; and a name that is taken back."""
        await super().on_start()
        consumer = self._ensure_consumer()
        await consumer._fetcher.close()
        consumer._fetcher = self._fetching = Fetching(
            consumer, handover=self._handover, run_state=self._run_state, arrived=self._arrived
        )
        coordinator = consumer._coordinator
        coordinator._do_fetch_commit_offsets = partial(self._committed, coordinator._do_fetch_commit_offsets)
        coordinator._do_rejoin_group = partial(self._join, coordinator._do_rejoin_group)
        self._run_state.watchdog.confirm = self._confirm

    async def _send(self, send: Any, node_id: Any, request: Any, **more: Any) -> Any:
        """Mends a lost name that is taken for a lost session."""
        if type(request) is HeartbeatRequest:
            request = HeartbeatByName(request, self._name)
        answer = await send(node_id, request, **more)
        if getattr(answer, "error_code", 0) == FENCED_INSTANCE_ID:
            log.critical("name.lost name=%s: another process has it, this one is not to be started again", self._name)
            # Not an exception: it would unwind through code that still writes.
            os._exit(EXIT_NAME_LOST)
        return answer

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

    async def hand_over(self) -> None:
        """Hand records over as they come, until cancelled; raises what ends that.

        Mends a round trip between the threads for every fetch: asked for by one loop and answered by the other, each
        time through a queue, a task and two wake-ups, while the records lie there.
        """
        assert self._fetching is not None
        await self._fetching.hand_over()

    def _arrived(self, push: Push) -> None:
        self.parent_loop.call_soon_threadsafe(self._handover.arrived, push)

    @property
    def full(self) -> bool:
        """Whether as much is handed over as may be: `wake` it when some has been taken."""
        return self._fetching is not None and self._fetching.full

    def wake(self) -> None:
        """Look again: the aim has widened, or a push was taken. Call it in the app's thread."""
        if self._fetching is not None:
            self.thread_loop.call_soon_threadsafe(self._fetching.look)

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
        assert self._fetching is not None
        return state.position, state.lso, max(state.timestamp or 0, self._fetching.answered_ms(tp))

    @property
    def _assignment(self) -> Any:
        subscription = self._ensure_consumer()._subscription.subscription
        return subscription.assignment if subscription is not None else None

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Mends false alarms: it compares a wall clock with a monotonic one. Partitions has a watchdog that acts."""
