"""Who holds a static name in its group: asked of the broker with the name, where aiokafka 0.14 leaves it out of what it asks.

Two living holders of one name would take its partitions from each other for ever: to a heartbeat without the name Kafka says
only that this member is not known, and aiokafka then joins again, as the name's new holder. It never decides who should
hold a name: whoever joined last does.
"""

from __future__ import annotations

from typing import Any

from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.types import Int16, Int32, Schema, String

FENCED_INSTANCE_ID = 82
"""Kafka's, of a member whose name another has taken. aiokafka does not know it."""


class _HeartbeatResponse(Response):  # type: ignore[misc]
    API_KEY = 12
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class _HeartbeatRequest(RequestStruct):  # type: ignore[misc]
    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = _HeartbeatResponse
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class HeartbeatByName(HeartbeatRequest):  # type: ignore[misc]
    """A heartbeat of aiokafka's, of a member with a name. A broker older than 2.3 gets it without."""

    def __init__(self, request: HeartbeatRequest, name: str) -> None:
        self.__dict__.update(request.__dict__)
        self._name = name

    def prepare(self, versions: dict[int, tuple[int, int]]) -> Any:
        """The request to send to a broker that knows these versions."""
        oldest, newest = versions[self.API_KEY]
        if not oldest <= _HeartbeatRequest.API_VERSION <= newest:
            return super().prepare(versions)
        return _HeartbeatRequest(self._group, self._generation_id, self._member_id, self._name)
