"""One line from a topic to another on a real broker: topics of its own, workers to start, stop and kill."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from confluent_kafka import Producer as PlainProducer
from confluent_kafka.admin import AdminClient, NewTopic

from streams.cluster import Cluster
from streams.reader import committed, end_offsets, read_partition
from tests.streams.stock_worker import StockOrders
from tests.streams.worker import Orders

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = float(os.environ.get("OO_PATIENCE_S", "60"))
"""How long a test waits for what must come; never how long something may take."""


class Silent(AssertionError):
    """A worker that runs has said nothing for PATIENCE_S."""


class Worker:
    """A running copy of worker.py, or of stock_worker.py, and what it has said."""

    def __init__(self, orders: Orders | StockOrders) -> None:
        self._log = Path(orders.folder) / f"{orders.worker_id}-{uuid.uuid4().hex[:6]}.log"
        with self._log.open("wb") as log:
            self._process = self._open(orders, log)
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        self.heard: list[dict[str, Any]] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @staticmethod
    def _open(orders: Orders | StockOrders, log: IO[bytes]) -> subprocess.Popen[str]:
        script = "worker.py" if isinstance(orders, Orders) else "stock_worker.py"
        return subprocess.Popen(
            (sys.executable, str(ROOT / "tests" / "streams" / script), json.dumps(asdict(orders))),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._said.put(json.loads(line))
        self._said.put({"what": "ended"})

    def until(self, enough: Callable[[list[dict[str, Any]]], bool]) -> None:
        """Listen until what was heard is enough; fails with its log if it ends or falls silent (Silent) before."""
        while not enough(self.heard):
            try:
                said = self._said.get(timeout=PATIENCE_S)
            except queue.Empty:
                raise Silent(f"silent after {self.heard[-5:]}:\n{self.log()}") from None
            if said["what"] == "ended":
                raise AssertionError(f"ended after {self.heard[-5:]}:\n{self.log()}")
            self.heard.append(said)

    def until_said(self, what: str, *, partition: int | None = None) -> None:
        self.until(lambda heard: any(s["what"] == what and partition in (None, s.get("partition")) for s in heard))

    def assigned(self) -> set[int]:
        """Partitions it holds, by what it has said so far."""
        held: set[int] = set()
        for said in self.heard:
            if said["what"] == "assigned":
                held |= set(said["partitions"])
            elif said["what"] == "revoked":
                held -= set(said["partitions"])
        return held

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit status; negative for a signal."""
        status = self._process.wait(timeout=PATIENCE_S)
        while (said := self._said.get(timeout=PATIENCE_S))["what"] != "ended":
            self.heard.append(said)
        return status

    def log(self) -> str:
        return self._log.read_text()[-4000:]

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._listener.join(PATIENCE_S)


