"""The messages of a topic that is followed without a group; what does not unframe is told of and passed over.

It sends no dead letter: only our own processes write to such topics.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from google.protobuf.message import Message

from streams.frames import BadFrame, Schemas
from streams.reader import Tail
from streams.record import Record

logger = logging.getLogger(__name__)


async def messages(schemas: Schemas, name: str, tail: Tail) -> AsyncIterator[tuple[Record, Message]]:
    """Each record with its message, for ever. `name`: the topic's short one."""
    async for records in tail:
        for record in records:
            try:
                message = schemas.unframe(name, record.value)
            except BadFrame as bad:
                logger.warning("record.skipped topic=%s offset=%d reason=%s", name, record.offset, bad.reason)
                continue
            yield record, message
