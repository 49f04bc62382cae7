"""What runs, where, and how far it has read: as `oo status`, `oo topics` and the console show it.

It never changes anything, and never shows a password.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import asdict
from typing import Any

from deploy.stack import scorer
from deploy.stack.groups import View, view
from deploy.stack.processes import Identity, alive
from deploy.stack.running import RunningStack
from deploy.stack.stalls import lag_told, stalls
from deploy.stack.state import LOOPBACK
from streams.reader import topic_ids
from tables.verified import VerifiedFile

SERVERS = {
    "kafka": "bootstrap",
    "registry": "url",
    "postgres": "dsn",
    "valkey": "url",
    "edge": "url",
    "llm": "url",
    "mlflow": "url",
    "scorer": "url",
}
"""The parts that a client connects to, and what their address is called."""


def overview(stack: RunningStack) -> dict[str, Any]:
    """A local stack's parts, or what Kafka says of the groups of one elsewhere."""
    return snapshot(stack) if stack.ports else from_outside(stack)


def snapshot(stack: RunningStack) -> dict[str, Any]:
    """Each part's address and pid, the workers with their lag, and whether all serve.

    A pid is null while its part does not run; a lag is null while Kafka does not answer. `stalled` names partitions that stand
    or that nobody reads: `{topic, partition, offset, cause}`; `verified` says, by partition, what its last verification in turn found.
    """
    state: dict[str, Any] = stack.folder.read() or {}
    parts: dict[str, dict[str, Any]] = state.get("parts", {})
    addresses = {
        "kafka": stack.cluster.bootstrap,
        "registry": stack.cluster.registry_url,
        "postgres": stack.shown_dsn("recommender"),
        "valkey": stack.shown_valkey_url,
    }
    if "edge" in parts:
        addresses["edge"] = stack.edge_url
    if "llm" in parts:
        addresses["llm"] = f"http://{LOOPBACK}:{stack.ports['llm']}/v1"
    if "mlflow" in parts:
        addresses["mlflow"] = stack.mlflow_url
    if "scorer" in parts:
        addresses["scorer"] = scorer.url(stack.ports["scorer"])
    shown: dict[str, Any] = {
        name: {SERVERS[name]: address, **_life(parts.get(name, {}))} for name, address in addresses.items()
    }
    if stack.producer_file is not None:
        shown["kafka"]["producer_file"] = str(stack.producer_file)
    if "preloaded" in parts:
        shown["preloaded"] = _life(parts["preloaded"])
    seen = _view(stack) if parts.get("kafka", {}).get("ready") else None
    shown["workers"] = [
        {"id": name, **_life(part), **_reading(stack.cluster.group(name.split("-", maxsplit=1)[0]), name, seen)}
        for name, part in parts.items()
        if name not in SERVERS and name not in ("demo", "preloaded")
    ]
    for worker in shown["workers"]:
        if worker["id"] == "shadow" and worker["pid"]:
            worker["lag"] = lag_told(f"http://{LOOPBACK}:{stack.ports['shadow']}/healthz")
    running = all(part["pid"] is not None for part in shown.values() if isinstance(part, dict))
    shown["stalled"] = [] if seen is None else _stalls(stack, shown["workers"], seen)
    serving = bool(state.get("ready")) and running and all(worker["pid"] for worker in shown["workers"])
    shown["ready"] = serving and not shown["stalled"]
    shown["phase"] = state.get("phase")
    shown["verified"] = {number: asdict(one) for number, one in VerifiedFile(stack.folder.verified_file).read().items()}
    return shown


def from_outside(stack: RunningStack) -> dict[str, Any]:
    """The same of a cluster elsewhere, by what Kafka says of its groups: whose pids they are is its own to know."""
    seen = _view(stack)
    workers = [
        {
            "id": member.instance_id or member.client_id,
            "pid": None,
            **_reading(member.group, member.instance_id or "", seen),
        }
        for member in (seen.members if seen is not None else ())
        if member.group.startswith(stack.cluster.group(""))
    ]
    stalled = [] if seen is None else _stalls(stack, [], seen)
    ready = seen is not None and not stalled and bool(workers)
    return {"kafka": {"bootstrap": stack.cluster.bootstrap}, "workers": workers, "stalled": stalled, "ready": ready}


def _life(part: dict[str, Any]) -> dict[str, Any]:
    """The pid of a part that runs at this moment, whatever the state file said a moment ago."""
    pid, born = part.get("pid"), part.get("born")
    here = pid is not None and born is not None and alive(Identity(pid, born))
    return {
        "pid": pid if here else None,
        "ready": bool(here and part.get("ready")),
        "restarts": part.get("restarts", 0),
    }


def _view(stack: RunningStack) -> View | None:
    from confluent_kafka import KafkaException

    try:
        return view(stack.cluster)
    except KafkaException:
        return None


def _stalls(stack: RunningStack, workers: list[dict[str, Any]], seen: View) -> list[dict[str, Any]]:
    names = [topic.name for topic in stack.cluster.topics.values() if (topic.name, 0) in seen.offsets]
    return stalls(
        seen,
        stack.cluster,
        pages=[f"http://{LOOPBACK}:{stack.ports[worker['id']]}/readyz" for worker in workers if worker["pid"]],
        folders=[stack.folder.data(worker["id"]) for worker in workers],
        topic_ids={found.hex(): name for name, found in asyncio.run(topic_ids(stack.cluster, names)).items()},
    )


def _reading(app: str, worker: str, seen: View | None) -> dict[str, Any]:
    """A worker's app, partitions and lag, from its group's committed offsets."""
    if seen is None:
        return {"app": app, "partitions": None, "lag": None}
    places = tuple(
        place
        for member in seen.members
        if member.group == app and member.instance_id == worker
        for place in member.partitions
    )
    by_topic: dict[str, list[int]] = defaultdict(list)
    for topic, number in places:
        by_topic[topic].append(number)
    # Without partitions, as while the group forms, it is not known how far behind it is: that is not 0.
    return {"app": app, "partitions": dict(by_topic), "lag": seen.lag(app, places) if places else None}


def topic_rows(seen: View) -> list[dict[str, Any]]:
    """One row a topic: partitions, offsets, and the lag of each group that reads it."""
    names = sorted({topic for topic, _ in seen.offsets})
    rows = []
    for name in names:
        places = tuple(place for place in seen.offsets if place[0] == name)
        readers = [
            group
            for group, done in seen.committed.items()
            if any(place in done for place in places)
            or any(place in member.partitions for member in seen.members if member.group == group for place in places)
        ]
        rows.append(
            {
                "topic": name,
                "partitions": len(places),
                "records": sum(seen.offsets[place].end - seen.offsets[place].start for place in places),
                "offsets": [[seen.offsets[place].start, seen.offsets[place].end] for place in sorted(places)],
                "lag": {group: seen.lag(group, places) for group in readers},
            }
        )
    return rows
