"""Makes the broker compact oo.rows now, as it would after a day."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.faults.scene import Scene


def compact(scene: Scene) -> None:
    """Make the broker compact oo.rows now, as it would after a day; returns when it has."""
    prefix = scene.stack.running.cluster.prefix
    client = AdminClient({"bootstrap.servers": scene.stack.running.cluster.bootstrap, "log_level": 0})
    fast = {"min.compaction.lag.ms": "0", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.001"}
    slow = {"min.compaction.lag.ms": "86400000", "segment.ms": "604800000", "min.cleanable.dirty.ratio": "0.5"}

    def alter(settings: dict[str, str]) -> None:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in settings.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, f"{prefix}rows", incremental_configs=entries)
        for future in client.incremental_alter_configs([resource]).values():
            future.result(30)

    def count() -> int:
        return sum(1 for _ in scene.oracle.log.news("rows", again=True))

    before = count()
    alter(fast)
    try:
        # A segment is closed by the next write after its time: the writing that goes on does it.
        took_s = scene.stack.until(lambda: count() < before * 0.6, what="compaction")
        scene.stack.wait(18)  # one more turn of the cleaner, for what was written meanwhile
        scene.notes.append(f"compacted from {before} to {count()} records after {took_s:.0f} s")
    finally:
        alter(slow)
