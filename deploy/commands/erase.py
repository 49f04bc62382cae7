"""`oo erase`: somebody leaves, asked for by an operator. It sends one request; the engine does the rest, in order.

Itself it deletes nothing but what `oo import` and `oo watch` remember here, and their rows in lakes that were exported from here.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Annotated

import typer

from connectors.leaving import begin_again, leave, word_of
from deploy.commands.session import DEFAULT_STATE, CommandError, StateOption, UserOption, open_state
from deploy.imports import ask, forget
from deploy.lakes import remembered
from deploy.stack.running import RunningStack
from oo.v1.erased_pb2 import Erased
from streams.reader import topic_id

TAKEN_WITHIN_S = 20.0
POLL_S = 0.2
WHAT = """{user} will be erased: tasks, calendar, settings, tips, history, and what was learned from them. It cannot be undone.
Only they themselves begin again (POST /v1/me), or an operator for them (oo import --begin-again)."""
FOLLOWS = """The engine keeps a stub without anything of {user}, an empty tip stands, and the running sums are without them.
Decisions and outcomes leave PostgreSQL. The next policy version is without them: after the changes of ten others, or a day.
oo privacy status --receipt {receipt} says what is gone, and what still waits."""


def erase(
    user: UserOption,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Forget a person: all that is known of them, and what was learned from them. Asks again, and gives a receipt."""
    stack = open_state(state, "registry_url", "name_key_file")
    print(WHAT.format(user=user))
    if not yes and not typer.confirm("Erase?"):
        raise CommandError("nothing was erased")
    receipt = secrets.token_urlsafe(18)
    asyncio.run(_erase(stack, user, receipt))
    forget(stack.sources, topic_id=asyncio.run(topic_id(stack.cluster, "signals")), user_id=user)
    if remembered(stack):
        from deploy.commands.lake import forget_in

        forget_in(stack)
    print(f"receipt {receipt}")
    print(FOLLOWS.format(user=user, receipt=receipt))


async def come_back(stack: RunningStack, user: str, word: Erased) -> None:
    """Let somebody who left begin again; returns when the engine has said so, and the door knows."""
    await ask(stack, [begin_again(user, request_id=secrets.token_urlsafe(18), receipt=word.receipt)])
    await _until_said(stack, user, receipt=word.receipt, began_again=True)


async def _erase(stack: RunningStack, user: str, receipt: str) -> None:
    await ask(stack, [await leave(stack.cluster, user, receipt=receipt)])
    await _until_said(stack, user, receipt=receipt, began_again=False)


async def _until_said(stack: RunningStack, user: str, *, receipt: str, began_again: bool) -> None:
    deadline_s = time.monotonic() + TAKEN_WITHIN_S
    while True:
        word = await word_of(stack.cluster, stack.pseudonym(user))
        if word is not None and word.receipt == receipt and word.HasField("began_again") == began_again:
            return
        if time.monotonic() > deadline_s:
            raise CommandError(
                f"asked for (receipt {receipt}), and not taken within {TAKEN_WITHIN_S:g} s: it will be, once the workers "
                "have come to it; 'oo status' shows what they do"
            )
        await asyncio.sleep(POLL_S)
