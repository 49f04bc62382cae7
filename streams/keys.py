"""Everybody's keys as the topic `oo.keys` has them: wrapped in memory, opened where one is asked for, and a bounded number of those kept.

It follows the topic without a group, so that PostgreSQL may be away. It makes no key (streams/key_maker.py), never writes,
and never gives one person's key for another's. A tombstone is for good: a word on the same key that comes later counts nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, Self

from oo.v1.key_pb2 import WrappedKey
from streams import heartbeat
from streams.cipher import Cipher
from streams.cluster import Cluster
from streams.day_keys import NOBODYS
from streams.frames import Frames
from streams.messages import pass_over, read
from streams.partitioner import partition_of
from streams.reader import Tail, end_offsets, read_partition
from streams.record import Record
from streams.sealing import KEY_ID_BYTES, KeyMissing, T, opened
from streams.shared import Shared
from streams.topics import PARTITIONS

log = logging.getLogger(__name__)

OPENED_MAX: Final = 4_000
"""Keys ready for use, of more than 4 KB each in OpenSSL; the one that was used longest ago goes first."""

OTHERS_S: Final = 60.0
"""Who makes keys hears for so long after a word that was not made here each word at once: a record that is sealed with the key may be
close behind."""
HEARD_AGAIN_S: Final = 0.2
"""Where nobody waits for a word: from one look to the next."""

HEARD_WITHIN_S: Final = 0.25
"""A word that is on its way to who follows the topic is there by then."""

_ENTRY: Final = struct.Struct(f">{KEY_ID_BYTES}sHH")
"""Of a key in memory: its id, which key-encryption key, how many bytes follow. Plain bytes: with a million people, nothing for the
garbage collector to look at."""


class KekGone(Exception):
    """The key-encryption key that a key was wrapped with is not there: destroyed, or never brought here."""


class KeyEncryption(Protocol):
    """Key-encryption keys, as a KMS offers them: they never leave it."""

    def current(self) -> str:
        """The id of the one that wraps now."""

    def holds(self, kek_id: str) -> bool:
        """Whether it still unwraps what that one wrapped."""

    def wrap(self, key: bytes, about: list[bytes]) -> tuple[str, bytes]:
        """The id of the current one, and what only it unwraps, told the same `about`."""

    def wrap_all(self, keys: Sequence[tuple[bytes, list[bytes]]]) -> tuple[str, list[bytes]]:
        """The same of some keys, each with its `about`: the current one is looked up once."""

    def unwrap(self, kek_id: str, wrapped: bytes, about: list[bytes]) -> bytes:
        """The key. Raises KekGone, and ValueError for what it did not wrap about this."""

    def unwrap_all(self, kek_id: str, some: Sequence[tuple[bytes, list[bytes]]]) -> list[bytes | None]:
        """The same of what this one wrapped, each with its `about`: it is looked up once. None for what it did not wrap. Raises KekGone."""


class Wrapped(NamedTuple):
    """One key of a person."""

    id: bytes
    kek_id: str
    wrapped: bytes


class Keys:
    """By person. `whose`: the Kafka key of their records."""

    def __init__(
        self,
        kek: KeyEncryption,
        *,
        ends: Callable[[], Awaitable[Mapping[int, int]]],
        read: Callable[[int, int, int], AsyncIterator[list[Record]]],
        opened_max: int = OPENED_MAX,
    ) -> None:
        """`ends()`: of each partition of the topic, now; `read(partition, start, end)`: its records."""
        self.kek = kek
        self._frames = Frames()
        self._ends = ends
        self._read = read
        self._opened_max = opened_max
        self._keys: dict[bytes, bytes] = {}
        """Every person's entries, one after the other, the smallest id first."""
        self._keks: list[str] = []
        self._dead: set[bytes] = set()
        """Names of keys that a tombstone has ended."""
        self.again: set[bytes] = set()
        """Of these, those of which the topic holds a word behind the tombstone."""
        self.made: set[bytes] = set()
        """Names of keys that this process makes and has not heard of again."""
        self._others_s = -OTHERS_S
        self._awaited = 0
        self._wanted = asyncio.Event()
        """While somebody waits for a word."""
        self._hearing: asyncio.Future[None] | None = None
        """While the topic is followed: done when more of it is taken in."""
        self._vain: set[bytes] = set()
        """Names of keys that were waited for, and did not come."""
        self._opened: OrderedDict[bytes, Cipher] = OrderedDict()
        self._taken: dict[int, int] = {}
        """By partition, the offset below which every word is here."""
        self._catch_up = Shared(self._read_on)

    @classmethod
    def of(cls, cluster: Cluster, kek: KeyEncryption) -> Self:
        """Of this cluster; nothing is read yet."""
        topic = cluster.name("keys")
        return cls(
            kek,
            ends=lambda: end_offsets(cluster, topic),
            read=lambda number, start, end: read_partition(cluster, topic, number, start=start, end=end),
        )

    async def follow(self, tail: Tail, *, makes: bool = False) -> None:
        """Take words in for ever: together those that come while nobody waits for one. `makes`: whether keys are made here."""
        self._hearing = asyncio.get_running_loop().create_future()
        async for records in tail:
            for record in records:
                self.take(record)
            self._hearing.set_result(None)
            self._hearing = asyncio.get_running_loop().create_future()
            if not tail.caught_up.is_set() or self._wanted.is_set() or (makes and not self.alone(time.monotonic())):
                continue
            async with tail.at_rest():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), HEARD_AGAIN_S)

    @contextlib.contextmanager
    def awaited(self) -> Iterator[None]:
        """Meanwhile each word is heard at once."""
        self._awaited += 1
        self._wanted.set()
        try:
            yield
        finally:
            self._awaited -= 1
            if not self._awaited:
                self._wanted.clear()

    async def hear(self, whose: bytes, key_id: bytes) -> None:
        """Wait a moment for the word of a key that is on its way; no more than once for each, and not where nothing is followed."""
        name, until_s = name_of(whose, key_id), time.monotonic() + HEARD_WITHIN_S
        if self._hearing is None or name in self._dead or name in self._vain:
            return
        with self.awaited():
            while not any(one.id == key_id for one in self.held(whose)):
                try:
                    await asyncio.wait_for(asyncio.shield(self._hearing), until_s - time.monotonic())
                except TimeoutError:
                    self._vain.add(name)
                    return

    def alone(self, now_s: float) -> bool:
        """Whether nobody else has made a key lately. `now_s`: monotonic."""
        return now_s - self._others_s >= OTHERS_S

    async def catch_up(self) -> None:
        """Return once all that was acknowledged before is here; asks Kafka, whatever `follow` has come to."""
        await self._catch_up()

    async def take_partition(self, number: int) -> None:
        """Take in what one partition holds now: the keys of its people are then here, and no others'. A second time reads what is new."""
        end = (await self._ends())[number]
        async for records in self._read(number, self._taken.get(number, 0), end):
            for record in records:
                self.take(record)
        self._taken[number] = max(end, self._taken.get(number, 0))

    async def _read_on(self) -> None:
        for partition, end in (await self._ends()).items():
            start = self._taken.get(partition, 0)
            if start < end:
                async for records in self._read(partition, start, end):
                    for record in records:
                        self.take(record)
                self._taken[partition] = max(end, self._taken.get(partition, 0))

    def take(self, record: Record) -> None:
        """Take one record of the topic in."""
        if record.offset < self._taken.get(record.partition, 0):
            return
        self._taken[record.partition] = record.offset + 1
        if record.key == heartbeat.KEY:
            return
        named = split(record.key)
        if named is None:
            pass_over(record, "no-key")
        elif record.value is None:
            assert record.key is not None
            self.again.discard(record.key)
            self._end(*named)
        elif record.key in self._dead:
            self.made.discard(record.key)
            self.again.add(record.key)
        else:
            word = read(self._frames, "keys", record)
            if isinstance(word, WrappedKey):
                if record.key in self.made:
                    self.made.discard(record.key)
                else:
                    self._others_s = time.monotonic()
                self.put(named[0], Wrapped(named[1], word.kek_id, word.wrapped))

    def put(self, whose: bytes, key: Wrapped) -> None:
        """Hold this key, in place of what stood under its id."""
        if name_of(whose, key.id) in self._dead:
            return
        others = [one for one in self.held(whose) if one.id != key.id]
        self._keys[whose] = self._packed(sorted([*others, key]))

    def held(self, whose: bytes) -> list[Wrapped]:
        """The person's keys, the smallest id first; none for somebody new."""
        return list(self._entries(self._keys.get(whose, b"")))

    def holders(self) -> list[bytes]:
        """Who has a key: people, and days of what is nobody's (streams/day_keys.py)."""
        return list(self._keys)

    def lacks(self, whose: bytes) -> bool:
        """Whether a key has to be made before anything of this person can be sealed."""
        entries = self._keys.get(whose)
        if entries is None:
            return True
        if name_of(whose, entries[:KEY_ID_BYTES]) in self._opened:
            return False
        return not any(self.kek.holds(one.kek_id) for one in self._entries(entries))

    def sealing(self, whose: bytes) -> tuple[bytes, Cipher]:
        """The smallest of the person's keys that can be unwrapped. Raises KeyMissing."""
        key_id = self._keys.get(whose, b"")[:KEY_ID_BYTES]
        cipher = self._ready(name_of(whose, key_id))
        if cipher is not None:
            return key_id, cipher
        for one in self.held(whose):
            if self.kek.holds(one.kek_id):
                return one.id, self.opening(whose, one.id)
        raise KeyMissing(
            "somebody has no key, and their words are not written in the open: this is a fault of oO's own"
        )

    def opening(self, whose: bytes, key_id: bytes) -> Cipher:
        """The person's key of this id. Raises KeyMissing."""
        name = name_of(whose, key_id)
        cipher = self._ready(name)
        if cipher is not None:
            return cipher
        one = next((one for one in self.held(whose) if one.id == key_id), None)
        if one is None:
            raise KeyMissing(
                f"key {key_id.hex()} is not in the topic of keys, and nobody was erased: bring that topic back from where it "
                "is kept; what was sealed with this key cannot be read without",
                key_id=key_id,
            )
        try:
            key = self.kek.unwrap(one.kek_id, one.wrapped, about(whose, key_id))
        except KekGone:
            raise KeyMissing(
                f"key {key_id.hex()} is wrapped with the key-encryption key {one.kek_id}, which is not there: bring it back "
                "(OO_KEK_DIR), or start where it is"
            ) from None
        except ValueError:
            raise KeyMissing(
                f"key {key_id.hex()} does not come out of what stands in the topic of keys: that was changed, or belongs to another "
                "installation; bring the topic back from where it is kept"
            ) from None
        cipher = Cipher(key)
        self.opened(whose, key_id, cipher)
        return cipher

    def make_ready(self, people: Iterable[bytes]) -> None:
        """Have keys of these people ready for use, with one look at each key-encryption key. Of one that cannot be, `opening` says why."""
        wanted: dict[str, list[tuple[bytes, Wrapped]]] = {}
        for whose in dict.fromkeys(people):
            entries = self._keys.get(whose, b"")
            if name_of(whose, entries[:KEY_ID_BYTES]) not in self._opened:
                for one in self._entries(entries):
                    wanted.setdefault(one.kek_id, []).append((whose, one))
        for kek_id, some in wanted.items():
            with contextlib.suppress(KekGone):
                keys = self.kek.unwrap_all(kek_id, [(one.wrapped, about(whose, one.id)) for whose, one in some])
                for (whose, one), key in zip(some, keys, strict=True):
                    if key is not None:
                        self.opened(whose, one.id, Cipher(key))

    def _ready(self, name: bytes) -> Cipher | None:
        """The key of this name where it stands ready; it was then used last."""
        cipher = self._opened.get(name)
        if cipher is not None:
            self._opened.move_to_end(name)
        return cipher

    def opened(self, whose: bytes, key_id: bytes, cipher: Cipher) -> None:
        """Have a key that was just made, or unwrapped, ready for use."""
        self._opened[name_of(whose, key_id)] = cipher
        if len(self._opened) > self._opened_max:
            self._opened.popitem(last=False)

    def forget(self, whose: bytes) -> list[bytes]:
        """Hold none of the person's keys any more, for good; returns their names in the topic, for tombstones."""
        names = [name_of(whose, one.id) for one in self.held(whose)]
        for name in names:
            self._end(whose, name[-KEY_ID_BYTES:])
        return names

    def _end(self, whose: bytes, key_id: bytes) -> None:
        name = name_of(whose, key_id)
        self._dead.add(name)
        self._opened.pop(name, None)
        left = [one for one in self.held(whose) if one.id != key_id]
        if left:
            self._keys[whose] = self._packed(left)
        else:
            self._keys.pop(whose, None)

    def _packed(self, keys: list[Wrapped]) -> bytes:
        return b"".join(_ENTRY.pack(one.id, self._number(one.kek_id), len(one.wrapped)) + one.wrapped for one in keys)

    def _entries(self, packed: bytes) -> Iterator[Wrapped]:
        at = 0
        while at < len(packed):
            key_id, kek, length = _ENTRY.unpack_from(packed, at)
            at += _ENTRY.size + length
            yield Wrapped(key_id, self._keks[kek], packed[at - length : at])

    def _number(self, kek_id: str) -> int:
        if kek_id not in self._keks:
            self._keks.append(kek_id)
        return self._keks.index(kek_id)


