"""todo.txt: the whole format, what it leaves open, and whatever else stands in files of that name."""

from __future__ import annotations

import string
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import protovalidate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.source_file import BYTES_MAX, Parsed, UnreadableFile
from connectors.todo_txt import parse, take_apart
from oo.v1.signal_pb2 import TaskUpserted

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 23, 12, tzinfo=BERLIN)
MODIFIED = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
VALIDATOR = protovalidate.Validator()


def read(text: str | bytes, *, now: datetime = NOW, zone: ZoneInfo = BERLIN, name: str = "todo.txt") -> Parsed:
    data = text.encode() if isinstance(text, str) else text
    return parse(data, name=name, user_id="ann", zone=zone, now=now, modified=MODIFIED)


def task(line: str) -> TaskUpserted:
    (signal,) = read(line).signals
    assert signal.WhichOneof("payload") == "task_upserted"
    return signal.task_upserted


def task_id(line: str) -> str:
    (signal,) = read(line).signals
    payload = signal.WhichOneof("payload")
    assert payload is not None
    return str(getattr(signal, payload).external_id)


def problems(text: str | bytes) -> list[str]:
    return [str(problem) for problem in read(text).problems]


# The format


@pytest.mark.parametrize(("letter", "priority"), [("A", 1), ("B", 2), ("C", 3), ("D", 4), ("M", 4), ("Z", 4)])
def test_a_letter_becomes_one_of_four_priorities(letter: str, priority: int) -> None:
    assert task(f"({letter}) Call Mom").priority == priority


@pytest.mark.parametrize("line", ["Call Mom (A)", "(a) Call Mom", "(A)Call Mom", "(AA) Call Mom", "(1) Call Mom"])
def test_what_only_looks_like_a_priority_stays_text(line: str) -> None:
    assert (task(line).priority, task(line).title) == (0, line)


def test_dates_in_front_are_no_part_of_the_text() -> None:
    line = take_apart("x 2026-11-20 2026-11-01 Pay rent")
    assert (line.completed_on, line.created_on, line.words) == (date(2026, 11, 20), date(2026, 11, 1), ("Pay", "rent"))


def test_a_date_that_no_calendar_has_stays_text() -> None:
    assert task("2026-02-31 Pay rent").title == "2026-02-31 Pay rent"


@pytest.mark.parametrize(
    "line", ["x Pay rent", "x 2026-11-20 Pay rent", "x (A) 2026-11-20 Pay rent", "x 2026-11-20 Pay rent pri:A"]
)
def test_a_ticked_line_is_a_completed_task(line: str) -> None:
    assert [signal.WhichOneof("payload") for signal in read(line).signals] == ["task_completed"]


@pytest.mark.parametrize("line", ["xylophone lesson", "X Pay rent", "pay x rent", "x"])
def test_an_x_elsewhere_ticks_nothing_off(line: str) -> None:
    assert task(line).title == line


def test_contexts_and_projects_are_labels_and_leave_the_title_where_they_stand_around_it() -> None:
    parsed = task("@desk (no) Write report +Work @home")
    assert (list(parsed.labels), parsed.title) == (["desk", "Work", "home"], "(no) Write report")


def test_a_context_inside_a_sentence_is_also_a_word_of_it() -> None:
    parsed = task("Email @ben about +Launch plans @desk")
    assert (parsed.title, list(parsed.labels)) == ("Email @ben about +Launch plans", ["ben", "Launch", "desk"])


def test_an_address_is_no_context() -> None:
    assert list(task("Write to ben@example.org and 1+1 @").labels) == []


def test_a_line_of_labels_alone_keeps_them_as_its_title() -> None:
    assert task("+Garden @home").title == "+Garden @home"


@pytest.mark.parametrize(
    ("zone", "utc"), [("Europe/Berlin", "2026-11-30T22:59:59Z"), ("America/Los_Angeles", "2026-12-01T07:59:59Z")]
)
def test_due_is_the_end_of_that_day_where_the_person_lives(zone: str, utc: str) -> None:
    (signal,) = read("Pay rent due:2026-11-30", zone=ZoneInfo(zone)).signals
    assert signal.task_upserted.due.ToJsonString() == utc


def test_due_with_a_time_is_that_minute() -> None:
    assert task("Pay rent due:2026-11-30T17:00").due.ToJsonString() == "2026-11-30T16:00:00Z"


@pytest.mark.parametrize("due", ["soon", "2026-02-31", "9999-99-99", "30.11.2026", "1900-01-01"])
def test_a_due_date_that_is_none_is_said_and_the_task_taken(due: str) -> None:
    parsed = read(f"Fix the bike due:{due}")
    assert (parsed.signals[0].task_upserted.title, parsed.signals[0].task_upserted.HasField("due")) == (
        "Fix the bike",
        False,
    )
    assert str(parsed.problems[0]) == f"line 1: due:{due} is no date; write due:2026-11-30"


