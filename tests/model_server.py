"""A server of a language model's protocol (OpenAI's chat completions) that counts what truly reaches it, and misbehaves when told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Self

Mood = Literal["well", "hangs", "busy", "garbage", "no-choices", "cut", "says-no", "holds"]

TEXT = json.dumps(
    {"tips": [{"title": "Take ten minutes of air", "detail": "You have sat since nine.", "about": ["t1"]}]}
)


class ModelServer:
    """Answers every call with `says`, in the mood that it is in."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        """What was asked, each HTTP request once."""
        self.mood: Mood = "well"
        self.says: Callable[[dict[str, Any]], str] = lambda _: TEXT
        self.hangs_s = 20.0
        self._waking = threading.Event()
        self._may_answer = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.back()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def listens(self) -> bool:
        """Whether it is there."""
        return self._server is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.go()

    def go(self) -> None:
        """Be gone: nothing listens there any more, and no connection is open (HTTP/1.0)."""
        self._waking.set()
        self._may_answer.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def back(self) -> None:
        """Listen again, at the same place."""
        self._waking.clear()
        self._may_answer.clear()
        self._server = _Server(("127.0.0.1", self._port), self._handler())
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def let_go(self) -> None:
        """Answer whom it holds."""
        self._may_answer.set()

    def file(self, folder: Path, *aliases: str, timeout_s: float = 5.0) -> Path:
        """A litellm.yaml with these aliases, all of them this server; JSON is YAML."""
        models = [
            {
                "model_name": alias,
                "litellm_params": {
                    "model": "openai/stub",
                    "api_base": self.url,
                    "api_key": "none",
                    "timeout": timeout_s,
                },
            }
            for alias in aliases or ("tip-generator",)
        ]
        path = folder / "litellm.yaml"
        path.write_text(json.dumps({"model_list": models}))
        return path

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                model.calls.append(asked)
                mood = model.mood
                if mood == "hangs":
                    model._waking.wait(model.hangs_s)
                elif mood == "holds":
                    model._may_answer.wait(60.0)
                with suppress(OSError):
                    self._answer(mood, asked)

            def _answer(self, mood: Mood, asked: dict[str, Any]) -> None:
                if mood == "busy":
                    self._send(429, {"error": {"message": "slow down"}}, retry_after="7")
                elif mood == "says-no":
                    self._send(400, {"error": {"message": "no", "type": "invalid_request_error"}})
                elif mood == "garbage":
                    self._send(200, "<html>an error page</html>")
                else:
                    message = {"role": "assistant", "content": model.says(asked)}
                    choice = {"index": 0, "finish_reason": "length" if mood == "cut" else "stop", "message": message}
                    usage = {"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70}
                    choices = [] if mood == "no-choices" else [choice]
                    said = {"id": "1", "object": "chat.completion", "created": 1, "model": "stub-1"}
                    self._send(200, {**said, "choices": choices, "usage": usage})

            def _send(self, status: int, body: object, *, retry_after: str = "") -> None:
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/html" if isinstance(body, str) else "application/json")
                self.send_header("Content-Length", str(len(data)))
                if retry_after:
                    self.send_header("Retry-After", retry_after)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """Clients give up on it: that is what it is for."""