class Line:
    """Two topics, a group, and the workers between them."""

    def __init__(
        self, bootstrap: str, folder: Path, *, partitions: int = 2, sink: dict[str, str] | None = None
    ) -> None:
        name = uuid.uuid4().hex[:8]
        self.bootstrap, self.folder = bootstrap, folder
        self.source, self.sink, self.group = f"test.{name}.in", f"test.{name}.out", f"test-{name}"
        self.stock_group = f"{self.group}-stock"
        self.partitions = partitions
        self._workers: list[Worker] = []
        (folder / "gates").mkdir(exist_ok=True)
        create_topic(bootstrap, self.source, partitions=partitions)
        create_topic(bootstrap, self.sink, partitions=partitions, config=sink)

    def start(self, worker_id: str = "w-0", *, bootstrap: str | None = None, **orders: Any) -> Worker:
        worker = Worker(
            Orders(
                bootstrap=bootstrap or self.bootstrap,
                group=self.group,
                worker_id=worker_id,
                source=self.source,
                sink=self.sink,
                folder=str(self.folder),
                gates=str(self.folder / "gates"),
                **orders,
            )
        )
        self._workers.append(worker)
        return worker

    def start_stock(self, worker_id: str = "stock", **orders: Any) -> Worker:
        """The same work on stock Faust, in a group of its own."""
        worker = Worker(
            StockOrders(
                bootstrap=self.bootstrap,
                group=self.stock_group,
                worker_id=worker_id,
                source=self.source,
                sink=self.sink,
                folder=str(self.folder),
                gates=str(self.folder / "gates"),
                **orders,
            )
        )
        self._workers.append(worker)
        return worker

    def stock_that_said(self, what: str, **orders: Any) -> Worker:
        """A stock worker that has said this. One that falls silent after its recovery is killed and started again."""
        for starts in (1, 2, 3):
            worker = self.start_stock(**orders)
            try:
                worker.until_said(what)
                break
            except Silent:
                if starts == 3:
                    raise
                worker.kill()
        return worker

    def close_gate(self, partition: int | str) -> None:
        """The handler of this partition waits from now on; stock Faust's, that of this value."""
        (self.folder / "gates" / str(partition)).touch()

    def open_gate(self, partition: int | str) -> None:
        (self.folder / "gates" / str(partition)).unlink()

    def send(
        self, values: Iterable[str], *, partition: int = 0, transaction: str | None = None, compression: str = "none"
    ) -> None:
        """Write with a plain producer; `transaction` "commit" or "abort" leaves a marker, a hole in the offsets."""
        settings: dict[str, Any] = {"bootstrap.servers": self.bootstrap, "compression.type": compression}
        if transaction:
            settings["transactional.id"] = uuid.uuid4().hex
        producer = PlainProducer(settings)
        if transaction:
            producer.init_transactions(30)
            producer.begin_transaction()
        for value in values:
            producer.produce(self.source, value.encode(), partition=partition)
        if transaction == "commit":
            producer.commit_transaction(30)
        elif transaction == "abort":
            producer.flush(30)
            producer.abort_transaction(30)
        assert producer.flush(30) == 0

    def begin(self, values: Iterable[str], *, partitions: Iterable[int] = (0,)) -> PlainProducer:
        """Write in a transaction that stays open; `commit_transaction` or `abort_transaction` of the producer ends it."""
        producer = PlainProducer({"bootstrap.servers": self.bootstrap, "transactional.id": uuid.uuid4().hex})
        producer.init_transactions(30)
        producer.begin_transaction()
        for value in values:
            for partition in partitions:
                producer.produce(self.source, value.encode(), partition=partition)
        assert producer.flush(30) == 0
        return producer

    def committed(self, partition: int = 0, *, group: str | None = None) -> int | None:
        return asyncio.run(committed(Cluster(self.bootstrap), group or self.group, self.source))[partition]

    def members(self) -> set[str]:
        """Worker ids of the group's members, as the broker knows them now."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        described = admin.describe_consumer_groups([self.group])[self.group].result(30)
        return {member.group_instance_id for member in described.members}

    def until_committed(self, offset: int, *, partition: int = 0, group: str | None = None) -> None:
        """Wait for this commit; a later one fails."""
        deadline = PATIENCE_S / 0.05
        while (now := self.committed(partition, group=group)) != offset:
            assert now is None or now < offset, f"committed {now}, past {offset}"
            deadline -= 1
            assert deadline > 0, f"committed {now}, not {offset}"
            threading.Event().wait(0.05)

    def until_written(self, topic: str, number: int) -> None:
        """Wait until so many records stand in the topic; fails past it."""
        deadline = PATIENCE_S / 0.05
        while (written := sum(asyncio.run(end_offsets(Cluster(self.bootstrap), topic)).values())) != number:
            deadline -= 1
            assert written < number and deadline > 0, f"{written} records in {topic}, not {number}"
            threading.Event().wait(0.05)

    def copied(self, partition: int = 0) -> list[str]:
        """Values in the sink's partition, in order."""

        async def read() -> list[str]:
            return [
                (record.value or b"").decode()
                async for records in read_partition(Cluster(self.bootstrap), self.sink, partition)
                for record in records
            ]

        return asyncio.run(read())

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()


def create_topic(bootstrap: str, name: str, *, partitions: int = 1, config: dict[str, str] | None = None) -> None:
    """Create it and wait until it is there."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1, config=config or {})])[name].result(30)
    while name not in admin.list_topics(timeout=30).topics:
        pass


def delete_topic(bootstrap: str, name: str) -> None:
    """Delete it and wait until it is gone."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_topics([name])[name].result(30)
    while name in admin.list_topics(timeout=30).topics:
        pass
