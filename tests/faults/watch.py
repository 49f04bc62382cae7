"""Looks at the served tips all the time, as a reader would: an older one must never follow a newer one (I4)."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from valkey import Valkey
from valkey.exceptions import ValkeyError

EVERY_S = 0.05


class TipWatch:
    """Polls the tips of some users in a thread of its own."""

    def __init__(self, url: str, users: Sequence[str]) -> None:
        self._url, self._users = url, list(users)
        self._newest: dict[str, tuple[bytes, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="tip-watch", daemon=True)
        self.looks = 0
        self.went_back: set[str] = set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)

    def _look(self) -> None:
        with Valkey.from_url(self._url, socket_timeout=2, socket_connect_timeout=2) as client:
            while not self._stop.wait(EVERY_S):
                try:
                    with client.pipeline(transaction=False) as pipe:
                        for user in self._users:
                            pipe.hmget(f"oo:tip:{{{user}}}", "epoch", "offset")
                        answers = pipe.execute()
                except (ValkeyError, OSError):
                    continue  # away: nobody is served anything
                self.looks += 1
                for user, (epoch, offset) in zip(self._users, answers, strict=True):
                    if offset is None:
                        continue
                    before = self._newest.get(user, (epoch, -1))
                    if before[0] == epoch and int(offset) < before[1]:
                        self.went_back.add(user)
                    self._newest[user] = (epoch, max(int(offset), before[1] if before[0] == epoch else -1))
