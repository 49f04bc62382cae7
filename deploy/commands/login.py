"""oo login: this machine acts for a person, once they have allowed it in their browser (RFC 8628).

It never sees how they sign in. What it keeps is a refresh token, in a file for its owner alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from deploy.commands.session import DEFAULT_STATE, CommandError, StateOption, open_state
from deploy.stack.state import write_private

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
CLIENT_ID = "oo"
TIMEOUT_S = 10.0
TRIES = 3
"""A refresh token whose answer was lost counts again for a minute."""
AGAIN_S = 1.0


class NoAnswer(CommandError):
    """None came, or none that says anything yet."""


def login(
    url: Annotated[str | None, typer.Argument(help="The edge's address; the local stack's, if not given.")] = None,
    token: Annotated[bool, typer.Option("--token", help="Print an access token of the login that there is.")] = False,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Sign in on this machine: shows a code, and waits until you have allowed it in a browser."""
    address = (url or open_state(state, "OO_EDGE_URL").edge_url).rstrip("/")
    if token:
        print(_refreshed(address)["access_token"])
        return
    asked = _post(f"{address}/auth/device", {"client_id": CLIENT_ID})
    print(f"Open {asked['verification_uri_complete']}\nand allow the code {asked['user_code']}.", flush=True)
    deadline_s, wait_s = time.monotonic() + float(str(asked["expires_in"])), float(str(asked["interval"]))
    while time.monotonic() < deadline_s:
        time.sleep(wait_s)
        try:
            answer = _post(f"{address}/auth/token", {"grant_type": GRANT, "device_code": str(asked["device_code"])})
        except NoAnswer:
            continue
        error = answer.get("error")
        if error is None:
            with _kept() as logins:
                logins[address] = str(answer["refresh_token"])
            print(
                "Signed in. 'oo login --token' prints an access token; GET /v1/sessions of your own lists this machine."
            )
            return
        if error == "slow_down":
            wait_s += float(str(asked["interval"]))
        elif error != "authorization_pending":
            raise CommandError(str(answer["detail"]))
    raise CommandError("nobody has allowed it within ten minutes: 'oo login' begins again")


def _refreshed(address: str) -> dict[str, object]:
    with _kept() as logins:
        if address not in logins:
            raise CommandError(f"nobody is signed in at {address} here: 'oo login {address}'")
        form = {"grant_type": "refresh_token", "refresh_token": logins[address]}
        answer = _answered(f"{address}/auth/token", form)
        if "error" in answer:
            del logins[address]
        else:
            logins[address] = str(answer["refresh_token"])
    if "error" in answer:
        raise CommandError(f"this login has ended: 'oo login {address}' begins another")
    return answer


def _answered(address: str, form: dict[str, str]) -> dict[str, object]:
    """As `_post`, asked again where there was no answer."""
    for _ in range(TRIES - 1):
        try:
            return _post(address, form)
        except NoAnswer:
            time.sleep(AGAIN_S)
    return _post(address, form)


def _post(address: str, form: dict[str, str]) -> dict[str, object]:
    """What is answered, OAuth's errors among it. Raises CommandError, NoAnswer where it may be asked again."""
    import httpx

    try:
        response = httpx.post(address, data=form, timeout=TIMEOUT_S, trust_env=not address.startswith("http://127."))
        answer: dict[str, object] = response.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        kind = NoAnswer if isinstance(error, httpx.TransportError) else CommandError
        raise kind(
            f"{address} does not answer as an edge does ({type(error).__name__}): is the address right?"
        ) from None
    if response.status_code != 200 and "error" not in answer:
        kind = NoAnswer if response.status_code == 503 else CommandError
        raise kind(str(answer.get("detail", f"{address} answered {response.status_code}")))
    return answer


@contextmanager
def _kept() -> Iterator[dict[str, str]]:
    """Refresh tokens by address. One process at a time: of two that used the same token, the second would end the login."""
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "oo"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "logins.json"
    with (folder / "logins.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = json.loads(path.read_text()) if path.exists() else {}
        logins = dict(before)
        try:
            yield logins
        finally:
            if logins != before:
                write_private(path, json.dumps(logins).encode())
