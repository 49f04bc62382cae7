"""Small questions to servers: does it serve yet? In each server's own protocol, without its client library.

They never raise for a server that is not there, and a yes says nothing about a moment later. The supervisor stays up as
long as the stack and asks nothing else, so it stays small.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from pathlib import Path

from deploy.stack.state import LOOPBACK

TIMEOUT_S = 2.0

_KAFKA_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""Length, API key 18, version 0, correlation id, no client id."""

_POSTGRES_START = b"user\0postgres\0database\0postgres\0\0"
_POSTGRES_PROTOCOL = 196_608


async def exchange(port: int, question: bytes, *, enough: int = 1, ca_file: Path | None = None) -> bytes:
    """The first bytes that a server on this loopback port answers; empty when it does not. Over TLS with `ca_file`."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            context = None if ca_file is None else ssl.create_default_context(cafile=ca_file)
            reader, writer = await asyncio.open_connection(LOOPBACK, port, ssl=context)
            try:
                writer.write(question)
                return await reader.readexactly(enough)
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return b""


async def kafka(port: int, ca_file: Path | None = None) -> bool:
    """Whether the broker processes requests: it opens its port long before. It answers this before a client signs in."""
    return len(await exchange(port, _KAFKA_API_VERSIONS, enough=8, ca_file=ca_file)) == 8


async def valkey(port: int) -> bool:
    """Whether the server answers a ping; while it loads its file it says so instead."""
    return await exchange(port, b"PING\r\n", enough=5) == b"+PONG"


async def postgres(port: int) -> bool:
    """Whether the server asks for a password; while it recovers it answers with an error instead."""
    body = struct.pack(">i", _POSTGRES_PROTOCOL) + _POSTGRES_START
    return await exchange(port, struct.pack(">i", len(body) + 4) + body) == b"R"


async def http(port: int, path: str) -> bool:
    """Whether a GET answers 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n"
    return (await exchange(port, request.encode(), enough=12)).endswith(b" 200")
