"""A push service on loopback, and browsers that are subscribed to it: it verifies who sends (VAPID), and they open what comes with their own keys."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import ECKey

from oo.v1.device_pb2 import Device


@dataclass
class Browser:
    """One subscription."""

    endpoint: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    auth: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    came: list[dict[str, Any]] = field(default_factory=list)
    """What came, opened: headers of the push service beside it under `headers`."""

    @property
    def p256dh(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def device(self, user_id: str) -> Device:
        made = Device(name="a browser", user_id=user_id)
        made.web_push.endpoint, made.web_push.p256dh, made.web_push.auth = self.endpoint, self.p256dh, self.auth
        return made

    def subscription(self) -> dict[str, Any]:
        """As PushSubscription.toJSON() has it."""

        def text(raw: bytes) -> str:
            return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

        return {"endpoint": self.endpoint, "keys": {"p256dh": text(self.p256dh), "auth": text(self.auth)}}

    def topics(self) -> list[str]:
        return [one["headers"]["topic"] for one in self.came]

    def shown(self) -> set[str]:
        """Notifications that a person has seen: one of a tag stands."""
        return {one["tag"] for one in self.came}


class PushService:
    """Answers with `status` to every push, 201 unless told otherwise."""

    def __init__(self) -> None:
        self.browsers: dict[str, Browser] = {}
        self.status, self.more = 201, {}
        self.refused = 0
        self.posts = 0
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.back()
        return self

    def __exit__(self, *_: object) -> None:
        self.go()

    def go(self) -> None:
        """Be gone: nothing listens there any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def back(self) -> None:
        """Listen again, at the same place."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def subscribe(self) -> Browser:
        path = f"/send/{uuid.uuid4().hex}"
        self.browsers[path] = Browser(f"{self.url}{path}")
        return self.browsers[path]

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.posts += 1
        browser = self.browsers.get(path)
        if browser is None:
            return 404
        if self.status != 201:
            self.refused += 1
            return self.status
        assert len(body) <= 4096
        claims = verified(headers["authorization"])
        assert claims["aud"] == self.url
        assert time.time() < claims["exp"] <= time.time() + 24 * 3600
        opened = http_ece.decrypt(body, private_key=browser.key, auth_secret=browser.auth, version="aes128gcm")
        browser.came.append({**json.loads(opened), "headers": headers})
        return 201

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body, length = b"", int(self.headers["content-length"])
                while len(body) < length:
                    if not (more := self.rfile.read1(length - len(body))):
                        return  # who sent it was killed
                    body += more
                status = service._take(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                self.send_response(status)
                for name, value in service.more.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def verified(authorization: str) -> dict[str, Any]:
    """The claims of a VAPID header, whose signature is that of the key that it names (RFC 8292)."""
    scheme, _, said = authorization.partition(" ")
    parts = dict(one.strip().split("=", 1) for one in said.split(","))
    assert scheme == "vapid"
    raw = base64.urlsafe_b64decode(parts["k"] + "==")
    x, y = (base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in (raw[1:33], raw[33:]))
    key = ECKey.import_key({"kty": "EC", "crv": "P-256", "x": x, "y": y})
    return jwt.decode(parts["t"], key, algorithms=["ES256"]).claims
