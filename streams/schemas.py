"""Frames whose ids are the registry's, and protobuf JSON on the public topics.

It never checks a message's rules (that is the door's work) and never reads or writes a topic.
Only `register` and the look-up of a foreign producer's schema id speak to the registry; with it down, known ids go on, and
where they were kept a process starts too.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Final, cast

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message

from streams.cluster import Cluster
from streams.frames import MESSAGES, Frames, expected, index_of
from streams.registry import Found, Registry, RegistryError, imports
from streams.topics import NAMES
from streams.wire import BadFrame, from_json, header, is_json, parse, read_header

LOOK_UP_TIMEOUT_S: Final = 2.0
UNKNOWN_KEPT_S: Final = 30.0
UNKNOWN_KEPT_MAX: Final = 1024
OUTAGE_KEPT_S: Final = 5.0
ASKED_AT_ONCE: Final = 4
"""Subjects that are looked up at the same time."""


class Schemas(Frames):
    """Frames and unframes every topic's values, once `register` has returned."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        timeout_s: float = 5.0,
        attempts: int = 5,
        clock: Callable[[], float] = time.monotonic,
        kept: Path | None = None,
    ) -> None:
        """`kept`: what `keep` wrote; `register` then asks nobody, where it was of this registry and of these schemas."""
        self._topics = cluster.topics
        self._url, self._timeout_s, self._attempts = cluster.registry_url, timeout_s, attempts
        self._kept = kept
        self._found: dict[str, Found] = {}
        self._clock = clock
        self._headers = {}
        self._types: dict[str, dict[bytes, type[Message]]] = {name: {} for name in NAMES}
        self._ids: dict[str, set[int]] = {name: set() for name in NAMES}
        self._unknown: OrderedDict[int, float] = OrderedDict()
        self._outage_until_s = float("-inf")

    def close(self) -> None:
        """Gives back the connections to the registry. Known frames go on; nothing may be looked up afterwards."""
        for name in ("_registry", "_look_up_registry"):
            if name in self.__dict__:
                getattr(self, name).close()

    @cached_property
    def _registry(self) -> Registry:
        """Made where it is needed: that takes 25 ms."""
        return Registry(self._url, timeout_s=self._timeout_s, attempts=self._attempts)

    @cached_property
    def _look_up_registry(self) -> Registry:
        """Asked while an agent waits, so: one attempt, and a short one."""
        return Registry(self._url, timeout_s=LOOK_UP_TIMEOUT_S, attempts=1)

    def keep(self, path: Path) -> None:
        """Writes down what `register` has learned, for processes that start later."""
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(json.dumps({"of": self._digest(), "topics": self._found}))
        fresh.replace(path)

    async def register(self) -> None:
        """Registers each topic's schema that is not there, and learns the ids of all versions, so that old records can be read.

        Raises IncompatibleSchema or RegistryError, both of one line; nothing may run after either.
        """
        await asyncio.to_thread(self._register)

    def unframe(self, name: str, value: bytes | None) -> Message:
        """The message in a framed value; raises BadFrame. Asks nobody: an id that was not there at start is unknown."""
        if value:
            known = self._types[name]
            for length in (6, 7):
                kind = known.get(value[:length])
                if kind is not None:
                    return parse(kind, value[length:])
        return super().unframe(name, value)

    async def unframe_public(
        self,
        name: str,
        value: bytes | None,
        *,
        headers: Iterable[tuple[str, bytes | None]] = (),
        asking: Callable[[], None] = lambda: None,
    ) -> Message:
        """As `unframe`, for values of foreign producers: JSON by its content-type, and schema ids newer than our start.

        An id that is not known is looked up once, then remembered as unknown for 30 s. With the registry down the
        reason is `registry-unavailable` (worth a redrive), and the next look-up is after 5 s. `asking` is called before
        anything is waited for.
        """
        bytes_max = self._topics[name].message_bytes_max
        if is_json(headers):
            return from_json(MESSAGES[name][0], value, bytes_max=bytes_max)
        if value is not None and len(value) > bytes_max:
            # Kafka's own bound holds for the compressed batch; what it held may not fit into the journal.
            raise BadFrame("too-large", f"{len(value)} bytes; the most is {bytes_max}, before compression")
        try:
            return self.unframe(name, value)
        except BadFrame as bad:
            if bad.reason != "unknown-schema" or value is None:
                raise
            asking()
            await self._look_up(name, read_header(value)[0])
        return self.unframe(name, value)

    def _register(self) -> None:
        self._found = self._read_kept() or self._asked()
        for name, (mine, versions) in self._found.items():
            for schema_id, names in versions.items():
                self._learn(name, schema_id, names)
            assert mine is not None, "it was registered"
            for kind in MESSAGES[name]:
                self._headers[name, kind] = header(mine, index_of(kind))

    def _read_kept(self) -> dict[str, Found]:
        """What was kept of these very schemas; empty where it is not there, or of others."""
        try:
            kept = json.loads(self._kept.read_text()) if self._kept is not None else {}
            if kept.get("of") != self._digest():
                return {}
            return {
                name: Found(mine, {int(number): tuple(names) for number, names in versions.items()})
                for name, (mine, versions) in kept["topics"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _asked(self) -> dict[str, Found]:
        with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="registry") as pool:
            found = dict(zip(self._topics, pool.map(self._find, self._topics), strict=True))
        for name, topic in self._topics.items():
            if found[name].mine is None:
                file = _file(MESSAGES[name][0])
                mine = self._registry.register(_subject(topic.name), file)
                # Not asked for again: confluent-kafka 2.16 still answers with the version that was the latest before.
                names = tuple(kind.full_name for kind in file.message_types_by_name.values())
                found[name] = Found(mine, {**found[name].versions, mine: names})
        return found

    def _digest(self) -> str:
        """Of the registry's address, the topics' names, and all files that are registered."""
        told, ahead = [self._url.encode()], [_file(MESSAGES[name][0]) for name in self._topics]
        told += [f"{topic.name} {_file(MESSAGES[name][0]).name}".encode() for name, topic in self._topics.items()]
        files: dict[str, bytes] = {}
        while ahead:
            file = ahead.pop()
            files[file.name] = file.serialized_pb
            ahead += [imported for imported in imports(file) if imported.name not in files]
        return hashlib.sha256(b"\0".join([*told, *(files[name] for name in sorted(files))])).hexdigest()

    def _find(self, name: str) -> Found:
        return self._registry.find(_subject(self._topics[name].name), _file(MESSAGES[name][0]))

    def _learn(self, name: str, schema_id: int, names: tuple[str, ...]) -> None:
        """Makes a schema id readable on a topic. `names` are the writer's, whose order need not be ours."""
        self._ids[name].add(schema_id)
        kinds = {kind.DESCRIPTOR.full_name: kind for kind in MESSAGES[name]}
        for index, full_name in enumerate(names):
            if full_name in kinds:
                self._types[name][header(schema_id, index)] = kinds[full_name]

    async def _look_up(self, name: str, schema_id: int) -> None:
        """Learns an id that was registered after our start, or raises BadFrame."""
        registry, now_s = self._look_up_registry, self._clock()
        if self._unknown.get(schema_id, now_s) > now_s:
            raise BadFrame("unknown-schema", f"the registry does not know schema id {schema_id}")
        if now_s < self._outage_until_s:
            raise _unavailable(schema_id)
        subject = _subject(self._topics[name].name)
        try:
            async with asyncio.timeout(2 * LOOK_UP_TIMEOUT_S):
                subjects = await asyncio.to_thread(registry.subjects, schema_id)
                names = await asyncio.to_thread(registry.names, schema_id) if subject in subjects else ()
        except (RegistryError, TimeoutError) as error:
            self._outage_until_s = self._clock() + OUTAGE_KEPT_S
            raise _unavailable(schema_id) from error
        if not subjects:
            self._remember_unknown(schema_id)
            raise BadFrame("unknown-schema", f"the registry does not know schema id {schema_id}")
        if subject not in subjects:
            raise BadFrame("wrong-schema", f"schema id {schema_id} belongs to {subjects[0]}, not to {subject}")
        self._learn(name, schema_id, names)

    def _remember_unknown(self, schema_id: int) -> None:
        self._unknown[schema_id] = self._clock() + UNKNOWN_KEPT_S
        while len(self._unknown) > UNKNOWN_KEPT_MAX:
            self._unknown.popitem(last=False)

    def _kind(self, name: str, schema_id: int, index: int) -> type[Message] | None:
        return self._types[name].get(header(schema_id, index))

    def _not_read(self, name: str, schema_id: int, path: tuple[int, ...]) -> BadFrame:
        if schema_id in self._ids[name]:
            return super()._not_read(name, schema_id, path)
        for other, ids in self._ids.items():
            if schema_id in ids:
                return BadFrame("wrong-schema", f"schema id {schema_id} belongs to topic {other}, not to {name}")
        return BadFrame("unknown-schema", f"schema id {schema_id} is not one of {expected(name)}")


def _unavailable(schema_id: int) -> BadFrame:
    return BadFrame(
        "registry-unavailable",
        f"schema id {schema_id} is not known, and the registry did not answer; send it again later",
    )


def _file(kind: type[Message]) -> FileDescriptor:
    return cast(FileDescriptor, kind.DESCRIPTOR.file)  # the stubs name the C class beside it


def _subject(topic: str) -> str:
    return f"{topic}-value"
