"""The certified provider (npm oidc-provider), started for a test on loopback; and a browser of the test's that signs in there."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx

from deploy.stack.state import free_port
from tests.foreign import node_modules

HERE = Path(__file__).parent / "provider"
CLIENT_ID, CLIENT_SECRET = "oo", "secret & more"
ELSEWHERE = {"client_id": "elsewhere", "client_secret": "secret of elsewhere"}
"""The client whose tokens let it at what people have elsewhere."""


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """Where it is, and where it is told things."""

    issuer: str
    control: str

    def turn_clock(self, ms: int) -> None:
        """Its clock is off by so much from now on."""
        httpx.get(f"{self.control}/clock", params={"ms": ms}, trust_env=False).raise_for_status()

    def rotate(self) -> None:
        """It has other keys from now on."""
        httpx.get(f"{self.control}/rotate", trust_env=False).raise_for_status()

    def have_tokens_last(self, s: int) -> None:
        """Access tokens given out from now on."""
        httpx.get(f"{self.control}/lasts", params={"s": s}, trust_env=False).raise_for_status()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Meanwhile it gives out no token; those that it gave count on."""
        httpx.get(f"{self.control}/away", params={"is": True}, trust_env=False).raise_for_status()
        try:
            yield
        finally:
            httpx.get(f"{self.control}/away", params={"is": False}, trust_env=False).raise_for_status()

    def refreshes(self) -> tuple[int, int]:
        """How many were granted, and refused: a refresh token that comes twice is, and takes all of its grant with it."""
        said = httpx.get(self.control, trust_env=False).json()
        return said["granted"], said["refused"]

    def lets_in(self, token: str) -> bool:
        """Whether an access token counts, as the API behind it asks."""
        asked = {**ELSEWHERE, "token": token}
        return bool(httpx.post(f"{self.issuer}/token/introspection", data=asked, trust_env=False).json()["active"])

    def take_away(self, token: str) -> None:
        """With all else that was granted with it, as who removes a program there does."""
        asked = {**ELSEWHERE, "token": token}
        httpx.post(f"{self.issuer}/token/revocation", data=asked, trust_env=False).raise_for_status()


@contextmanager
def provider(redirect_uris: Sequence[str]) -> Iterator[OidcProvider]:
    """One that runs."""
    node, folder = node_modules(HERE)
    port = free_port()
    control = free_port(taken=(port,))
    command = (str(node), "server.js", str(port), str(control), ",".join(redirect_uris))
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            said = list(itertools.takewhile(lambda line: line != "ready\n", process.stdout))
            assert process.poll() is None, "".join(said)
            yield OidcProvider(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{control}")
        finally:
            process.kill()


def answered(browser: httpx.Client, address: str, *, login: str, allows: bool = True) -> str:
    """What a person does at the provider, as `login`: returns the address that it sends their browser to in the end, not followed.

    Cookies of both live in one jar, as in a browser: 127.0.0.1 is one host.
    """
    target, fields = _ended(browser, address, login=login, allows=allows)
    assert fields is None, "it posts its answer"
    return target


def posted(browser: httpx.Client, address: str, *, login: str, allows: bool = True) -> tuple[str, dict[str, str]]:
    """Likewise of a provider that posts its answer: where its page has the browser post which form; not posted."""
    target, fields = _ended(browser, address, login=login, allows=allows)
    assert fields is not None, "it posts no answer"
    return target, fields


def _ended(browser: httpx.Client, address: str, *, login: str, allows: bool) -> tuple[str, dict[str, str] | None]:
    response = browser.get(address)
    for _ in range(12):
        if response.is_redirect:
            target = urljoin(str(response.url), response.headers["location"])
            if "/callback" in urlsplit(target).path:
                return target, None
            response = browser.get(target)
            continue
        form = re.search(r'<form[^>]*action="([^"]+)"[^>]*>(.*?)</form>', response.text, re.DOTALL)
        assert form is not None, response.text
        fields = dict(re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"', form[2]))
        if "/callback" in form[1]:
            return unescape(form[1]), {name: unescape(value) for name, value in fields.items()}
        assert response.status_code == 200, response.text
        if not allows and (cancel := re.search(r'href="([^"]+/abort)"', response.text)):
            response = browser.get(urljoin(str(response.url), unescape(cancel[1])))
            continue
        if 'name="login"' in form[2]:
            fields |= {"login": login, "password": "any"}
        response = browser.post(urljoin(str(response.url), unescape(form[1])), data=fields)
    raise AssertionError("it asks for ever")
