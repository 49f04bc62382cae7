"""Disks that are full: the broker's, and a worker's.

Each does its fault to a running stack while events are written, and returns when it is over. None checks the result.
"""

from __future__ import annotations

from tests.faults.disk import NotHere, may_mount
from tests.faults.scene import Scene


def fill_the_log(scene: Scene) -> None:
    """The broker ends itself; it is started again while the disk is full, and then gets room."""
    disk = scene.stack.log_disk
    if disk is None:
        raise NotHere(may_mount())
    scene.stack.wait(3)
    before = scene.stack.server_pid("kafka")
    disk.fill(left_bytes=256 * 1024)
    try:
        took_s = scene.stack.until(
            lambda: scene.stack.server_pid("kafka") != before, what="the broker's end", patience_s=60
        )
        scene.notes.append(f"the broker ended {took_s:.1f} s after its disk was full")
        scene.stack.wait(4)
    finally:
        disk.give_room()
    scene.stack.until(lambda: scene.stack.server_ready("kafka"), what="kafka back again")
    scene.stack.wait(1)
