"""Whether Kafka lets this client in: asked once, before anything runs, since the client libraries would try for ever.

Never logs a secret.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from streams.cluster import Cluster

_TRY_S = 1.0
"""One attempt: between two of them is the time to hear why the first was refused."""


class Refused(Exception):
    """Kafka cannot be used with these settings; says which of them to mend, and holds no secret."""


async def check(cluster: Cluster, *, timeout_s: float = 10.0) -> None:
    """Return once Kafka has let this client in; raises Refused.

    The client libraries only log such a refusal and try again for ever. Returning says nothing about what the client
    may read and write.
    """
    await asyncio.to_thread(_check, cluster, timeout_s)


def _check(cluster: Cluster, timeout_s: float) -> None:
    security = cluster.security
    if security.protocol.startswith("SASL") and not (security.username and security.password):
        raise Refused(f"{security.protocol} needs OO_KAFKA_SASL_USERNAME and OO_KAFKA_SASL_PASSWORD")
    if security.ca_file is not None and not Path(security.ca_file).is_file():
        raise Refused(f"OO_KAFKA_CA_FILE names no file: {security.ca_file}")
    errors: list[KafkaError] = []
    settings: dict[str, Any] = {
        "log_level": 0,
        "error_cb": errors.append,
        "client.id": cluster.client_id("check"),
        **cluster.rdkafka(),
    }
    try:
        client = AdminClient(settings)
    except KafkaException as unusable:
        raise Refused(f"Kafka's client does not take these settings: {unusable.args[0].str()}") from None
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        try:
            client.list_topics(timeout=_TRY_S)
        except KafkaException as refused:
            client.poll(0)  # tells error_cb
            errors.append(refused.args[0])
        else:
            return
        for error in errors:
            if (why := _why(error, cluster)) is not None:
                raise Refused(why)
    raise Refused(
        f"Kafka at {cluster.bootstrap} does not answer within {timeout_s:g} s: check OO_KAFKA_BOOTSTRAP, and whether it speaks "
        f"{security.protocol} there (OO_KAFKA_SECURITY_PROTOCOL)"
    )


def _why(error: KafkaError, cluster: Cluster) -> str | None:
    """What no further attempt mends; None for what may pass."""
    if error.code() == KafkaError._AUTHENTICATION:  # noqa: SLF001 (its public name)
        return (
            f"Kafka at {cluster.bootstrap} refuses user {cluster.security.username} with "
            f"{cluster.security.mechanism}: check "
            "OO_KAFKA_SASL_USERNAME, OO_KAFKA_SASL_PASSWORD and OO_KAFKA_SASL_MECHANISM"
        )
    if error.code() == KafkaError._SSL:  # noqa: SLF001 (its public name)
        return (
            f"the certificate of Kafka at {cluster.bootstrap} is not trusted, or it is for another name: set OO_KAFKA_CA_FILE "
            f"to the authority that signed it ({error.str()})"
        )
    return None