@pytest.mark.parametrize(
    ("tag", "minutes"),
    [
        ("est:30m", 30),
        ("est:45", 45),
        ("est:1h", 60),
        ("est:1.5h", 90),
        ("est:1h30m", 90),
        ("min:20", 20),
        ("dur:2H", 120),
    ],
)
def test_an_estimate_is_minutes(tag: str, minutes: int) -> None:
    assert task(f"Write {tag} report").estimated_minutes == minutes
    assert task(f"Write {tag} report").title == "Write report"


def test_an_estimate_over_a_week_is_a_week_and_said() -> None:
    assert task("Write est:900h").estimated_minutes == 10_080
    assert problems("Write est:900h") == ["line 1: est:900h is over a week; taken as a week"]


def test_a_tag_that_is_not_ours_is_part_of_the_text() -> None:
    assert task("Meet Ben at 10:30: bring note:blue").title == "Meet Ben at 10:30: bring note:blue"


def test_the_first_web_address_is_the_link() -> None:
    parsed = task("Read https://a.example/x?y=1#z then http://b.example")
    assert parsed.url == "https://a.example/x?y=1#z"


def test_a_start_date_ahead_waits_and_comes_in_on_its_day() -> None:
    line = "Renew passport t:2026-11-24"
    assert (read(line).signals, read(line).waiting) == ((), 1)
    assert len(read(line, now=NOW + timedelta(days=1)).signals) == 1


def test_a_start_date_is_a_day_where_the_person_lives() -> None:
    late = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
    assert read("Renew passport t:2026-11-24", now=late).waiting == 0
    assert read("Renew passport t:2026-11-24", now=late, zone=ZoneInfo("UTC")).waiting == 1


def test_a_hidden_task_waits() -> None:
    assert read("Surprise h:1").waiting == 1


def test_a_task_without_a_text_is_said_and_left_out() -> None:
    assert problems("(A) 2026-11-20\nCall Mom\n(B) due:2026-11-30") == [
        "line 1: a task without a text; left out",
        "line 3: a task without a text; left out",
    ]


def test_lines_end_as_any_system_ends_them() -> None:
    titles = [signal.task_upserted.title for signal in read("a\r\nb\rc\n\n \n\x85d\u2028e").signals]
    assert titles == ["a", "b", "c", "d e"]


def test_the_event_time_is_when_the_file_was_written() -> None:
    assert read("Call Mom").signals[0].event_time.ToDatetime(tzinfo=UTC) == MODIFIED


# Ids


@pytest.mark.parametrize(
    "edited",
    [
        "(A) Call Mom +Family",
        "2026-11-20 Call Mom +Family",
        "(B) 2026-11-20 Call  Mom +Family due:2026-11-30 est:5m t:2026-01-01",
        "x Call Mom +Family",
        "x 2026-11-22 2026-11-20 Call Mom +Family pri:B",
        "call mom +family",
    ],
)
def test_the_id_stays_when_priority_dates_tags_or_the_tick_change(edited: str) -> None:
    assert task_id(edited) == task_id("Call Mom +Family")


@pytest.mark.parametrize("other", ["Call Dad +Family", "Call Mom +Work", "Call Mom"])
def test_another_text_is_another_task(other: str) -> None:
    assert task_id(other) != task_id("Call Mom +Family")


def test_a_tag_id_is_the_id_whatever_the_text_becomes() -> None:
    assert task_id("Call Mom id:7") == task_id("(A) Phone Mother uid:7 @phone") == "todo.txt#7"


def test_the_same_tag_id_in_another_file_is_another_task() -> None:
    assert read("Call Mom id:7", name="work.txt").signals[0].task_upserted.external_id == "work.txt#7"


def test_the_same_text_twice_is_two_tasks() -> None:
    ids = [signal.task_upserted.external_id for signal in read("Call Mom\nCall Mom").signals]
    assert ids == [task_id("Call Mom"), task_id("Call Mom") + "#2"]


@pytest.mark.parametrize("written_anew_above", [True, False])
def test_a_repeating_task_that_is_ticked_off_keeps_its_id_and_the_new_line_gets_the_next(
    written_anew_above: bool,
) -> None:
    ticked = "x 2026-11-22 Water plants rec:1w due:2026-11-22"
    anew = "Water plants rec:1w due:2026-11-29"
    first, second = (anew, ticked) if written_anew_above else (ticked, anew)
    said = {signal.WhichOneof("payload"): signal for signal in read(f"{first}\n{second}").signals}
    assert said["task_completed"].task_completed.external_id == task_id("Water plants rec:1w due:2026-11-22")
    assert said["task_upserted"].task_upserted.external_id == task_id("Water plants") + "#2"


def test_the_same_tag_id_twice_is_said_and_numbered() -> None:
    parsed = read("Call Mom id:7\nPay rent id:7")
    assert [signal.task_upserted.external_id for signal in parsed.signals] == ["todo.txt#7", "todo.txt#7#2"]
    assert str(parsed.problems[0]) == "line 2: the id '7' stands on line 1 too; numbered"


# Bad input


