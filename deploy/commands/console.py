"""oo console: serves the operators' page until Ctrl-C, with this operator's rights."""

from __future__ import annotations

import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.commands.session import DEFAULT_STATE, AsOption, CommandError, StateOption, open_state
from deploy.stack.running import RunningStack

if TYPE_CHECKING:
    from serving.tokens import Verifier

HOST = "127.0.0.1"


def console(
    state: StateOption = DEFAULT_STATE,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of this machine; 0: a free one.")] = 0,
    open_it: Annotated[bool, typer.Option("--open", help="Open the link in the browser.")] = False,
    role: AsOption = "",
) -> None:
    """A page for operators: what runs, what is decided, and why. The link that it prints is a key: give it to nobody."""
    import socket

    import uvicorn

    from deploy.console.access import Access
    from deploy.console.app import PATH, create_app

    stack = open_state(state, "recommender_dsn", "name_key_file", "kek_dir", "registry_url", ready=False)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise CommandError(f"port {port} of {HOST} cannot be had: {error.strerror}; another with --port") from None
        port = listening.getsockname()[1]
        access = Access(cookie=f"oo_console_{port}", verifier=_verifier(stack))
        config = uvicorn.Config(
            create_app(stack, access, role=role), access_log=False, server_header=False, log_config=None, ws="none"
        )
        link = f"http://{HOST}:{port}{PATH}/enter?code={access.code}"
        print(f"The console: {link}\nCtrl-C ends it.", flush=True)
        if open_it:
            webbrowser.open(link)
        uvicorn.Server(config).run(sockets=[listening])


def _verifier(stack: RunningStack) -> Verifier | None:
    """Of the local issuer's tokens; elsewhere the link alone lets in."""
    if not stack.ports:
        return None
    from serving.issuer import LocalIssuer
    from serving.keys import Keys
    from serving.tokens import Verifier
    from tables.pseudonyms import Pseudonyms

    issuer = LocalIssuer.from_file(stack.signing_key_file, issuer=stack.issuer, audience=stack.audience)

    async def own() -> bytes:
        return issuer.jwks()

    pseudonyms = Pseudonyms.in_file(stack.name_key_file)
    return Verifier(Keys(own), issuer=stack.issuer, audience=stack.audience, pseudonyms=pseudonyms)
