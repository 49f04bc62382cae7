"""WebDAV's answers, taken apart: multistatus (RFC 4918) and what CalDAV puts into it (RFC 4791, RFC 6578).

It never asks: bytes come in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from connectors.sources.source import Failed, FaultKind

ELEMENTS_MAX: Final = 250_000
"""Of one answer: each takes much more than the bytes that it is written in."""
NAME_MAX: Final = 2_000
"""Of an address, an ETag and a sync token; what has a longer one is passed over."""
DAV: Final = "{DAV:}"
CAL: Final = "{urn:ietf:params:xml:ns:caldav}"


@dataclass(frozen=True, slots=True)
class Member:
    """What is said about one address."""

    href: str
    status: int
    """Of the whole; 200 where only its properties have one."""
    properties: Mapping[str, ElementTree.Element]
    """Those that are there, by their name with its namespace."""

    def text(self, name: str) -> str:
        """Return a property's text; empty where there is none."""
        found = self.properties.get(name)
        return (found.text or "").strip() if found is not None else ""

    @property
    def etag(self) -> str:
        """Empty where it has none that can be kept."""
        found = self.text(f"{DAV}getetag")
        return found if len(found) <= NAME_MAX else ""

    def href_in(self, name: str) -> str:
        """Return the address that a property holds; empty where there is none."""
        found = self.properties.get(name)
        inner = found.find(f"{DAV}href") if found is not None else None
        return (inner.text or "").strip() if inner is not None else ""

    def is_a(self, kind: str) -> bool:
        """Whether its resourcetype has this name."""
        found = self.properties.get(f"{DAV}resourcetype")
        return found is not None and found.find(kind) is not None


def multistatus(body: bytes) -> tuple[list[Member], str]:
    """Return the members of an answer, and its sync token or ""; raises Failed where it is no multistatus, or a very large one.

    >>> multistatus(b'<a:multistatus xmlns:a="DAV:"><a:sync-token>7</a:sync-token></a:multistatus>')
    ([], '7')
    """
    root = _root(body)
    if root is None or root.tag != f"{DAV}multistatus":
        raise Failed(FaultKind.ODD_ANSWER, "no-multistatus")
    members = []
    for response in root.iterfind(f"{DAV}response"):
        href = (response.findtext(f"{DAV}href") or "").strip()
        properties: dict[str, ElementTree.Element] = {}
        for group in response.iterfind(f"{DAV}propstat"):
            if _status(group.findtext(f"{DAV}status"), default=200) == 200:
                properties |= {one.tag: one for one in group.iterfind(f"{DAV}prop/*")}
        if 0 < len(href) <= NAME_MAX:
            members.append(Member(href, _status(response.findtext(f"{DAV}status"), default=200), properties))
    token = (root.findtext(f"{DAV}sync-token") or "").strip()
    return members, token if len(token) <= NAME_MAX else ""


def names_fault(body: bytes, fault: str) -> bool:
    """Whether a refusal says why by this name (RFC 4918, 16).

    >>> names_fault(b'<error xmlns="DAV:"><valid-sync-token/></error>', DAV + "valid-sync-token")
    True
    """
    root = _root(body)
    return root is not None and root.tag == f"{DAV}error" and root.find(fault) is not None


class _Counted(ElementTree.TreeBuilder):
    """A tree of ELEMENTS_MAX at most, without a document type: WebDAV has none, and what entities can do nobody needs."""

    def __init__(self) -> None:
        super().__init__()
        self._left = ELEMENTS_MAX

    def start(self, tag: str, attrs: dict[str, str], /) -> ElementTree.Element:
        self._left -= 1
        if self._left < 0:
            raise Failed(FaultKind.TOO_MUCH, "elements")
        return super().start(tag, attrs)

    def doctype(self, *_: object) -> None:
        """Called before any entity is declared."""
        raise Failed(FaultKind.ODD_ANSWER, "doctype")


def _root(body: bytes) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(body, parser=ElementTree.XMLParser(target=_Counted()))  # noqa: S314 - without entities
    except ElementTree.ParseError:
        return None


def _status(line: str | None, *, default: int) -> int:
    """HTTP/1.1 404 Not Found."""
    word = (line or "").split()[1:2]
    return int(word[0]) if word and word[0].isdigit() else default
