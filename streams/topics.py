"""The one table of topics: what each is keyed by, how long it stays, how large a message may be.

It never talks to Kafka: deploy creates what stands here, agents and tests read it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from streams.units import DAY_MS, HOUR_MS

MIB = 1024 * 1024
FOREVER = -1
SEGMENT_MS = 12 * HOUR_MS
"""Of what is deleted or compacted: Kafka frees whole segments, and with its own default "seven days" are fourteen."""
COMPACTED_MS = 2 * DAY_MS
"""The longest that what was overwritten stays where somebody writes (streams/heartbeat.py sees to that)."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic's settings. `partitions` is fixed for life: changing it means a replay into a new journal."""

    name: str
    value: str
    """Full name of the protobuf message in its values."""
    key: Literal["user", "user and key id", "day, model, process", "partition", "version", "policy", "source", "any"]
    partitions: int
    cleanup: Literal["delete", "compact"]
    retention_ms: int
    message_bytes_max: int
    timestamp: Literal["CreateTime", "LogAppendTime"] = "CreateTime"
    public: bool = False
    trimmed: bool = False
    """Kafka itself takes nothing from it: `oo snapshots tend` does, by offset, where a row snapshot stands for what goes."""

    @property
    def config(self) -> dict[str, str]:
        """Kafka's own names for these settings."""
        config = {
            "cleanup.policy": self.cleanup,
            "max.message.bytes": str(self.message_bytes_max),
            "message.timestamp.type": self.timestamp,
        }
        if self.cleanup == "compact":
            # A zombie's late write must still be there to be found and put right before the cleaner may keep it.
            config["min.compaction.lag.ms"] = str(DAY_MS)
            config["max.compaction.lag.ms"] = str(COMPACTED_MS)
            config["delete.retention.ms"] = str(DAY_MS)
        else:
            config["retention.ms"] = str(FOREVER if self.trimmed else self.retention_ms)
        if self.gone_ms != FOREVER:
            config["segment.ms"] = str(SEGMENT_MS)
        return config

    @property
    def gone_ms(self) -> int:
        """The longest that a record may be found on a disk after it was to go: overwritten, or older than what is kept.

        With the time that Kafka takes to look, and with heartbeats. FOREVER where nothing ever goes.
        """
        if self.cleanup == "compact":
            return COMPACTED_MS + SEGMENT_MS + HOUR_MS * 2
        if self.trimmed:
            # Where it is tended once a day: it begins at one of the snapshots, which lie so far apart.
            return self.retention_ms // TRIM_STEPS + DAY_MS * 2 + SEGMENT_MS + HOUR_MS
        return FOREVER if self.retention_ms == FOREVER else SEGMENT_MS + HOUR_MS


PUBLIC_DAYS = 7
"""How long the public topics keep what producers write, unless OO_PUBLIC_DAYS says otherwise."""
JOURNAL_DAYS = 90
"""How long the journal keeps a record at the least, unless OO_JOURNAL_DAYS says otherwise."""
TRIM_STEPS = 4
"""In so many steps the journal's beginning moves on by that time: for each a row snapshot is kept."""
PARTITIONS = 8
"""Of every topic keyed by user; one number, so that a user's number is the same everywhere."""

