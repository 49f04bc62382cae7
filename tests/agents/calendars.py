"""A web server with calendars to be read: what it answers can be changed, and it counts who asks for what at the same time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def calendar(*titles: str) -> str:
    """Events of the day after tomorrow, one a title."""
    day = time.strftime("%Y%m%d", time.gmtime(time.time() + 2 * 86400))
    events = "".join(
        f"BEGIN:VEVENT\r\nUID:{title}@example.org\r\nDTSTAMP:20261101T000000Z\r\nDTSTART:{day}T090000Z\r\nDTEND:{day}T093000Z\r\n"
        f"SUMMARY:{title}\r\nEND:VEVENT\r\n"
        for title in titles
    )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//oO//tests//EN\r\n{events}END:VCALENDAR\r\n"


@dataclass(slots=True)
class Calendars:
    """What stands behind each path, and what was asked."""

    url: str
    texts: dict[str, str] = field(default_factory=dict)
    refuse: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    """Paths that are answered so: status and headers."""
    takes_s: float = 0.0
    asked: Counter[str] = field(default_factory=Counter)
    at_once: Counter[str] = field(default_factory=Counter)
    """The most that asked for a path at the same time; of its folder, any of it."""
    _now: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path: str, text: str) -> str:
        """Where it can be read."""
        self.texts[path] = text
        return f"{self.url}{path}"

    def begin(self, path: str) -> None:
        with self._lock:
            self.asked[path] += 1
            for one in (path, path.rpartition("/")[0]):
                self._now[one] += 1
                self.at_once[one] = max(self.at_once[one], self._now[one])

    def end(self, path: str) -> None:
        with self._lock:
            self._now.subtract((path, path.rpartition("/")[0]))


@contextmanager
def calendars() -> Iterator[Calendars]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served.begin(self.path)
            try:
                time.sleep(served.takes_s)
                status, headers = served.refuse.get(self.path, (200, {}))
                body = served.texts.get(self.path, "").encode() if status == 200 else b""
                self.send_response(status if self.path in served.texts else 404)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            finally:
                served.end(self.path)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served = Calendars(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
