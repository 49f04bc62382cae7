"""The stack that a request is about, and the keys that were read of it, for the routes."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from deploy.keys import HeldKeys
from deploy.stack.rights import REDRIVER
from deploy.stack.running import NotRunning, RunningStack
from serving.problems import Problem
from streams.keys import Keys
from streams.partitioner import partition_of


def _stack(request: Request) -> RunningStack:
    stack = request.app.state.stack
    assert isinstance(stack, RunningStack)
    return stack


def _keys(request: Request) -> HeldKeys:
    keys = request.app.state.keys
    assert isinstance(keys, HeldKeys)
    return keys


def keys_of(stack: RunningStack, keys: HeldKeys, whose: str) -> Keys:
    """Those of this pseudonym's partition, as of now."""
    return keys.of(partition_of(whose.encode(), stack.cluster.topics["keys"].partitions))


def _redriver(request: Request) -> RunningStack:
    try:
        return _stack(request).as_named(request.app.state.role, REDRIVER)
    except NotRunning as error:
        raise Problem(403, "no-right", detail=f"{error} ('oo console' takes it).") from None


TheKeys = Annotated[HeldKeys, Depends(_keys)]
TheStack = Annotated[RunningStack, Depends(_stack)]
TheRedriver = Annotated[RunningStack, Depends(_redriver)]
"""The same, as who may send letters again."""
