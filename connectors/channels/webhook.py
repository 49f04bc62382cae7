"""A webhook: JSON posted to an address of the person's, signed by Standard Webhooks. The same tip has the same `webhook-id`, by which
whoever listens tells a repeat.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

from connectors.channels.channel import Notice, Told
from connectors.channels.posting import Posting, judge
from oo.v1.device_pb2 import Device
from streams.clock import clock_ms


class Webhook:
    """All webhooks."""

    def __init__(self, told: Told) -> None:
        self._posting = Posting(told.inside)

    async def close(self) -> None:
        await self._posting.close()

    async def send(self, to: Device, notice: Notice) -> None:
        at_s = clock_ms() // 1000
        said = {
            "type": "tip",
            "timestamp": at_s,
            "data": {
                "decision_id": notice.decision_id,
                "delivery_id": notice.delivery_id,
                "title": notice.title,
                "detail": notice.detail,
                "why": list(notice.why),
                "url": notice.url,
                "reaction_token": notice.reaction_token,
            },
        }
        body = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {
            "content-type": "application/json",
            "webhook-id": f"msg_{notice.delivery_id}",
            "webhook-timestamp": str(at_s),
            "webhook-signature": signature(f"msg_{notice.delivery_id}", at_s, body, secret=to.webhook.secret),
        }
        judge(await self._posting.post(to.webhook.url, content=body, headers=headers))


def open_channel(told: Told) -> Webhook:
    """Open it."""
    return Webhook(told)


def signature(message_id: str, at_s: int, body: bytes, *, secret: bytes) -> str:
    """Return what the header `webhook-signature` says, version 1."""
    mac = hmac.new(secret, b"%b.%d.%b" % (message_id.encode(), at_s, body), hashlib.sha256)
    return f"v1,{base64.b64encode(mac.digest()).decode()}"
