"""What every source file has in common: its size limit, its encoding, its problems, and text that is fit to show.

It never opens a file: bytes come in, and what could not be used comes back as problems instead of exceptions.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp

from oo.v1.signal_pb2 import Signal

BYTES_MAX = 10 * 1024 * 1024
"""A larger file is refused whole."""
TITLE_MAX = 500
NOTES_MAX = 4000
LABELS_MAX = 32
LABEL_MAX = 64
URL_MAX = 2000
MINUTES_MAX = 7 * 24 * 60
EXTERNAL_ID_MAX = 200
"""Shorter than the contract's 256, so that an event id has room for it and a revision."""
NAME_MAX = 64
EVENT_MS_MIN = 946_684_800_000
"""2000-01-01, before which the door takes no event's time: a file that claims to be older was written now."""
SECONDS_MAX = 253_402_300_799
"""The last second of the year 9999, the end of protobuf's Timestamp."""


_CONTROLS = "".join(map(chr, range(32))).translate({ord(char): None for char in "\t\n\v\f\r"})


class UnreadableFile(Exception):
    """The file as a whole cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing in a file that could not be taken as it stands. `line` counts from 1; 0 means the whole file."""

    line: int
    what: str
    """What is wrong, and what was done or is to be done about it."""
    skipped: bool = False
    """True where something was left out, False where it was taken with a change."""
    hides: bool = False
    """True where what was left out may be something that the file had before: a file cut off, a limit passed."""

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}" if self.line else self.what


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a file says now."""

    signals: tuple[Signal, ...]
    problems: tuple[Problem, ...] = ()
    waiting: int = 0
    """Tasks that are there but not yet to be done: a start date ahead, or hidden."""
    unread: tuple[str, ...] = ()
    """Keys (kind and id) of what is there and cannot be read, all instances of a series included: it is not absent."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """By external id what a person wrote of a task, without what tools add: by it a changed line is known again."""
    archived: Mapping[str, int] = field(default_factory=dict)
    """By text, when such a task was last completed in the archive beside the file, in ms since 1970 (end of its day)."""

    @property
    def complete(self) -> bool:
        """Whether what is absent may be taken as gone."""
        return not any(problem.hides for problem in self.problems)


def decode(data: bytes) -> tuple[str, Problem | None]:
    r"""Text of a file in whatever encoding its editor left it; a guessed encoding is a problem that names it.

    Raises UnreadableFile if it is too large or no text at all.

    >>> decode(b'\xef\xbb\xbfCall Mom')
    ('Call Mom', None)
    >>> text, problem = decode('Größe prüfen'.encode('latin-1'))
    >>> text, str(problem)
    ('Größe prüfen', 'line 1: not UTF-8; read as Windows-1252 (Latin-1). Save the file as UTF-8 to be sure')
    """
    if len(data) > BYTES_MAX:
        raise UnreadableFile(
            f"it has {len(data) / 1024 / 1024:.1f} MB, the limit is {BYTES_MAX // 1024 // 1024} MB; "
            "split it, or export a shorter time"
        )
    problem = None
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            text = data.decode("utf-16")
        elif _looks_like_utf16(data):
            # Without a mark only the zero bytes of ASCII letters tell the byte order.
            text = data.decode("utf-16-be" if data[0] == 0 else "utf-16-le")
            problem = Problem(1, "UTF-16 without a byte order mark; read as such. Save the file as UTF-8 to be sure")
        else:
            text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.encoding.startswith("utf-16"):
            raise UnreadableFile("it is broken UTF-16; save it as UTF-8") from error
        line = data.count(b"\n", 0, error.start) + 1
        try:
            text, encoding = data.decode("cp1252"), "Windows-1252 (Latin-1)"
        except UnicodeDecodeError:
            text, encoding = data.decode("latin-1"), "Latin-1"
        problem = Problem(line, f"not UTF-8; read as {encoding}. Save the file as UTF-8 to be sure")
    # A stray control character is a slip; in an image, an archive or a program they are everywhere.
    controls = sum(text.count(char) for char in _CONTROLS)
    if controls > 32 and controls > len(text) / 20:
        raise UnreadableFile("it is not a text file")
    return text, problem


def _looks_like_utf16(data: bytes) -> bool:
    head = data[:512]
    return len(head) >= 4 and len(head) % 2 == 0 and max(head[::2].count(0), head[1::2].count(0)) > len(head) * 0.3


def one_line(text: str) -> str:
    r"""Return the text with control characters and line ends as single spaces; every script and emoji stays.

    >>> one_line('Call\x00\tMom \x1b[1m now\n')
    'Call Mom [1m now'
    """
    return " ".join("".join(" " if _breaks(char) else char for char in text).split())


def many_lines(text: str) -> str:
    r"""As `one_line`, but line ends stay.

    >>> many_lines('a\r\n\x07b  \n\n')
    'a\n b'
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join("".join(" " if _breaks(char) else char for char in line).rstrip() for line in lines).strip()


def _breaks(char: str) -> bool:
    # Cc: control characters; Zl, Zp: line and paragraph separators; Cs: halves of characters, which UTF-8 refuses.
    return unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs")


def cut(text: str, length_max: int) -> str:
    """At most `length_max` code points, an ellipsis for the rest, no letter parted from its marks.

    >>> cut('a long title', 7)
    'a long…'
    """
    if len(text) <= length_max:
        return text
    end = length_max - 1
    while end > 0 and (unicodedata.category(text[end])[0] == "M" or "\u200d" in text[end - 1 : end + 1]):
        end -= 1
    return (text[:end] if end else text[: length_max - 1]).rstrip() + "…"


def file_name(name: str) -> str:
    """Return the stable name that a file goes by in ids and in `ce_source`: its own, without the folder.

    >>> file_name('/home/ann/Dropbox/todo.txt')
    'todo.txt'
    """
    return cut(one_line(name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]), NAME_MAX) or "file"


def external_id(identity: str) -> str:
    """Return the identity itself where it is short and clean, else its beginning and a hash of all of it.

    >>> external_id('20261123@google.com')
    '20261123@google.com'
    >>> len(external_id('x' * 9999))
    200
    """
    cleaned = one_line(identity)
    if cleaned == identity and len(cleaned) <= EXTERNAL_ID_MAX:
        return cleaned
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    return f"{cleaned[: EXTERNAL_ID_MAX - 25]}~{digest}"


def timestamp(time_ms: int) -> Timestamp:
    """Protobuf's form of a time in ms since 1970.

    >>> timestamp(1500).nanos
    500000000
    """
    seconds, ms = divmod(time_ms, 1000)
    return Timestamp(seconds=seconds, nanos=ms * 1_000_000)
