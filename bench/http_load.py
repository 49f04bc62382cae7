"""A load of HTTP requests over keep-alive connections: run as a process of its own, so that it never slows the server.

    python -m bench.http_load PORT CONNECTIONS SECONDS REQUESTS_FILE ANSWER_FILE [PER_S]

Each connection sends its next request when the last one's answer is whole, or where a rate is given, at its time; nothing is
pipelined. One that its connection was too busy for counts from the time at which it was due. The file holds one path and one token a line, or is
called *.http and holds one request, as it goes out. Writes one JSON object: answers by status, seconds, its own processor seconds and latencies.
It never checks a body.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from array import array
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import cast

import uvloop

WARM_S = 0.5


class Load:
    """What the connections of one turn share."""

    def __init__(self, requests: list[bytes], *, every_s: float = 0.0) -> None:
        """`every_s`: from one request of a connection to its next; 0 for without a rest."""
        self._requests = cycle(requests)
        self.every_s = every_s
        self.latencies_s = array("d")
        self.statuses: Counter[bytes] = Counter()
        self.all = 0
        self.open = True

    def next(self) -> bytes | None:
        return next(self._requests) if self.open else None

    def forget(self) -> None:
        """What was so far was to get warm."""
        self.latencies_s = array("d")
        self.statuses.clear()


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, load: Load, *, first_s: float) -> None:
        """`first_s`: on the clock, when its first request is due."""
        self._load = load
        self._got = b""
        self._sent_s = 0.0
        self._due_s = first_s
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not asyncio's by inheritance.
        self._transport = cast("asyncio.Transport", transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        got = self._got + data if self._got else data
        head, blank, body = got.partition(b"\r\n\r\n")
        if not blank or len(body) < _length(head):
            self._got = got
            return
        self._got = b""
        self._load.latencies_s.append(time.perf_counter() - self._sent_s)
        self._load.all += 1
        self._load.statuses[head[9:12]] += 1
        self._due_s += self._load.every_s
        self._wait()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed a connection that is in use"))

    def _wait(self) -> None:
        """Until the next is due."""
        now_s = time.perf_counter()
        if not self._load.every_s:
            self._send(now_s)
        elif self._due_s > now_s:
            # From when it goes out: a timer has whole milliseconds.
            asyncio.get_running_loop().call_later(self._due_s - now_s, self._send)
        else:
            self._send(self._due_s)

    def _send(self, since_s: float | None = None) -> None:
        request = self._load.next()
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._sent_s = time.perf_counter() if since_s is None else since_s
        self._transport.write(request)


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at < 0:
        return 0
    return int(lower[at + 15 :].split(b"\r\n", 1)[0])


async def run(
    port: int, connections: int, seconds: float, requests: list[bytes], per_s: float = 0.0
) -> dict[str, object]:
    """The turn's result; `per_s`: requests a second over all connections, 0 for as many as they can."""
    loop = asyncio.get_running_loop()
    every_s = connections / per_s if per_s else 0.0
    load, began_s = Load(requests, every_s=every_s), time.perf_counter()
    opened = []
    for number in range(connections):
        first_s = began_s + number * every_s / connections
        made = await loop.create_connection(lambda at=first_s: Connection(load, first_s=at), "127.0.0.1", port)
        opened.append(made[1])
    await asyncio.sleep(WARM_S)
    load.forget()
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    latencies_s, statuses = list(load.latencies_s), dict(load.statuses)
    load.open = False
    await asyncio.gather(*(connection.done for connection in opened))
    return {
        "seconds": took_s,
        "all": load.all,
        "cpu_s": cpu_s,
        "statuses": {status.decode(): count for status, count in statuses.items()},
        "latencies_ms": [round(latency_s * 1000, 4) for latency_s in latencies_s],
    }


def main() -> None:
    port, connections, seconds, file, answer, *per_s = sys.argv[1:]
    requests = [Path(file).read_bytes()] if file.endswith(".http") else []
    for line in [] if requests else Path(file).read_text().splitlines():
        path, token = line.split()
        head = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {token}\r\naccept: */*\r\n\r\n"
        requests.append(head.encode())
    # Not by a pipe: an unbuffered one cuts long lines.
    found = run(int(port), int(connections), float(seconds), requests, float(per_s[0]) if per_s else 0.0)
    Path(answer).write_text(json.dumps(uvloop.run(found)))


if __name__ == "__main__":
    main()
