"""Who may read and write which topic: one table, and what it comes to as Kafka's access control lists. Pure.

A role has what stands here and nothing else. `ADMIN`, as whom `oo up` makes topics and users, is Kafka's super user, so it has
no line. Which role may touch which of Valkey's keys stands in valkey.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from streams.cluster import Cluster
from streams.topics import NAMES

ADMIN = "admin"
PROMOTER = "promoter"
"""Who says which policy decides."""
REDRIVER = "redriver"
"""Who sends dead letters again."""
REPLAYER = "replayer"
"""Who writes topics of runs of `oo replay`."""
RUNS = "replay."
"""How the short names of these begin."""
ROTATOR = "rotator"
"""Who wraps everybody's keys anew."""
READER_GROUP = "oo-reader"
"""Which readers without a group name to the client library (streams/reader.py): nobody joins it or commits to it."""


@dataclass(frozen=True, slots=True)
class Rights:
    """Of one role, in short names of topics."""

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    in_a_group: bool = False
    """Reads in the consumer group of its own name, and commits there."""
    looks_around: bool = True
    """May ask for names, ids, partitions and offsets of our topics, which shows no record."""
    reads_runs: bool = False
    """And topics of runs."""
    makes_runs: bool = False
    """Makes topics of runs, writes them and removes them."""
    watches: bool = False
    """May ask how far every group is, and who is in it."""


RIGHTS = {
    "core": Rights(
        reads=(
            *("signals", "reactions", "subject-requests", "journal", "set-aside", "erasures", "keys", "rows"),
            *("policy-sums", "policies", "estimates", "promotions"),
        ),
        writes=(
            *("journal", "set-aside", "erasures", "keys", "rows", "decisions", "outcomes", "tips", "settings"),
            "candidate-requests",
            "deliveries",
            # Estimates are the shadow's; the core's heartbeat keeps every compacted topic going (streams/heartbeat.py).
            *("policy-sums", "policies", "estimates", "model-budget", "dead-letters"),
        ),
        in_a_group=True,
    ),
    "publish": Rights(reads=("tips", "settings", "erasures"), writes=("dead-letters",), in_a_group=True),
    "record": Rights(reads=("decisions", "outcomes", "erasures", "keys"), writes=("dead-letters",), in_a_group=True),
    "shadow": Rights(
        reads=("decisions", "outcomes", "erasures", "keys", "shadows", "promotions"),
        writes=("shadows", "estimates", "promotions"),
    ),
    "generate": Rights(
        reads=("candidate-requests", "journal", "erasures", "keys", "model-budget"),
        writes=("journal", "shadow-candidates", "model-budget", "dead-letters"),
        in_a_group=True,
    ),
    "score": Rights(
        reads=("decisions", "promotions", "keys"),
        writes=("journal", "dead-letters"),
        in_a_group=True,
    ),
    "connect": Rights(
        reads=("outcomes", "settings", "erasures", "keys"), writes=("signals", "dead-letters"), in_a_group=True
    ),
    "notify": Rights(reads=("deliveries", "erasures", "keys"), writes=("dead-letters",), in_a_group=True),
    # What it reads beside `keys` and `erasures` is for a person's own export, in a process that it starts for that (serving/exports.py).
    "edge": Rights(
        reads=(
            "journal",
            "rows",
            "tips",
            "settings",
            "decisions",
            "outcomes",
            "candidate-requests",
            "shadow-candidates",
            "deliveries",
            "shadows",
            "erasures",
            "keys",
            "dead-letters",
            "audit",
        ),
        writes=("signals", "reactions", "subject-requests"),
    ),
    "producer": Rights(writes=("signals", "reactions"), looks_around=False),
    # What it writes is what a person would: `oo import`, `watch` and `profile` signals, `profile` and `erase` requests. And notes of its looks.
    "operator": Rights(reads=NAMES, writes=("signals", "subject-requests", "audit"), reads_runs=True, watches=True),
    PROMOTER: Rights(reads=("promotions",), writes=("promotions", "audit")),
    # What these send is read by the operator.
    REDRIVER: Rights(writes=("signals", "reactions", "subject-requests", "audit"), looks_around=False),
    REPLAYER: Rights(writes=("audit",), makes_runs=True),
    ROTATOR: Rights(writes=("keys", "audit"), looks_around=False),
}
"""Every role that signs in to Kafka, but ADMIN. `oo` is the operator, unless it is told another one by name."""


class Acl(NamedTuple):
    """One line of Kafka's: this operation on this is allowed. Kafka's own words; reading and writing imply describing."""

    resource: str
    name: str
    pattern: str
    operation: str


def acls(rights: Rights, role: str, cluster: Cluster) -> frozenset[Acl]:
    """What Kafka is told of one role.

    >>> sorted(acls(RIGHTS["producer"], "producer", Cluster("127.0.0.1:9092")))[1]
    Acl(resource='TOPIC', name='oo.signals', pattern='LITERAL', operation='WRITE')
    """
    return frozenset(_acls(rights, role, cluster))


def _acls(rights: Rights, role: str, cluster: Cluster) -> Iterable[Acl]:
    yield from (Acl("TOPIC", cluster.name(topic), "LITERAL", "READ") for topic in rights.reads)
    yield from (Acl("TOPIC", cluster.name(topic), "LITERAL", "WRITE") for topic in rights.writes)
    runs = f"{cluster.prefix}{RUNS}"
    if rights.reads_runs:
        yield Acl("TOPIC", runs, "PREFIXED", "READ")
    if rights.makes_runs:
        yield from (Acl("TOPIC", runs, "PREFIXED", operation) for operation in ("CREATE", "WRITE", "DELETE"))
    if rights.looks_around:
        yield Acl("TOPIC", cluster.prefix, "PREFIXED", "DESCRIBE")
    if rights.reads:
        # The library asks who coordinates the group that it was told, also where nobody joins it.
        yield Acl("GROUP", READER_GROUP, "LITERAL", "DESCRIBE")
    if rights.in_a_group:
        yield Acl("GROUP", cluster.group(role), "LITERAL", "READ")
    if rights.watches:
        yield Acl("GROUP", "*", "LITERAL", "DESCRIBE")
        yield Acl("CLUSTER", "kafka-cluster", "LITERAL", "DESCRIBE")
