"""Disks that are full: the broker's, and a worker's.

Each does its fault to a running stack while events are written, and returns when it is over. None checks the result.
"""

from __future__ import annotations

import shutil

from tests.faults.disk import NotHere, may_mount, mounted
from tests.faults.scene import TERM, Scene

STATE_DISK_BYTES = 512 * 1024 * 1024


def fill_the_log(scene: Scene) -> None:
    """The broker ends itself; it is started again while the disk is full, and then gets room."""
    disk = scene.stack.log_disk
    if disk is None:
        raise NotHere(may_mount())
    scene.stack.wait(3)
    before = scene.stack.server_pid("kafka")
    disk.fill(left_bytes=256 * 1024)
    try:
        took_s = scene.stack.until(lambda: scene.stack.server_pid("kafka") != before, what="the broker's end")
        scene.notes.append(f"the broker ended {took_s:.1f} s after its disk was full")
        scene.stack.wait(4)
    finally:
        disk.give_room()
    scene.stack.until(lambda: scene.stack.server_ready("kafka"), what="kafka back again")
    scene.stack.wait(1)


def fill_the_state(scene: Scene) -> None:
    """One worker's disk: it ends and says why, whenever it is started again, until there is room."""
    stack, worker = scene.stack, scene.stack.workers["core-0"]
    if worker.environment.get("OO_STORE") == "memory":
        raise NotHere("the workers' state is in memory: OO_STORE=memory")
    worker.end(TERM)
    shutil.rmtree(worker.data)
    try:
        with mounted(worker.data, size_bytes=STATE_DISK_BYTES) as disk:
            stack.start(worker.name)
            stack.until(lambda: any(worker.data.glob("rows/*/CURRENT")), what="the worker's rows on the small disk")
            scene.goes_on("journal")
            exits, said = len(worker.exits), len(worker.log())
            disk.fill(left_bytes=16 * 1024)
            took_s = stack.until(lambda: len(worker.exits) > exits, what="the worker's end")
            scene.notes.append(f"the worker ended {took_s:.1f} s after its disk was full")
            stack.until(lambda: len(worker.exits) > exits + 1, what="its end once more")
            why = {line for line in worker.log()[said:].splitlines() if "No space left" in line}
            scene.notes.append(f"ended {len(worker.exits) - exits} times, {len(why)} lines name the full disk")
            if not why:
                scene.problems.append("the worker did not say that its disk is full")
            disk.give_room()
            scene.probe()
            stack.until(worker.healthy, what="the worker healthy again")
            stack.wait(4)
            worker.end(TERM)
    finally:
        worker.end(TERM)
        stack.start(worker.name)
    stack.wait(1)
