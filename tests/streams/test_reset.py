"""What uvloop raises of a connection that was just reset is a lost connection to aiokafka; all else stays what it is."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError, NodeNotReadyError

from streams import reset


@pytest.mark.parametrize(
    ("raised", "heard"),
    [
        pytest.param(RuntimeError("the handler is closed"), KafkaConnectionError, id="uvloop's"),
        pytest.param(NodeNotReadyError(), NodeNotReadyError, id="aiokafka's"),
        pytest.param(RecursionError(), RecursionError, id="a bug"),
    ],
)
def test_what_uvloop_raises_is_a_lost_connection(raised: Exception, heard: type[Exception]) -> None:
    async def asked() -> None:
        client = AIOKafkaClient()

        async def fail(*_: object, **__: object) -> None:
            raise raised

        client.send = client._get_conn = client._metadata_update = fail
        reset.mend(client)
        with pytest.raises(heard):
            await client.send(0, None)
        if heard is KafkaConnectionError:
            assert await client._get_conn(0) is None
            assert not await client._metadata_update(client.cluster, [])
        else:
            with pytest.raises(heard):
                await client._get_conn(0)

    asyncio.run(asked())
    assert issubclass(KafkaError, RuntimeError), "so each has to be told from the other"
