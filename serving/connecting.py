"""What the edge needs to connect people's sources: where connections stand, what seals them, and which sources there are.

It reads no source. Credentials go through its hands into their seal and are shown to nobody again.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from connectors.oauth import OAuthClients
from connectors.outside import Client, client_for
from connectors.postgres.connections import Connection, Connections, New
from connectors.sources.source import Connect, Description, Field, Source, Way
from connectors.vault import Box, Vault, Wrapped
from serving.problems import Fault, pointer

ID_BYTES: Final = 8
TEXT_CHARS_MAX: Final = 2000
SECRET_BYTES: Final = 32
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Said:
    """What a person filled in, apart: credentials are what only the source sees again."""

    settings: dict[str, str]
    credentials: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Connecting:
    """One per edge."""

    connections: Connections
    vault: Vault
    sources: Mapping[str, Source]
    clients: OAuthClients
    public_url: str
    has_files: bool
    """Whether files on this machine may be connected."""
    outside: Client = field(default_factory=client_for)
    """For sources that want one; nothing is asked with it here."""

    async def close(self) -> None:
        """Drop its connections."""
        await self.connections.close()
        await self.outside.aclose()
        await self.clients.close()

    def ways(self, source: Source) -> list[Way]:
        """How this source can be connected here."""
        named = source.description.name
        able = {Connect.OAUTH: named in self.clients, Connect.FILE: self.has_files}
        return [way for way in source.description.ways if able.get(way.connect, True)]

    def way(self, source: Source, connect: str | None) -> Way | None:
        """The one of this name; the first that has a form where none is named."""
        ways = [way for way in self.ways(source) if connect in (None, way.connect.value)]
        return next((way for way in ways if connect or way.connect is not Connect.OAUTH), None)

    def redirect_uri(self, source: str) -> str:
        """Where a service sends people back to."""
        return f"{self.public_url}/v1/connections/{source}/callback"

    def new(
        self, description: Description, *, user_id: str, pseudonym: str, said: Said, zone: str, service: str
    ) -> New:
        """A connection with all of it sealed."""
        connection_id = secrets.token_hex(ID_BYTES)
        box = self.vault.make(user_id=pseudonym, connection_id=connection_id)
        return New(
            connection_id,
            pseudonym,
            description.name,
            service,
            box.wrapped.kek_id,
            box.wrapped.key,
            settings=sealed_settings(box, user_id, said.settings),
            credentials=sealed_credentials(box, said.credentials),
            zone=box.seal("zone", zone.encode()),
            every_ms=description.every_s * 1000,
        )

    def box(self, one: Connection) -> Box:
        """What opens a connection. Raises NotOpened and KekGone."""
        return self.vault.open(
            Wrapped(one.kek_id, one.wrapped_key), user_id=one.user_id, connection_id=one.connection_id
        )


def sealed_settings(box: Box, user_id: str, settings: Mapping[str, str]) -> bytes:
    """As agents/turn.py opens them. `user_id`: the person's own, which signals carry to the door."""
    return box.seal("settings", json.dumps({"user_id": user_id, "settings": {**settings}}).encode())


def settings_in(box: Box, one: Connection) -> tuple[str, dict[str, str]]:
    """The person's own id, and the settings. Raises NotOpened."""
    kept = json.loads(box.open("settings", one.settings))
    return kept["user_id"], kept["settings"]


def sealed_credentials(box: Box, credentials: Mapping[str, str]) -> bytes:
    return box.seal("credentials", json.dumps({**credentials}).encode())


def credentials_in(box: Box, one: Connection) -> dict[str, str]:
    """Raises NotOpened."""
    kept: dict[str, str] = json.loads(box.open("credentials", one.credentials))
    return kept


def filled(way: Way, fields: Mapping[str, str], *, before: Said | None = None) -> tuple[Said, list[Fault]]:
    """What was filled in, over what stood before, and what has to be mended of it; what is ours to make is made.

    >>> way = Way(Connect.URL, (Field("url", "Address", "url"),))
    >>> filled(way, {"url": "ftp://x"})[1][0].detail, filled(way, {"url": "https://x/a"})[0].settings
    ('an address begins with http://, https:// or webcal://', {'url': 'https://x/a'})
    """
    said = Said({}, {}) if before is None else Said({**before.settings}, {**before.credentials})
    faults = [
        Fault(pointer=pointer("fields", name), detail="there is no such field")
        for name in fields.keys() - {one.name for one in way.fields if not one.generated}
    ]
    for one in way.fields:
        into = said.credentials if one.secret else said.settings
        if one.generated:
            into.setdefault(one.name, f"whsec_{_base64(secrets.token_bytes(SECRET_BYTES))}")
            continue
        if one.name in fields:
            value = fields[one.name] if one.secret else fields[one.name].strip()
            if fault := _fault(one, value):
                faults.append(Fault(pointer=pointer("fields", one.name), detail=fault))
            into[one.name] = value
        if one.required and not into.get(one.name):
            faults.append(Fault(pointer=pointer("fields", one.name), detail="is needed"))
    return said, faults


def host_of(way: Way, said: Said) -> str:
    """Whose limits a connection shares, where it has an address; else empty."""
    both = said.settings | said.credentials
    urls = [both[one.name] for one in way.fields if one.kind == "url" and both.get(one.name)]
    return (urlsplit(urls[0]).hostname or "") if urls else ""


def _fault(one: Field, value: str) -> str:
    if len(value) > TEXT_CHARS_MAX:
        return f"has more than {TEXT_CHARS_MAX} characters"
    if _CONTROLS.search(value) or not value.isprintable():
        return "has a character that is none to be seen"
    if one.kind == "url" and value and not re.match(r"(https?|webcals?)://[^/]", value, re.IGNORECASE):
        return "an address begins with http://, https:// or webcal://"
    return ""


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()
