"""The keys of our access tokens, with the clock turned."""

from __future__ import annotations

import asyncio
import json

import pytest

from connectors.postgres.accounts import Accounts
from serving.auth.seals import Seals
from serving.auth.signing_keys import AHEAD_MS, KEPT_MS, LASTS_S, ROTATE_MS, SigningKeys
from serving.keys import Keys
from serving.tokens import LEEWAY_S, Identity, TokenRefused, Verifier, header_of
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from tables.pseudonyms import Pseudonyms
from tests.connectors.postgres_cluster import Cluster

BEGUN_MS = 1_800_000_000_000
STEP_MS = 5 * MINUTE_MS
ADA = Identity(user_id="ada", pseudonym="ada", expires_s=0, session="s")


def test_a_new_key_is_published_before_it_signs_and_tokens_of_the_old_one_count_until_they_run_out(
    postgres: Cluster,
) -> None:
    asyncio.run(_a_day_around_the_change_of_keys(postgres.migrated().dsn("auth")))


async def _a_day_around_the_change_of_keys(dsn: str) -> None:
    """Now and then somebody is given a token, and all that have not run out are brought to one who reads the JWKS as it is."""
    accounts, now_ms = Accounts(dsn), BEGUN_MS
    await accounts.open()
    ours = SigningKeys(accounts, Seals(bytes(32)), issuer="https://oo", audience="oo", now_ms=lambda: now_ms)
    published: list[tuple[int, set[str]]] = []
    signed: list[tuple[int, str]] = []

    async def verified(token: str) -> Identity:
        keys = Keys(ours.jwks)
        pseudonyms = Pseudonyms(b"")
        verifier = Verifier(
            keys, issuer="https://oo", audience="oo", pseudonyms=pseudonyms, own=True, now_s=lambda: now_ms / SECOND_MS
        )
        return await verifier.verify(token)

    async def turn(to_ms: int) -> None:
        nonlocal now_ms
        now_ms = to_ms
        published.append((now_ms, {one["kid"] for one in json.loads(await ours.jwks())["keys"]}))
        signed.append((now_ms, ours.mint(ADA, await ours.signer())))
        for at_ms, token in signed[-4:]:
            if now_ms - at_ms <= LASTS_S * SECOND_MS:
                assert (await verified(token)).session == "s"
            elif now_ms - at_ms > (LASTS_S + LEEWAY_S) * SECOND_MS:
                with pytest.raises(TokenRefused, match="expired"):
                    await verified(token)

    try:
        await turn(BEGUN_MS)
        (first,) = published[0][1]
        due_ms = BEGUN_MS + ROTATE_MS
        for to_ms in (
            *range(due_ms - HOUR_MS, due_ms + HOUR_MS, STEP_MS),
            *range(due_ms + HOUR_MS, due_ms + DAY_MS + 3 * HOUR_MS, HOUR_MS),
        ):
            await turn(to_ms)
        both = [(at_ms, kids) for at_ms, kids in published if len(kids) == 2]
        (second,) = both[0][1] - {first}
        named = [(at_ms, _kid(token)) for at_ms, token in signed]
        assert {kid for _, kid in named} == {first, second}
        changed_ms = min(at_ms for at_ms, kid in named if kid == second)
        assert all(kid == (first if at_ms < changed_ms else second) for at_ms, kid in named)
        # Published before it signs, and the old one past all that it signed; then no more.
        assert changed_ms - both[0][0] == AHEAD_MS
        assert KEPT_MS - HOUR_MS <= both[-1][0] - both[0][0] < KEPT_MS
        assert published[-1][1] == {second}
    finally:
        await accounts.close()


def _kid(token: str) -> str:
    return str(header_of(token)["kid"])
