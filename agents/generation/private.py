"""What a tip never needs: links, addresses, and numbers of phones, accounts and cards. One look at texts on their way to a model and back.

It knows shapes and no names: who is called "Anna" in a title stays.
"""

from __future__ import annotations

import re
import unicodedata

_LINK = re.compile(
    r"[a-z][a-z0-9+.-]*://\S+|\bwww\.\S+|\b(?:mailto|tel|javascript|data):\S+"
    r"|\b[\w-]{2,}(?:\.[\w-]{2,})*\.[^\W\d_]{2,}\b\S*|\b\w{2,}\s*[(\[{]?\s*\b(?:dot|punkt|punto|point)\b\s*[)\]}]?\s*[a-z]{2,12}\b",
    re.IGNORECASE,
)
"""Also "shop.example", and every "word.word": a tip loses nothing by it."""
_MAIL = re.compile(r"\S*@\S*|\S+\s*[(\[{]\s*(?:at|ät|arroba|arobase)\s*[)\]}]\s*\S*", re.IGNORECASE)
_ACCOUNT = re.compile(r"\b[A-Z]{2}\d{2}(?:\s?[A-Z0-9]{2,4}){3,}\b")
"""As an IBAN is written (ISO 13616)."""
_LONG = re.compile(r"\+?\d(?:[\s./()–-]{0,2}\d){6,}")
"""Seven digits or more, however they are set apart."""
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}\s?[-–/]\s?\d{4}")
_NUMBER = re.compile(r"\d{4,}")


def covered(text: str) -> str:
    """Return a text without what is private in it; dates stay.

    >>> covered("Mail ada@mail.example or call +49 30 1234567 by 2026-11-30, see https://x.example/a")
    'Mail (address) or call (number) by 2026-11-30, see (link)'
    """
    text = _MAIL.sub("(address)", text)
    text = _LINK.sub("(link)", text)
    text = _ACCOUNT.sub("(number)", text)
    return _LONG.sub(lambda found: found[0] if _DATE.fullmatch(found[0]) else "(number)", text)


def has_link(text: str) -> bool:
    """Whether something in a text could be followed.

    >>> has_link("Look at shop.example"), has_link("Read chapter 3.5 at 10.30, e.g. now")
    (True, False)
    """
    return _LINK.search(text) is not None


def tells(text: str, *, known: str) -> bool:
    """Whether a text has an address, a number of a phone, card or account, or a number of four digits or more that `known` has not.

    >>> tells("Dial 030 123 45 67", known="Dial 030 123 45 67"), tells("File the taxes of 2025", known="Taxes 2025"), tells("PIN 4821", known="")
    (True, False, True)
    """
    if _MAIL.search(text) or _ACCOUNT.search(text):
        return True
    if any(not _DATE.fullmatch(found) for found in _LONG.findall(text)):
        return True
    return not set(_NUMBER.findall(text)) <= set(_NUMBER.findall(unicodedata.normalize("NFKC", known)))