def test_latin_1_is_read_and_named() -> None:
    parsed = read("Call Mom\nGröße der Tür messen".encode("latin-1"))
    assert parsed.signals[1].task_upserted.title == "Größe der Tür messen"
    assert str(parsed.problems[0]).startswith("line 2: not UTF-8; read as Windows-1252 (Latin-1)")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_what_windows_saves_is_read(encoding: str) -> None:
    text = "(A) Grüße an Cleo +Home\n(B) Pay rent\n"
    assert [s.task_upserted.title for s in read(text.encode(encoding)).signals] == ["Grüße an Cleo", "Pay rent"]


def test_control_characters_are_spaces() -> None:
    assert task("Call\x00\x1b[1mMom\x7f now\x0b\t!").title == "Call [1mMom now !"


def test_every_script_and_emoji_stays_as_it_is() -> None:
    line = "שלום 📞 👩‍👩‍👧 مرحبا नमस्ते"
    assert task(line).title == line


def test_a_title_of_100_kb_is_cut_at_500_and_said() -> None:
    parsed = read("Call Mom\n" + "ab " * 33_000 + "\nPay rent")
    assert [len(signal.task_upserted.title) for signal in parsed.signals] == [8, 500, 8]
    assert str(parsed.problems[0]) == "line 2: the text has 98,999 characters; cut at 500"


def test_forty_labels_are_cut_at_32_and_said() -> None:
    line = "Tidy up " + " ".join(f"@c{number}" for number in range(40))
    assert len(task(line).labels) == 32
    assert problems(line) == ["line 1: 40 contexts and projects; the first 32 taken"]


def test_a_file_over_10_mb_is_refused() -> None:
    with pytest.raises(UnreadableFile, match=r"it has 10\.0 MB, the limit is 10 MB"):
        read(b"a" * (BYTES_MAX + 1))


def test_an_image_is_refused() -> None:
    with pytest.raises(UnreadableFile, match="not a text file"):
        read(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)


def test_ten_thousand_tasks_are_ten_thousand_signals_with_ids_of_their_own() -> None:
    signals = read("\n".join(f"(C) Task number {number} +Work" for number in range(10_000))).signals
    assert len({signal.task_upserted.external_id for signal in signals}) == 10_000


def test_past_20000_lines_the_rest_is_left_out_and_nothing_may_be_taken_as_gone() -> None:
    parsed = read("\n".join(f"Task {number}" for number in range(20_005)))
    assert (len(parsed.signals), parsed.complete) == (20_000, False)
    assert str(parsed.problems[0]) == "line 20001: a file may hold 20,000 tasks; 5 left out"


# Properties

words = st.text(string.ascii_letters + "äöüß漢字שלום", min_size=1, max_size=8).filter(lambda word: word != "x")
days = st.dates(date(1990, 1, 1), date(2100, 1, 1))


@given(
    priority=st.none() | st.sampled_from(string.ascii_uppercase),
    created=st.none() | days,
    text=st.lists(words, min_size=1, max_size=8),
    labels=st.lists(words, max_size=4, unique=True),
    due=st.none() | days,
    minutes=st.none() | st.integers(1, 600),
)
def test_a_task_that_was_written_by_the_rules_is_read_back(
    priority: str | None,
    created: date | None,
    text: list[str],
    labels: list[str],
    due: date | None,
    minutes: int | None,
) -> None:
    parts = [
        f"({priority})" if priority else "",
        created.isoformat() if created else "",
        *text,
        *(f"+{label}" for label in labels),
        f"due:{due.isoformat()}" if due else "",
        f"est:{minutes}m" if minutes else "",
    ]
    parsed = task(" ".join(part for part in parts if part))
    assert parsed.title == " ".join(text)
    assert parsed.priority == (min("ABCD".find(priority) + 1 or 4, 4) if priority else 0)
    assert list(parsed.labels) == labels
    assert parsed.estimated_minutes == (minutes or 0)
    if due:
        assert parsed.due.ToDatetime(tzinfo=BERLIN).date() == due


@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_raise_anything_but_unreadable_and_every_signal_passes_the_door(data: bytes) -> None:
    try:
        parsed = read(data)
    except UnreadableFile:
        return
    for signal in parsed.signals:
        assert VALIDATOR.collect_violations(signal) == []


pieces = st.sampled_from(
    ["x", "X", "(A)", "(Z)", "2026-11-20", "2026-02-31", "@", "+", "@a", "+b", "due:2026-11-30", "due:", "due:x", "t:",
     "t:2027-01-01", "h:1", "pri:A", "pri:", "rec:1w", "id:1", "id:1#2", "id:", "uid:1", "est:1h", "est:99999999h", "min:0",
     "http://", "https://a.b", "a:b:c", "::", "\u202e", "\u200d", "é", "x" * 600, "due:9999-12-31", "due:0001-01-01"]
)  # fmt: skip


@given(st.lists(st.lists(pieces, max_size=8).map(" ".join), max_size=6).map("\n".join))
def test_no_order_of_the_formats_own_pieces_raises_and_ids_never_meet(text: str) -> None:
    signals = read(text).signals
    for signal in signals:
        assert VALIDATOR.collect_violations(signal) == []
    ids = [getattr(signal, signal.WhichOneof("payload") or "").external_id for signal in signals]
    assert len(set(ids)) == len(ids)
