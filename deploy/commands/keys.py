"""oo keys: wrapping everybody's key anew, and destroying what they were wrapped with."""

from __future__ import annotations

import asyncio

from connectors.key_files import KeyFiles
from deploy.commands.session import DEFAULT_STATE, AsOption, CommandError, StateOption, open_state
from deploy.stack.rights import ROTATOR
from deploy.stack.running import RunningStack


def rotate(role: AsOption = "", state: StateOption = DEFAULT_STATE) -> None:
    """Wrap all keys of people anew under a new key-encryption key, and destroy the old ones: what was forgotten is then gone for good.

    It is noted in oo.audit first.
    """
    stack = open_state(state, "registry_url", "kek_dir", ready=False)
    try:
        count = asyncio.run(_rotate(stack, stack.as_named(role, ROTATOR)))
    except BlockingIOError:
        raise CommandError("another process wraps all keys anew at this moment: that will do") from None
    print(f"{count} keys wrapped anew; the old key-encryption keys are destroyed")


async def _rotate(stack: RunningStack, by: RunningStack) -> int:
    from deploy.audit import entry_of
    from deploy.writing import writing
    from streams.key_maker import KeyMaker
    from streams.keys import Keys
    from streams.rotation import rotate as wrap_all_anew

    files = KeyFiles(stack.kek_dir)
    keys = Keys.of(stack.cluster, files)
    async with writing(by, client_id="oo-keys") as (producer, schemas):
        entry = entry_of(by, "oo keys rotate")
        await producer.produce(by.cluster.name("audit"), key=None, value=schemas.frame("audit", entry))
        maker = KeyMaker(keys, topic=stack.cluster.name("keys"), producer=producer, frames=schemas)
        return await wrap_all_anew(keys, files, maker)
