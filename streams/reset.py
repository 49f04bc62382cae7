"""A write to a connection that was just reset: asyncio drops it, uvloop raises a RuntimeError, of which aiokafka 0.14's tasks die
without a word."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiokafka.errors import KafkaConnectionError

log = logging.getLogger(__name__)


def mend(client: Any) -> None:
    """Have this client of aiokafka's take it for a lost connection, after which it asks again."""
    client.send = partial(_sent, client.send)
    client._get_conn = partial(_none, client._get_conn)
    client._metadata_update = partial(_none, client._metadata_update)


async def _sent(send: Callable[..., Awaitable[Any]], *args: Any, **more: Any) -> Any:
    try:
        return await send(*args, **more)
    except RuntimeError as error:
        let_through(error)
        raise KafkaConnectionError(f"{error}") from error


async def _none(ask: Callable[..., Awaitable[Any]], *args: Any, **more: Any) -> Any:
    """No connection, or no metadata."""
    try:
        return await ask(*args, **more)
    except RuntimeError as error:
        let_through(error)
        log.warning("kafka.unanswered error=%s", error)
        return None


def let_through(error: RuntimeError) -> None:
    """What is more than a RuntimeError is not uvloop's: aiokafka's own errors, and bugs. Raises it."""
    if type(error) is not RuntimeError:
        raise error
