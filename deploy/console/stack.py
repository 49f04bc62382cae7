"""The stack that a request is about, for the routes."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from deploy.stack.running import RunningStack


def _stack(request: Request) -> RunningStack:
    stack = request.app.state.stack
    assert isinstance(stack, RunningStack)
    return stack


TheStack = Annotated[RunningStack, Depends(_stack)]
