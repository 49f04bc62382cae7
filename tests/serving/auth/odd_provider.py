"""A provider for a test that answers as a right one never does: each answer is the test's own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

CLIENT_ID = "odd-client"
CLIENT_SECRET = "odd-secret-that-is-long-enough-for-hs256"


class OddProvider:
    """One that runs. What it says of itself hangs on the path of its issuer."""

    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": "signs", "use": "sig", "alg": "ES256"})
        self.rsa = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
        self.encrypts = ECKey.generate_key("P-256", {"kid": "encrypts", "use": "enc"})
        private = {name: value for name, value in self.encrypts.as_dict(private=True).items() if name != "use"}
        self.misused = ECKey.import_key(private)
        self.stranger = ECKey.generate_key("P-256", {"kid": "signs", "use": "sig", "alg": "ES256"})
        self.answer: Callable[[], dict[str, Any]] = dict
        self.forms: list[dict[str, str]] = []
        odd = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer, _, rest = f"{odd.url}{self.path}".partition("/.well-known/")
                if rest == "openid-configuration":
                    self.say(odd.metadata(issuer))
                elif self.path == "/keys":
                    keys = (odd.key, odd.rsa, odd.encrypts)
                    self.say({"keys": [key.as_dict(private=False) for key in keys]})
                else:
                    self.send_error(404)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                odd.forms.append(dict(parse_qsl(body)))
                self.say(odd.answer())

            def say(self, what: dict[str, Any]) -> None:
                body = json.dumps(what).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.issuer = f"{self.url}/odd"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def metadata(self, issuer: str) -> dict[str, Any]:
        whole = {
            "issuer": issuer,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }
        if issuer.endswith("/other-issuer"):
            whole["issuer"] = self.issuer
        elif issuer.endswith("/plain-http"):
            whole["token_endpoint"] = "http://id.example/token"
        elif issuer.endswith("/no-s256"):
            return {**whole, "code_challenge_methods_supported": ["plain"]}
        return whole

    def claims(self, nonce: str, /, **changes: Any) -> dict[str, Any]:
        """As a right provider has them, but for `changes`; None takes a claim away."""
        now_s = int(time.time())
        whole = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": "mallory",
            "nonce": nonce,
            "iat": now_s,
            "exp": now_s + 300,
            **changes,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def signed(self, nonce: str, /, *, key: Any = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """An ID token of these claims."""
        whole = {"alg": "ES256", "kid": "signs", **(header or {})}
        return jwt.encode(whole, self.claims(nonce, **changes), key or self.key, algorithms=[whole["alg"]])
