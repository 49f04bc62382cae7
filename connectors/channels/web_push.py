"""Web push: encrypted for the browser alone (RFC 8291, aes128gcm), signed for its push service (RFC 8292, VAPID).

A push service that is told the same Topic again keeps the newer one alone, and a page shows one notification of a tag: a repeat is no
second one. It never follows a redirect, which is no sending.
"""

from __future__ import annotations

import json
from typing import Any, Final

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt

from connectors.channels.channel import Notice, NotSent, Told
from connectors.channels.posting import Posting, judge, origin
from connectors.channels.texts import TEXTS
from connectors.channels.words import public_text
from oo.v1.device_pb2 import Device
from oo.v1.device_pb2 import WebPush as DeviceAddress
from streams.clock import clock_ms

BYTES_MAX: Final = 4096
"""Of a message as it goes out: more is refused by push services, or dropped."""
TEXT_BYTES_MAX: Final = BYTES_MAX - 103
"""Encryption adds a head of 86, a delimiter and a tag of 16."""
_SIGNED_FOR_S: Final = 12 * 3600
"""A signature may stand for 24 hours (RFC 8292)."""


class WebPush:
    """All push services."""

    def __init__(self, told: Told) -> None:
        self._key, self._contact = told.key, told.contact
        self._posting = Posting(told.inside)
        self._public = public_text(told.key)

    async def close(self) -> None:
        await self._posting.close()

    async def send(self, to: Device, notice: Notice) -> None:
        where = to.web_push
        headers = {
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(notice.left_s),
            "topic": notice.delivery_id,
            "urgency": "normal",
            "authorization": self._signed(where.endpoint),
        }
        judge(await self._posting.post(where.endpoint, content=encrypted(payload(notice), where), headers=headers))

    def _signed(self, endpoint: str) -> str:
        claims = {"aud": origin(endpoint), "exp": clock_ms() // 1000 + _SIGNED_FOR_S, "sub": self._contact}
        token = jwt.encode({"typ": "JWT", "alg": "ES256"}, claims, self._key)
        return f"vapid t={token}, k={self._public}"


def open_channel(told: Told) -> WebPush:
    """Open it."""
    return WebPush(told)


def payload(notice: Notice) -> bytes:
    """What the page's service worker is given: JSON of as many bytes as fit, a long text cut off."""
    texts = TEXTS[notice.language]
    said: dict[str, Any] = {
        "title": notice.title,
        "body": notice.detail or " ".join(notice.why[:1]),
        "tag": notice.decision_id,
        "lang": notice.language,
        "url": notice.url,
        "decision_id": notice.decision_id,
        "delivery_id": notice.delivery_id,
        "reaction_token": notice.reaction_token,
        "actions": [{"action": one, "title": texts[one]} for one in ("done", "snooze", "dismiss")],
    }
    for field in ("body", "title"):
        while (over := len(_json(said)) - TEXT_BYTES_MAX) > 0 and len(said[field]) > 1:
            # A character is six bytes at the most; the sign in its place is three.
            said[field] = said[field][: -2 - over // 6].rstrip() + "…"
    return _json(said)


def encrypted(text: bytes, where: DeviceAddress) -> bytes:
    """What this browser alone opens. Raises NotSent where its keys are none."""
    try:
        body = http_ece.encrypt(
            text,
            private_key=ec.generate_private_key(ec.SECP256R1()),
            dh=where.p256dh,
            auth_secret=where.auth,
            version="aes128gcm",
        )
    except (ValueError, http_ece.ECEException):
        raise NotSent("bad-keys", again_s=None) from None
    assert isinstance(body, bytes)
    return body


def _json(said: dict[str, Any]) -> bytes:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
