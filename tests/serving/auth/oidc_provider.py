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
from urllib.parse import urljoin

import httpx

from deploy.stack.state import free_port
from tests.foreign import node_modules

HERE = Path(__file__).parent / "provider"
CLIENT_ID, CLIENT_SECRET = "oo", "secret & more"


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


def answered(browser: httpx.Client, address: str, *, login: str) -> str:
    """What a person does at the provider, as `login`: returns the address that it sends their browser to in the end, not followed.

    Cookies of both live in one jar, as in a browser: 127.0.0.1 is one host.
    """
    response = browser.get(address)
    for _ in range(12):
        if response.is_redirect:
            target = urljoin(str(response.url), response.headers["location"])
            if "/auth/callback/" in target:
                return target
            response = browser.get(target)
            continue
        assert response.status_code == 200, response.text
        form = re.search(r'<form[^>]*action="([^"]+)"[^>]*>(.*?)</form>', response.text, re.DOTALL)
        assert form is not None, response.text
        fields = dict(re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"', form[2]))
        if 'name="login"' in form[2]:
            fields |= {"login": login, "password": "any"}
        response = browser.post(urljoin(str(response.url), unescape(form[1])), data=fields)
    raise AssertionError("it asks for ever")
