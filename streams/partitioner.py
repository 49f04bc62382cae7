"""Which partition a key belongs to: murmur2, as Kafka's own Java client and our producer hash it. Pure."""

from __future__ import annotations

_WORD = 0xFFFFFFFF
_M = 0x5BD1E995


def partition_of(key: bytes, partitions: int) -> int:
    """The number of the partition, of so many, in which a record of this key stands.

    >>> partition_of(b"alice", 8), partition_of(b"bob", 8)
    (5, 6)
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(key: bytes) -> int:
    """The hash as 32 bits without a sign (Austin Appleby's MurmurHash2, with Kafka's seed)."""
    hashed = 0x9747B28C ^ len(key)
    whole = len(key) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * _M & _WORD
        word = (word ^ word >> 24) * _M & _WORD
        hashed = hashed * _M & _WORD ^ word
    if rest := key[whole:]:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * _M & _WORD
    hashed = (hashed ^ hashed >> 13) * _M & _WORD
    return hashed ^ hashed >> 15
