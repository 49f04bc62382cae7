"""Writing to a stack's topics, as a command does: for as long as it runs, with schemas that the registry knows."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.stack.running import RunningStack
from streams.producer import Producer
from streams.schemas import Schemas


@asynccontextmanager
async def writing(stack: RunningStack, *, client_id: str) -> AsyncIterator[tuple[Producer, Schemas]]:
    """Give what writes, and what frames. Raises RegistryError; who waits for what they have sent hears of DeliveryFailed.

    Where the start of a local stack has kept what the registry says, nobody is asked again.
    """
    # The client says ten times a second of a broker that is away what the producer says once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    schemas = Schemas(stack.cluster, kept=stack.folder.schemas_file)
    producer = Producer(stack.cluster, client_id=client_id)
    try:
        await schemas.register()
        yield producer, schemas
    finally:
        await producer.close()
        schemas.close()
