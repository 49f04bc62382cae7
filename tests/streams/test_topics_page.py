"""docs/topics.md says what streams/topics.py says."""

from __future__ import annotations

from pathlib import Path

from streams.topics import FOREVER, MIB, Topic, topics
from streams.units import DAY_MS, HOUR_MS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "topics.md"


def gone(topic: Topic) -> str:
    return "never" if topic.gone_ms == FOREVER else f"{topic.gone_ms // HOUR_MS} h"


def row(topic: Topic) -> str:
    if topic.cleanup == "compact":
        kept = "the newest"
    else:
        kept = "for ever" if topic.retention_ms == FOREVER else f"{topic.retention_ms // DAY_MS} days"
    if topic.trimmed:
        kept += ", then trimmed"
    public = " (public)" if topic.public else ""
    return (
        f"| `{topic.name}`{public} | `{topic.value}` | {topic.key} | {topic.partitions} | {topic.cleanup} | {kept} "
        f"| {gone(topic)} | {topic.message_bytes_max // MIB} MiB | {topic.timestamp} |"
    )


def test_the_page_of_topics_is_the_table_of_topics() -> None:
    text = PAGE.read_text()
    table = text[text.index("|---|") : text.index("<!-- end of table -->")].splitlines()[1:]

    assert table == [row(topic) for topic in topics().values()]
