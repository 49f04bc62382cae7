"""Faults of the network between our processes and the servers, made by the proxies of tests/faults/proxy.py.

Each does its fault to a running stack while events are written, and returns when it is over. None checks the result.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.proxy import CLEAR, Proxy, Weather
from tests.faults.scene import CONT, CORES, STOP, Scene


@contextmanager
def weather(scene: Scene, name: str, kind: Weather) -> Iterator[Proxy]:
    """All processes reach this server through its proxy, and inside the block in this weather."""
    scene.stack.behind_proxies()
    scene.stack.wait(2)
    proxy = scene.stack.proxies[name]
    proxy.weather = kind
    try:
        yield proxy
    finally:
        proxy.weather = CLEAR


def delay(scene: Scene) -> None:
    """200 to 300 ms a round trip. At twice that deliveries may take longer than they may: an idempotent producer has five
    requests under way, each for one partition, and some forty partitions are written to."""
    with weather(scene, "kafka", Weather(delay_s=0.1, jitter_s=0.05)):
        scene.stack.wait(15)
        took_s = scene.goes_on("signals", "journal", "tips")
        scene.notes.append(f"caught up in {took_s:.1f} s while it was slow")
        scene.probe()


def reset_again_and_again(scene: Scene) -> None:
    with weather(scene, "kafka", CLEAR) as proxy:
        before, until_s = proxy.resets, time.monotonic() + 20
        while time.monotonic() < until_s:
            scene.between(0.2, 2.0)
            proxy.reset_all()
        scene.notes.append(f"{proxy.resets - before} connections reset")
        scene.probe()


def black_hole(scene: Scene) -> None:
    """Longer than a delivery and a session may take: workers end, and what they had sent arrives after all."""
    with weather(scene, "kafka", Weather(hole=True)):
        scene.stack.wait(30)
        scene.probe()


def lose_produce_replies(scene: Scene) -> None:
    """The broker has the records and the producer does not know: it sends them again, and they may not stand twice."""
    with weather(scene, "kafka", Weather(lost_replies=0.1)) as proxy:
        before, until_s = proxy.lost, time.monotonic() + 60
        while time.monotonic() < until_s and (proxy.lost - before < 40 or until_s - time.monotonic() > 40):
            scene.stack.wait(0.5)
        scene.notes.append(f"{proxy.lost - before} replies lost")
        if proxy.lost == before:
            scene.problems.append("no reply was lost: nothing was tried")
        scene.probe()


def stop_while_the_broker_is_slow(scene: Scene) -> None:
    """Records wait for a broker that is slow, and their process stops for less than a session: those that waited too
    long fail, and no younger one may be sent before the process knows."""
    for _ in range(3):
        with weather(scene, "kafka", Weather(hole=True)):
            scene.stack.wait(3)
            for name in CORES:
                scene.stack.workers[name].send(STOP)
            scene.stack.wait(5.8)
        for name in CORES:
            scene.stack.workers[name].send(CONT)
        scene.stack.wait(6)
    scene.probe()


def valkey_black_hole(scene: Scene) -> None:
    with weather(scene, "valkey", Weather(hole=True)):
        scene.stack.wait(15)
        scene.goes_on("signals", "journal")
