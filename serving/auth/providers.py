"""Who people may sign in with: what the operator's file says, what the provider says of itself, and its keys.

It never takes an address that is neither over TLS nor on this machine, nor a provider's word that it is another issuer.
"""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import ECKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from connectors.jwks import jwks_at
from connectors.oidc import ProviderAway, discover, exchange, is_safe
from serving.auth.id_token import Claims, IdTokenRefused, checked, key_id
from serving.keys import Keys, KeysUnavailable

METADATA_AGE_MAX_S: Final = 3600.0
KEYS_REFRESH_MIN_S: Final = 2.0
"""Only who brings an answer that we wait for makes us ask again."""
PROVIDERS_MAX: Final = 32
NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
APPLE_SECRET_S: Final = 300

READY: Final[Mapping[str, Mapping[str, object]]] = {
    "google": {"issuer": "https://accounts.google.com", "name": "Google"},
    # It tells an address only to who has its answer posted.
    "apple": {"issuer": "https://appleid.apple.com", "name": "Apple", "response_mode": "form_post"},
}
"""What need not be said of these."""


class BadProviders(ValueError):
    """The file does not say what it has to; one line."""


class ProviderSettings(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str
    name: str = Field(default="", max_length=60)
    client_id: str = Field(min_length=1, max_length=512)
    client_secret: str | None = Field(default=None, repr=False)
    client_secret_file: Path | None = None
    team_id: str | None = None
    key_id: str | None = None
    private_key_file: Path | None = None
    scopes: tuple[str, ...] = ("openid", "email")
    response_mode: Literal["query", "form_post"] = "query"
    trust_email: bool = False
    """Whether its word that an address is somebody's may join them to a person of another provider, where they ask for it."""
    operators: tuple[str, ...] = ()
    producers: tuple[str, ...] = ()
    """Subjects, or addresses that the provider says are verified."""

    @model_validator(mode="after")
    def _consistent(self) -> ProviderSettings:
        if not is_safe(self.issuer):
            raise ValueError("`issuer` must be an https:// address")
        ways = (self.client_secret, self.client_secret_file, self.private_key_file)
        if sum(one is not None for one in ways) > 1:
            raise ValueError("name one of `client_secret`, `client_secret_file` and `private_key_file`")
        if self.private_key_file is not None and (self.team_id is None or self.key_id is None):
            raise ValueError("with `private_key_file` name `team_id` and `key_id` too")
        if "openid" not in self.scopes:
            raise ValueError("`scopes` must have openid")
        return self


@dataclass(frozen=True, slots=True)
class Configured:
    """What the file says. `public_url`: the edge's own address, as people's browsers know it."""

    public_url: str | None
    per_minute: int
    providers: Mapping[str, ProviderSettings]


def read(path: Path) -> Configured:
    """Raises BadProviders, or OSError where it cannot be read."""
    try:
        stated = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadProviders(f"{path}: {error}") from None
    public_url = stated.pop("public_url", None)
    per_minute = stated.pop("per_minute", 30)
    if public_url is not None and not is_safe(public_url):
        raise BadProviders(f"{path}: `public_url` must be an https:// address")
    if not isinstance(per_minute, int) or per_minute < 1:
        raise BadProviders(f"{path}: `per_minute` must be a number from 1")
    providers = {}
    for name, table in stated.items():
        if NAME.fullmatch(name) is None or not isinstance(table, dict):
            raise BadProviders(f"{path}: [{name}] must be a table with a name of small letters, digits and hyphens")
        try:
            whole = {"name": name.capitalize(), **READY.get(name, {}), **table}
            providers[name] = ProviderSettings.model_validate(whole)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            where = ".".join([name, *(str(part) for part in fault["loc"])])
            raise BadProviders(f"{path}: {where}: {fault['msg']}") from None
    if not 0 < len(providers) <= PROVIDERS_MAX:
        raise BadProviders(f"{path}: name 1 to {PROVIDERS_MAX} providers, a table each, such as [google]")
    return Configured(public_url=public_url, per_minute=per_minute, providers=providers)


@dataclass(frozen=True, slots=True)
class _Metadata:
    authorization_endpoint: str
    token_endpoint: str
    names_itself: bool
    """Whether its answers bring `iss` (RFC 9207)."""
    takes_basic: bool


class Provider:
    """One provider, for one redirect address."""

    def __init__(
        self, settings: ProviderSettings, *, redirect_uri: str, now_s: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self.redirect_uri = redirect_uri
        self._now_s = now_s
        self._metadata: _Metadata | None = None
        self._read_s = float("-inf")
        self._keys: Keys | None = None
        self._jwks_uri = ""

    @property
    def posts(self) -> bool:
        """Whether its answer comes as a form, posted from its own page."""
        return self.settings.response_mode == "form_post"

    async def address(self, *, state: str, nonce: str, challenge: str) -> str:
        """Where to send the browser. Raises ProviderAway."""
        metadata = await self._discovered()
        parameters = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(self.settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **({"response_mode": "form_post"} if self.posts else {}),
        }
        joined = "&" if "?" in metadata.authorization_endpoint else "?"
        return f"{metadata.authorization_endpoint}{joined}{urlencode(parameters)}"

    async def names_itself_as(self, stated: str | None) -> bool:
        """Whether an answer with this `iss`, or none, may be its own. Raises ProviderAway."""
        if stated is None:
            return not (await self._discovered()).names_itself
        return stated == self.settings.issuer

    async def claims(self, code: str, *, verifier: str, nonce: str) -> Claims:
        """Who signed in. Raises ProviderAway, connectors.oidc.ProviderRefused, IdTokenRefused."""
        metadata = await self._discovered()
        secret = self._secret()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
        }
        basic = None
        if secret is not None and metadata.takes_basic:
            basic = (self.settings.client_id, secret)
        else:
            form |= {"client_id": self.settings.client_id, **({} if secret is None else {"client_secret": secret})}
        answer = await exchange(metadata.token_endpoint, form, basic=basic)
        token, access_token = answer.get("id_token"), answer.get("access_token")
        if not isinstance(token, str):
            raise IdTokenRefused("malformed")
        return await self._checked(token, access_token if isinstance(access_token, str) else None, nonce=nonce)

    async def _checked(self, token: str, access_token: str | None, *, nonce: str) -> Claims:
        kid = key_id(token)
        assert self._keys is not None
        try:
            key = await self._keys.get(kid)
        except KeysUnavailable:
            raise ProviderAway("its keys cannot be had") from None
        if key is None:
            raise IdTokenRefused("unknown-key")
        return checked(
            token,
            key,
            issuer=self.settings.issuer,
            client_id=self.settings.client_id,
            nonce=nonce,
            access_token=access_token,
            now_s=self._now_s(),
        )

    async def _discovered(self) -> _Metadata:
        if self._metadata is not None and time.monotonic() - self._read_s < METADATA_AGE_MAX_S:
            return self._metadata
        try:
            stated = await discover(self.settings.issuer)
        except ProviderAway:
            if self._metadata is None:
                raise
            return self._metadata
        if stated.get("issuer") != self.settings.issuer:
            raise ProviderAway("it says that it is another issuer")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not is_safe(stated.get(name)):
                raise ProviderAway(f"its {name} is no https:// address")
        challenges, ways = (
            stated.get("code_challenge_methods_supported"),
            stated.get("token_endpoint_auth_methods_supported"),
        )
        if isinstance(challenges, list) and "S256" not in challenges:
            raise ProviderAway("it does not know PKCE with S256")
        if self._keys is None or stated["jwks_uri"] != self._jwks_uri:
            self._jwks_uri = str(stated["jwks_uri"])
            self._keys = Keys(jwks_at(self._jwks_uri), refresh_min_s=KEYS_REFRESH_MIN_S)
        self._read_s = time.monotonic()
        self._metadata = _Metadata(
            authorization_endpoint=str(stated["authorization_endpoint"]),
            token_endpoint=str(stated["token_endpoint"]),
            names_itself=stated.get("authorization_response_iss_parameter_supported") is True,
            takes_basic=not isinstance(ways, list) or "client_secret_basic" in ways,
        )
        return self._metadata

    def _secret(self) -> str | None:
        settings = self.settings
        if settings.client_secret_file is not None:
            return settings.client_secret_file.read_text().strip()
        if settings.private_key_file is None:
            return settings.client_secret
        now_s = int(self._now_s())
        claims = {
            "iss": settings.team_id,
            "iat": now_s,
            "exp": now_s + APPLE_SECRET_S,
            "aud": settings.issuer,
            "sub": settings.client_id,
        }
        key = ECKey.import_key(settings.private_key_file.read_bytes())
        return jwt.encode({"alg": "ES256", "kid": settings.key_id}, claims, key)
