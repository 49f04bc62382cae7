"""What a commit says beside its offset: for which topic of that name it was made (streams/by_id.py). Pure."""

from __future__ import annotations


def note(topic_id: bytes | None) -> str:
    """What a commit says beside its offset; empty for a topic of unknown id.

    Its end is in it: confluent-kafka 2.16 takes what Kafka answers for a C string, which nobody ended.
    """
    return "" if topic_id is None else f"{topic_id.hex()}\0"


def of_another_topic(said: str | None, topic_id: bytes | None) -> bool:
    """Whether a commit that says this was made for an earlier topic of the name; one that says nothing counts.

    >>> of_another_topic(note(b"1" * 16), b"2" * 16), of_another_topic("", b"2" * 16)
    (True, False)
    """
    return bool(said) and topic_id is not None and (said or "").rstrip("\0") != topic_id.hex()