_TABLE = (
    Topic("signals", "oo.v1.Signal", "user", PARTITIONS, "delete", PUBLIC_DAYS * DAY_MS, MIB, public=True),
    Topic("reactions", "oo.v1.Reaction", "user", PARTITIONS, "delete", PUBLIC_DAYS * DAY_MS, MIB, public=True),
    # Of the person themself: only the edge and operators write here.
    Topic("subject-requests", "oo.v1.SubjectRequest", "user", PARTITIONS, "delete", 7 * DAY_MS, MIB),
    Topic(
        *("journal", "oo.v1.JournalRecord", "user", PARTITIONS, "delete", JOURNAL_DAYS * DAY_MS, 2 * MIB),
        timestamp="LogAppendTime",
        trimmed=True,
    ),
    # What every fold passes over; kept as long as the journal.
    Topic("set-aside", "oo.v1.SetAside", "source", 1, "delete", FOREVER, MIB),
    # Who left: read before anything is folded, kept as long as the journal. Stamped by the broker, for `shadow`.
    Topic("erasures", "oo.v1.Erased", "user", PARTITIONS, "delete", FOREVER, MIB, "LogAppendTime"),
    # Wrapped: of no use without the key-encryption key, which stands elsewhere.
    Topic("keys", "oo.v1.WrappedKey", "user and key id", PARTITIONS, "compact", FOREVER, MIB),
    Topic("rows", "oo.v1.UserRow", "user", PARTITIONS, "compact", FOREVER, 4 * MIB),
    # Stamped by the broker, so that `shadow` takes them in one order (streams/in_order.py).
    Topic("decisions", "oo.v1.Decision", "user", PARTITIONS, "delete", 90 * DAY_MS, 4 * MIB, "LogAppendTime"),
    Topic("outcomes", "oo.v1.Outcome", "user", PARTITIONS, "delete", 90 * DAY_MS, 4 * MIB, "LogAppendTime"),
    Topic("tips", "oo.v1.Tip", "user", PARTITIONS, "compact", FOREVER, 4 * MIB),
    Topic("settings", "oo.v1.Settings", "user", PARTITIONS, "compact", FOREVER, MIB),
    # One partition, so that one agent adds them all.
    Topic("policy-sums", "oo.v1.PartitionSums", "partition", 1, "compact", FOREVER, 4 * MIB),
    Topic("policies", "oo.v1.PolicyVersion", "version", 1, "compact", FOREVER, 4 * MIB),
    Topic("shadows", "oo.v1.ShadowDecision", "user", PARTITIONS, "delete", 90 * DAY_MS, 4 * MIB),
    Topic("estimates", "oo.v1.Estimate", "policy", 1, "compact", FOREVER, 4 * MIB),
    # Few, and each changes what everybody is told: kept for ever, in order.
    Topic("promotions", "oo.v1.Promotion", "policy", 1, "delete", FOREVER, 4 * MIB, "LogAppendTime"),
    Topic("candidate-requests", "oo.v1.CandidateRequest", "user", PARTITIONS, "delete", 7 * DAY_MS, MIB),
    # No longer than the requests that they are of.
    Topic("shadow-candidates", "oo.v1.ShadowCandidates", "user", PARTITIONS, "delete", 7 * DAY_MS, MIB),
    # One partition: few records, and whoever asks reads all of it.
    Topic("model-budget", "oo.v1.ModelBudget", "day, model, process", 1, "compact", FOREVER, MIB),
    Topic("deliveries", "oo.v1.Delivery", "user", PARTITIONS, "delete", 7 * DAY_MS, 4 * MIB),
    Topic("dead-letters", "oo.v1.DeadLetter", "source", 1, "delete", 30 * DAY_MS, 4 * MIB),
    # Who looked at whose words; operators may add, and nobody may change.
    Topic("audit", "oo.v1.AuditEntry", "user", PARTITIONS, "delete", 400 * DAY_MS, MIB, "LogAppendTime"),
)

NAMES = tuple(topic.name for topic in _TABLE)
ENTRANCES = {"signal": "signals", "reaction": "reactions", "subject_request": "subject-requests"}
"""Topics through which something of a person comes in, by the payload that the journal then has of it."""


def topics(prefix: str = "oo.") -> dict[str, Topic]:
    """Every topic by its short name, with its full name in it.

    >>> topics()["journal"].name
    'oo.journal'
    >>> topics("test.")["tips"].config["cleanup.policy"]
    'compact'
    """
    return {topic.name: replace(topic, name=prefix + topic.name) for topic in _TABLE}


def group(process: str, *, prefix: str = "oo.") -> str:
    """The consumer group of a process; one of its own for each prefix, so that two on one broker never share.

    >>> group("core"), group("core", prefix="test.")
    ('oo-core', 'test-core')
    """
    return f"{prefix}{process}".replace(".", "-")
