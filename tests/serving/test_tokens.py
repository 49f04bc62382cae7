"""Which tokens count, and what is said of those that do not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from serving.issuer import LocalIssuer
from serving.keys import Keys, KeysUnavailable, from_file, parse_jwks
from serving.tokens import REFUSALS, TokenRefused, Verifier
from tables.pseudonyms import Pseudonyms
from tests.serving.edges import AUDIENCE, ISSUER, LiveEdge, new_signing_key, problem

NOW_S = 1_800_000_000
KEY = ECKey.generate_key("P-256", {"kid": "k1"})
OTHER = ECKey.generate_key("P-256", {"kid": "k1"})


def claims(**changes: Any) -> dict[str, Any]:
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": NOW_S, "exp": NOW_S + 600, **changes}
    return {name: value for name, value in whole.items() if value is not None}


def signed(key: Any = KEY, *, alg: str = "ES256", header: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode({"alg": alg, "kid": "k1", **(header or {})}, claims(**changes), key, algorithms=[alg])


def handmade(header: dict[str, Any], body: dict[str, Any], signature: bytes = b"") -> str:
    return ".".join(encoded(part) for part in (json.dumps(header).encode(), json.dumps(body).encode(), signature))


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwks(*keys: Any) -> bytes:
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()


def verify(token: str, *, keys: bytes | None = None, now_s: float = NOW_S) -> str:
    async def fetch() -> bytes:
        return jwks(KEY) if keys is None else keys

    async def main() -> str:
        verifier = Verifier(
            Keys(fetch), issuer=ISSUER, audience=AUDIENCE, pseudonyms=Pseudonyms(b""), now_s=lambda: now_s
        )
        first = await verifier.verify(token)
        # What is remembered must say the same.
        assert await verifier.verify(token) == first
        return first.user_id

    return asyncio.run(main())


def refusal(token: str, **how: Any) -> str:
    with pytest.raises(TokenRefused) as refused:
        verify(token, **how)
    assert len(token) < 20 or token not in str(refused.value)
    return refused.value.reason


def test_a_signed_token_speaks_for_its_subject() -> None:
    assert verify(signed()) == "ada"
    assert verify(signed(aud=["other", AUDIENCE])) == "ada"


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        ("EdDSA", OKPKey.generate_key("Ed25519", {"kid": "k1"})),
        ("Ed25519", OKPKey.generate_key("Ed25519", {"kid": "k1"})),
        ("RS256", RSAKey.generate_key(2048, {"kid": "k1"})),
        ("PS256", RSAKey.generate_key(2048, {"kid": "k1"})),
    ],
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_each_accepted_algorithm_verifies(alg: str, key: Any) -> None:
    assert verify(signed(key, alg=alg), keys=jwks(key)) == "ada"


def test_an_expired_token_is_refused_after_a_small_leeway() -> None:
    assert verify(signed(exp=NOW_S - 29)) == "ada"
    assert refusal(signed(exp=NOW_S - 31)) == "expired"


def test_a_remembered_token_expires_too() -> None:
    now_s = [float(NOW_S)]

    async def fetch() -> bytes:
        return jwks(KEY)

    async def main() -> None:
        verifier = Verifier(
            Keys(fetch), issuer=ISSUER, audience=AUDIENCE, pseudonyms=Pseudonyms(b""), now_s=lambda: now_s[0]
        )
        token = signed()
        await verifier.verify(token)
        now_s[0] += 631
        with pytest.raises(TokenRefused, match="expired"):
            await verifier.verify(token)

    asyncio.run(main())


def test_a_remembered_token_is_refused_once_its_key_was_taken_back_though_no_other_token_comes() -> None:
    clock_s, published = [0.0], [jwks(KEY)]

    async def fetch() -> bytes:
        return published[0]

    async def main() -> None:
        keys = Keys(fetch, age_max_s=600.0, refresh_min_s=10.0, clock_s=lambda: clock_s[0])
        verifier = Verifier(
            keys, issuer=ISSUER, audience=AUDIENCE, pseudonyms=Pseudonyms(b""), now_s=lambda: float(NOW_S)
        )
        token = signed()
        await verifier.verify(token)
        assert verifier.known(token.encode()) is not None
        published[0] = b'{"keys": []}'
        clock_s[0] += 601
        assert verifier.known(token.encode()) is None
        with pytest.raises((TokenRefused, KeysUnavailable)):
            await verifier.verify(token)
        assert verifier.known(token.encode()) is None

    asyncio.run(main())


def test_while_the_issuer_is_away_what_was_verified_is_still_remembered() -> None:
    clock_s, away = [0.0], [False]

    async def fetch() -> bytes:
        if away[0]:
            raise OSError("away")
        return jwks(KEY)

    async def main() -> None:
        keys = Keys(fetch, age_max_s=600.0, refresh_min_s=10.0, clock_s=lambda: clock_s[0])
        verifier = Verifier(
            keys, issuer=ISSUER, audience=AUDIENCE, pseudonyms=Pseudonyms(b""), now_s=lambda: float(NOW_S)
        )
        token = signed()
        await verifier.verify(token)
        away[0] = True
        clock_s[0] += 601
        await verifier.verify(token)
        assert verifier.known(token.encode()) is not None

    asyncio.run(main())


@pytest.mark.parametrize("exp", [None, "soon", True, float("inf"), float("nan"), 10**400, -(10**400), [], {}])
def test_a_token_without_a_real_expiry_is_refused(exp: object) -> None:
    assert refusal(signed(exp=exp)) == "expired"


def test_a_token_of_tomorrow_is_refused() -> None:
    assert verify(signed(nbf=NOW_S + 29)) == "ada"
    assert refusal(signed(nbf=NOW_S + 31)) == "not-yet-valid"


@pytest.mark.parametrize("nbf", [10**400, float("inf"), "soon", [[]]])
def test_a_token_that_begins_at_no_time_is_refused(nbf: object) -> None:
    assert refusal(signed(nbf=nbf)) == "not-yet-valid"


@pytest.mark.parametrize(
    "body",
    [
        '{"deep":' + "[" * 2500 + "]" * 2500 + "}",
        "[" * 2500 + "]" * 2500,
        "7",
        "null",
        '{"exp":1' + "0" * 5000 + "}",
        '{"sub":"\\ud800"}',
        "\ufeff{}",
    ],
)
def test_odd_claims_under_a_good_signature_are_refused(body: str) -> None:
    token = jws.serialize_compact({"alg": "ES256", "kid": "k1"}, body.encode(), KEY)
    assert refusal(token) in REFUSALS


def test_a_header_nested_thousands_deep_is_refused() -> None:
    header = '{"alg":"ES256","kid":"k1","x":' + "[" * 2500 + "]" * 2500 + "}"
    assert refusal(f"{encoded(header.encode())}.e30.{'A' * 86}") == "malformed"


@pytest.mark.parametrize("alg", ["none", "None", "NONE"])
def test_an_unsigned_token_is_refused(alg: str) -> None:
    assert refusal(handmade({"alg": alg, "kid": "k1"}, claims())) == "unsigned"


def test_a_token_whose_signature_was_taken_off_is_refused() -> None:
    assert refusal(signed().rsplit(".", 1)[0] + ".") == "unsigned"


def test_a_public_key_used_as_a_shared_secret_is_refused() -> None:
    secret = KEY.as_pem(private=False)
    header, body = {"alg": "HS256", "kid": "k1"}, claims()
    signing_input = handmade(header, body).rsplit(".", 1)[0]
    mac = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
    assert refusal(f"{signing_input}.{encoded(mac)}") == "algorithm"


def test_a_key_that_the_token_brings_along_is_not_used() -> None:
    stranger = ECKey.generate_key("P-256", {"kid": "mine"})
    embedded = {"kid": "mine", "jwk": stranger.as_dict(private=False)}
    assert refusal(signed(stranger, header=embedded)) == "unknown-key"


def test_a_foreign_signature_under_a_known_key_id_is_refused() -> None:
    assert refusal(signed(OTHER)) == "signature"


def test_a_changed_claim_breaks_the_signature() -> None:
    header, _, signature = signed().split(".")
    body = encoded(json.dumps(claims(sub="bob")).encode())
    assert refusal(f"{header}.{body}.{signature}") == "signature"


def test_a_key_is_used_only_with_the_algorithm_it_is_for() -> None:
    key = RSAKey.generate_key(2048, {"kid": "k1", "alg": "PS256"})
    plain = RSAKey.import_key({**key.as_dict(private=True), "alg": "RS256"})
    assert refusal(signed(plain, alg="RS256"), keys=jwks(key)) == "algorithm"


def test_a_key_of_another_kind_is_refused() -> None:
    rsa = RSAKey.generate_key(2048, {"kid": "k1"})
    assert refusal(signed(rsa, alg="RS256")) == "algorithm"


def test_another_issuers_token_is_refused() -> None:
    assert refusal(signed(iss="https://elsewhere.example")) == "issuer"
    assert refusal(signed(iss=None)) == "issuer"


@pytest.mark.parametrize("aud", ["other", None, ["other"], 7])
def test_a_token_for_another_service_is_refused(aud: object) -> None:
    assert refusal(signed(aud=aud)) == "audience"


@pytest.mark.parametrize("sub", [None, "", 7, "a" * 129, "line\nbreak", "nul\0", "c1\x85"])
def test_a_subject_that_cannot_be_a_user_id_is_refused(sub: object) -> None:
    assert refusal(signed(sub=sub)) == "subject"


@pytest.mark.parametrize(
    "token", ["", "a", "a.b", "a.b.c.d.e", "....", "é.é.é", "bm90anNvbg.e30.c2ln", "W10.e30.c2ln", "e30." * 4000]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    assert refusal(token) in ("malformed", "unsigned")


def test_a_critical_header_that_we_do_not_know_is_refused() -> None:
    header, body = {"alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": False}, claims()
    assert refusal(handmade(header, body, b"x" * 64)) == "signature"


def test_secrets_and_encryption_keys_in_a_jwks_are_left_out() -> None:
    keys = json.loads(jwks(KEY))["keys"]
    oct_key = {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}
    encryption = {**keys[0], "kid": "enc", "use": "enc"}
    assert parse_jwks(json.dumps({"keys": [*keys, oct_key, encryption, {"kty": "new"}, 7]}).encode()).keys() == {"k1"}


def test_an_unknown_key_id_makes_the_keys_be_asked_for_again_but_not_more_than_once_in_a_while() -> None:
    asked: list[int] = []
    clock_s = [0.0]

    async def fetch() -> bytes:
        asked.append(1)
        return jwks(KEY)

    async def main() -> None:
        keys = Keys(fetch, refresh_min_s=10, clock_s=lambda: clock_s[0])
        for n in range(50):
            assert await keys.get(f"invented-{n}") is None
        assert len(asked) == 1
        clock_s[0] = 11
        assert await keys.get("invented") is None
        assert len(asked) == 2

    asyncio.run(main())


def test_a_new_key_is_found_and_tokens_of_a_withdrawn_one_no_longer_count(tmp_path: Path) -> None:
    new = ECKey.generate_key("P-256", {"kid": "k2"})
    file = tmp_path / "jwks.json"
    clock_s = [0.0]
    file.write_bytes(jwks(KEY))

    async def main() -> None:
        keys = Keys(from_file(file), refresh_min_s=10, clock_s=lambda: clock_s[0])
        verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE, pseudonyms=Pseudonyms(b""), now_s=lambda: NOW_S)
        old_token, new_token = signed(), signed(new, header={"kid": "k2"})
        await verifier.verify(old_token)
        file.write_bytes(jwks(new))
        clock_s[0] = 11
        assert (await verifier.verify(new_token)).user_id == "ada"
        with pytest.raises(TokenRefused, match="unknown-key"):
            await verifier.verify(old_token)

    asyncio.run(main())


def test_keys_outlive_an_issuer_that_is_away(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    clock_s = [0.0]

    async def main() -> None:
        keys = Keys(from_file(file), clock_s=lambda: clock_s[0])
        with pytest.raises(KeysUnavailable):
            await keys.get("k1")
        file.write_bytes(jwks(KEY))
        clock_s[0] = 20
        assert await keys.get("k1") is not None
        file.write_bytes(b"<html>")
        clock_s[0] = 100_000
        assert await keys.get("k1") is not None

    asyncio.run(main())


@pytest.mark.parametrize(
    "key",
    [
        new_signing_key(),
        OKPKey.generate_key("Ed25519").as_pem(private=True),
        RSAKey.generate_key(2048).as_pem(private=True),
        json.dumps(ECKey.generate_key("P-256").as_dict(private=True)).encode(),
    ],
)
def test_the_local_issuer_signs_what_its_jwks_verifies(key: bytes) -> None:
    issuer = LocalIssuer(key, issuer=ISSUER, audience=AUDIENCE)
    assert verify(issuer.mint("ada", now_s=NOW_S), keys=issuer.jwks()) == "ada"
    assert '"d"' not in issuer.jwks().decode()


def test_a_signing_key_that_is_none_is_refused() -> None:
    for wrong in (b"", b"hello", KEY.as_pem(private=False), b'{"kty": "oct", "k": "c2VjcmV0"}'):
        with pytest.raises(ValueError):
            LocalIssuer(wrong, issuer=ISSUER, audience=AUDIENCE)


# The same over HTTP: what a caller sees.


@pytest.mark.parametrize("path", ["/v1/tip", "/v1/tips", "/v1/tips/stream"])
def test_without_a_token_the_answer_is_401(edge: LiveEdge, path: str) -> None:
    with edge.client() as client:
        answer = client.get(path)
    assert problem(answer, 401) == "no-token"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_each_refused_token_is_told_why(edge: LiveEdge, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = LocalIssuer(new_signing_key(), issuer=ISSUER, audience=AUDIENCE)
    tokens = {
        "expired": edge.issuer.mint("ada", now_s=time.time() - 3600, lifetime_s=60),
        "unsigned": handmade({"alg": "none"}, claims()),
        "unknown-key": elsewhere.mint("ada"),
        "malformed": "garbage",
    }
    caplog.set_level(logging.DEBUG)
    for reason, token in tokens.items():
        with edge.client(token=token) as client:
            answer = client.get("/v1/tip")
        assert problem(answer, 401) == f"token-{reason}"
        assert answer.json()["detail"] == REFUSALS[reason]
        assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
        if len(token) > 20:
            assert token not in answer.text
            assert token not in caplog.text


def test_other_ways_of_authorization_are_refused(edge: LiveEdge) -> None:
    with edge.client() as client:
        for value in ("Basic YTpi", "Bearer", edge.token("ada")):
            answer = client.get("/v1/tip", headers={"authorization": value})
            assert problem(answer, 401) == "no-token"


def test_the_published_jwks_verifies_the_local_issuers_tokens(edge: LiveEdge) -> None:
    with edge.client() as client:
        published = client.get("/.well-known/jwks.json").content
    assert verify(edge.token("ada"), keys=published, now_s=time.time()) == "ada"
