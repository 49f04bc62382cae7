"""Partitions that stand or that nobody reads, each with its cause: an operator's view from outside.

It asks the broker's view, each worker's /readyz, and the counts that a worker which ends again and again has left in its
folder. It never changes any of them.
"""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from deploy.stack.groups import View
from streams.cluster import Cluster

TIMEOUT_S = 2.0
READERS = {
    "signals": "core",
    "reactions": "core",
    "subject-requests": "core",
    "journal": "core",
    "policy-sums": "core",
    "tips": "publish",
    "settings": "publish",
    "decisions": "record",
    "outcomes": "record",
    "erasures": "record",
    "candidate-requests": "generate",
    "deliveries": "notify",
}
"""Which process takes each topic."""
ENDS = "ends.json"
"""What agents.in_hand leaves in a worker's folder."""


def stalls(
    seen: View, cluster: Cluster, *, pages: Iterable[str], folders: Iterable[Path], topic_ids: Mapping[str, str]
) -> list[dict[str, Any]]:
    """One entry a partition, `{topic, partition, offset, cause}`. `pages`: of workers; `topic_ids`: names by id in hex."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    told = [stall for page in pages for stall in _asked(page)]
    for stall in (*_counted(folders, topic_ids, seen, cluster.group("core")), *told, *_unread(seen, cluster)):
        found.setdefault((stall["topic"], stall["partition"]), stall)
    return [found[place] for place in sorted(found)]


def _unread(seen: View, cluster: Cluster) -> Iterable[dict[str, Any]]:
    """Partitions in which records wait and that no member of their group holds, once the group has settled."""
    for short, process in READERS.items():
        topic, reader = cluster.name(short), cluster.group(process)
        if reader not in seen.settled:
            continue
        held = {place for member in seen.members if member.group == reader for place in member.partitions}
        if process in ("generate", "notify") and not held:
            # They run only where a language model is asked, or people are told, and nobody waits for them.
            continue
        for place in sorted(place for place in seen.offsets if place[0] == topic and place not in held):
            if seen.lag(reader, (place,)):
                at = seen.committed.get(reader, {}).get(place, seen.offsets[place].start)
                cause = f"no worker reads it: {seen.lag(reader, (place,))} wait"
                yield {"topic": topic, "partition": place[1], "offset": at, "cause": cause}


def _asked(page: str) -> list[dict[str, Any]]:
    """What a worker says of itself; nothing where it does not answer, which shows elsewhere."""
    try:
        with urllib.request.urlopen(page, timeout=TIMEOUT_S) as answer:
            body = answer.read()
    except urllib.error.HTTPError as refused:
        body = refused.read()
    except OSError:
        return []
    try:
        return list(json.loads(body)["stalled"])
    except (ValueError, KeyError, TypeError):
        return []


def _counted(
    folders: Iterable[Path], topic_ids: Mapping[str, str], seen: View, reader: str
) -> Iterable[dict[str, Any]]:
    """Records over which workers have ended, and that their group has not passed since."""
    done = seen.committed.get(reader, {})
    for folder in folders:
        try:
            counts = json.loads((folder / ENDS).read_text())
        except (OSError, ValueError):
            continue
        for topic_id, partition, offset, ends in counts:
            if topic_id in topic_ids and done.get((topic_ids[topic_id], partition), 0) <= offset:
                cause = f"{folder.name} ended {ends} times over it"
                yield {"topic": topic_ids[topic_id], "partition": partition, "offset": offset, "cause": cause}


def lag_told(page: str) -> int | None:
    """How far a worker says it is behind that reads in no group; None where it does not say."""
    with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(page, timeout=TIMEOUT_S) as answer:
        lag = json.load(answer).get("lag")
        return lag if isinstance(lag, int) else None
    return None