async def opened_by(keys: Keys, message: T, *, whose: bytes) -> T:
    """As `streams.sealing.opened`, where the key may be on its way still. Raises NotOpened and KeyMissing."""
    try:
        return opened(message, whose=whose, keys=keys)
    except KeyMissing:
        # Asking Kafka by itself takes a client of its own: first it may be heard of.
        await keys.hear(whose, getattr(message, "sealed", b"")[:KEY_ID_BYTES])
    try:
        return opened(message, whose=whose, keys=keys)
    except KeyMissing:
        await keys.catch_up()
    return opened(message, whose=whose, keys=keys)


def name_of(whose: bytes, key_id: bytes) -> bytes:
    """The Kafka key of a person's key.

    >>> split(name_of(b"ada", b"8 bytes.")), split(b"ada"), split(None)
    ((b'ada', b'8 bytes.'), None, None)
    """
    return b"%b\0%b" % (whose, key_id)


def home(whose: bytes) -> int:
    """The partition in which these keys stand: a person's own, and the first for those that are nobody's.

    >>> home(b"ada"), home(b"\\0letters 2025-11-28")
    (5, 0)
    """
    return 0 if whose.startswith(NOBODYS) else partition_of(whose, PARTITIONS)


def split(name: bytes | None) -> tuple[bytes, bytes] | None:
    """Whose key it is, and which; None for what names none."""
    if name is None or len(name) <= KEY_ID_BYTES + 1 or name[-KEY_ID_BYTES - 1] != 0:
        return None
    return name[: -KEY_ID_BYTES - 1], name[-KEY_ID_BYTES:]


def about(whose: bytes, key_id: bytes) -> list[bytes]:
    """What a wrapped key is tied to."""
    return [b"oo.keys", whose, key_id]
