"""A write to a connection that was just reset: asyncio drops it, uvloop raises a RuntimeError, of which aiokafka 0.14's tasks die
without a word."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.errors import KafkaConnectionError, KafkaError

log = logging.getLogger(__name__)


async def sent(send: Callable[..., Awaitable[Any]], *args: Any, **more: Any) -> Any:
    """Send; raises what aiokafka takes for a lost connection, after which it asks again."""
    try:
        return await send(*args, **more)
    except KafkaError:
        raise
    except RuntimeError as error:
        raise KafkaConnectionError(f"{error}") from error


async def asked(update: Callable[..., Awaitable[bool]], *args: Any) -> bool:
    """Ask for metadata; False where nothing was heard."""
    try:
        return await update(*args)
    except KafkaError:
        raise
    except RuntimeError as error:
        log.warning("metadata.unanswered error=%s", error)
        return False
