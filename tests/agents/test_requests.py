"""What a language model is asked, when, and which answer is taken."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.step import NOTHING, step
from oo.v1 import decision_pb2, journal_pb2
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tables import slates
from tests.agents.build import (
    MONDAY_MS,
    Person,
    active,
    activity,
    answer,
    asking,
    completed,
    config,
    entry,
    erasure,
    event,
    event_removed,
    granted,
    last_slate,
    removed,
    task,
    withdrawn,
)
from tests.agents.build import prior as fitted

Request = decision_pb2.CandidateRequest


def policy(**changes: int):
    return active(fitted(config=asking(**changes)))


def asked_person(**changes: int) -> tuple[Person, Request]:
    """Somebody with a task, and what was asked after it."""
    ada = Person(policy=policy(**changes))
    outputs = ada.take(task("a", title="Call the dentist", priority=1))
    assert outputs.request is not None
    return ada, outputs.request


def test_nothing_is_asked_where_no_model_is_configured_and_the_row_says_nothing_of_it() -> None:
    ada = Person()
    assert ada.take(task("a")).request is None
    assert not ada.now.HasField("asked")


def test_a_request_holds_what_its_prompt_may_use_and_how_likely_its_variant_was() -> None:
    ada, request = asked_person()
    assert (request.user_id, request.reason, request.journal.offset) == ("ada", Request.THIN, ada.offset)
    assert request.runs_out_ms == ada.time_ms + 2 * MINUTE_MS
    assert [(one.id, one.title) for one in request.ask.tasks] == [("task:todo.txt/a", "Call the dentist")]
    assert request.ask.prompt_version in {"a@1", "b@2"}
    assert (request.ask.chance, request.ask.chances, request.ask.tips_max) == (1, 2, 3)


def test_both_variants_are_drawn_as_often_as_their_weights_say() -> None:
    drawn = Counter(asked_as(f"user-{n}") for n in range(400))
    assert 150 < drawn["a@1"] < 250


def asked_as(user: str) -> str:
    ada = Person(policy=policy(), user=user)
    request = ada.take(task("a", user=user)).request
    assert request is not None
    return request.ask.prompt_version


def shadowed(permille: int, **changes: int):
    """Two variants, and a prompt that is asked beside them."""
    made = asking(**changes)
    made.generation.shadows.add(prompt_version="new@3", permille=permille)
    return active(fitted(config=made))


def test_a_shadow_is_drawn_apart_from_the_variant_and_its_chance_goes_with_the_request() -> None:
    drawn, others = Counter[tuple[str, str]](), Counter[str]()
    for n in range(600):
        request = Person(policy=shadowed(300), user=f"user-{n}").take(task("a", user=f"user-{n}")).request
        assert request is not None
        assert request.ask.shadow_permille == (300 if request.ask.shadow else 0)
        drawn[request.ask.shadow, request.ask.prompt_version] += 1
        others[request.ask.prompt_version] += request.ask.prompt_version == asked_as(f"user-{n}")
    assert 130 < drawn["new@3", "a@1"] + drawn["new@3", "b@2"] < 230
    # The served draw is as it was, and neither tells of the other.
    assert others.total() == 600
    assert abs(drawn["new@3", "a@1"] - drawn["new@3", "b@2"]) < 60


def test_a_shadow_counts_as_a_call_and_is_none_where_the_day_has_not_two_left() -> None:
    ada = Person(policy=shadowed(1000, day_calls=3, apart_ms=0, runs_out_ms=0))
    asked = [ada.take(task(str(n)), after_ms=HOUR_MS).request for n in range(3)]
    assert [None if one is None else one.ask.shadow for one in asked] == ["new@3", "", None]
    assert (ada.now.asked.day_calls, ada.now.asked.day_tokens) == (3, 2 * 700)


def test_of_who_teaches_nobody_nothing_is_asked_in_the_shadow() -> None:
    ada = Person(policy=shadowed(1000))
    ada.take(withdrawn("learning", word="w1"))
    request = ada.take(task("a")).request
    assert request is not None
    assert not request.ask.shadow


def test_nothing_but_the_request_and_the_day_s_count_differs_where_a_shadow_is_asked() -> None:
    plain, beside = (Person(policy=one) for one in (policy(), shadowed(1000)))
    for ada in (plain, beside):
        outputs = ada.take(task("a"))
        assert outputs.request is not None
        ada.take(answer(outputs.request, "Ask for a morning slot", about=["task:todo.txt/a"]))
    told = beside.now
    told.asked.day_calls -= 1
    told.asked.day_tokens -= 700
    assert told == plain.now


def test_the_answer_to_the_request_becomes_candidates_of_the_variant_that_was_drawn() -> None:
    ada, request = asked_person()
    outputs = ada.take(answer(request, "Ask for a morning slot", about=["task:todo.txt/a"], took_ms=9))
    assert outputs.decision is not None
    (tip,) = ada.now.generated
    assert tip.external_id == f"{request.request_id}-0"
    assert (tip.prompt_version, tip.chance, tip.chances) == (request.ask.prompt_version, 1, 2)
    assert tip.expires_ms == request.requested_ms + 12 * HOUR_MS
    assert last_slate(ada)[f"generated:{tip.external_id}"] == ()
    assert (ada.now.asked.answered, ada.now.asked.day_tokens) == (True, 150)


def test_a_chosen_written_tip_carries_the_chance_of_its_variant() -> None:
    ada, request = asked_person()
    ada.take(answer(request, *(f"Idea {n}" for n in range(12))))
    for _ in range(30):
        made = ada.react("DISMISS").decision
        if made is not None and made.slate[made.chosen].kind == decision_pb2.Decision.GENERATED:
            assert (made.prompt_chance, made.prompt_chances, made.model) == (1, 2, "tip-generator")
            return
    raise AssertionError("never chosen")


def test_a_slate_says_of_each_written_tip_who_wrote_it_and_of_nothing_else_from_step_version_8_on() -> None:
    ada, request = asked_person()
    drawn = (request.ask.prompt_version, "tip-generator", 1, 2)
    ada.take(answer(request, "Ask for a morning slot", "Find the number"))
    for version, said in ((8, drawn), (7, ("", "", 0, 0))):
        made = ada.react("DISMISS", step_version=version).decision
        assert made is not None
        by = {
            one.id: (one.prompt_version, one.model, one.prompt_chance, one.prompt_chances)
            for one in slates.spelled_out(made)
        }
        written = {f"generated:{request.request_id}-{n}" for n in range(2)}
        assert written < by.keys()
        assert by == {name: said if name in written else ("", "", 0, 0) for name in by}


@pytest.mark.parametrize("what", ["another request", "doubled", "late", "for nobody", "of somebody who left"])
def test_an_answer_that_nobody_waits_for_changes_no_row(what: str) -> None:
    ada, request = asked_person()
    good, after_ms = answer(request, "Ask for a morning slot", about=["task:todo.txt/a"]), 1000
    match what:
        case "another request":
            good.request_id = "0" * 32
        case "doubled":
            ada.take(good)
        case "late":
            after_ms = 2 * MINUTE_MS + 1
        case "for nobody":
            ada.row = None
        case _:
            ada.take(erasure("receipt"))
    before = ada.row
    assert ada.take(good, after_ms=after_ms) == NOTHING
    assert ada.row is before


def test_an_empty_answer_is_an_answer() -> None:
    ada, request = asked_person()
    assert ada.take(journal_pb2.Candidates(request_id=request.request_id, reason="timeout")).decision is None
    assert ada.now.asked.answered
    assert ada.take(activity()).request is None
    assert ada.take(activity(), after_ms=15 * MINUTE_MS).request is not None


def test_an_answer_leads_to_no_request_and_nor_does_time() -> None:
    ada, request = asked_person(apart_ms=0, stale_ms=0)
    assert ada.take(answer(request)).request is None
    for _ in range(40):
        if not ada.now.next_wake_ms:
            break
        outputs = ada.wait(max(ada.now.next_wake_ms - ada.time_ms, 1))
        assert outputs.request is None


def imported(ada: Person, count: int) -> list[Request | None]:
    """Asked while so many tasks come, ten a second; the last is the most important."""
    return [ada.take(task(f"t{n}", priority=int(n + 1 == count)), after_ms=100).request for n in range(count)]


def test_an_import_is_asked_about_once_when_all_of_it_is_there() -> None:
    ada = Person(policy=policy(settle_ms=5_000))
    assert imported(ada, 40) == [None] * 40
    began_ms = ada.time_ms - 3_900
    assert (ada.now.asked.due_ms, ada.now.next_wake_ms) == (began_ms + 5_000, began_ms + 5_000)
    request = ada.wait(ada.now.next_wake_ms - ada.time_ms).request
    assert request is not None
    assert (request.ask.tasks[0].id, len(request.ask.tasks)) == ("task:todo.txt/t39", 12)
    assert ada.now.asked.due_ms == 0
    assert ada.take(task("later")).request is None


def test_who_reacts_is_asked_for_at_once_and_not_again_when_it_was_due() -> None:
    ada = Person(policy=policy(settle_ms=5_000))
    imported(ada, 3)
    outputs = ada.react("SEEN")
    assert outputs.request is not None
    assert len(outputs.request.ask.tasks) == 3
    assert ada.now.asked.due_ms == 0
    assert ada.take(answer(outputs.request)).request is None
    assert ada.take(activity(), after_ms=5_000).request is None


@pytest.mark.parametrize("how", ["withdrawn", "no more configured"])
def test_what_was_due_is_not_asked_where_it_may_not_be_any_more(how: str) -> None:
    ada = Person(policy=policy(settle_ms=5_000))
    imported(ada, 3)
    due_ms = ada.now.asked.due_ms
    if how == "withdrawn":
        assert ada.take(withdrawn("generated", word="w")).request is None
    else:
        ada.policy = active()
    while ada.now.asked.due_ms:
        assert ada.wait(ada.now.next_wake_ms - ada.time_ms).request is None
    assert ada.time_ms == due_ms
    assert ada.now.next_wake_ms > due_ms


def test_a_worker_that_was_away_asks_when_it_is_back() -> None:
    ada = Person(policy=policy(settle_ms=5_000))
    imported(ada, 3)
    request = ada.wait(HOUR_MS).request
    assert request is not None
    assert request.runs_out_ms == ada.time_ms + 2 * MINUTE_MS


def test_no_more_is_asked_on_a_day_than_the_budget_has() -> None:
    ada = Person(policy=policy(apart_ms=0, day_calls=5))
    requests = [ada.take(task(f"t{n}"), after_ms=5 * MINUTE_MS).request for n in range(40)]
    assert sum(one is not None for one in requests) == 5
    assert ada.take(task("morning"), after_ms=DAY_MS).request is not None


def test_tokens_that_were_spent_count_against_the_day() -> None:
    ada, request = asked_person(apart_ms=0, day_tokens=800)
    ada.take(answer(request, "Ask"))
    assert ada.take(task("b")).request is None


def test_a_request_without_an_answer_counts_as_all_that_it_may_have_taken() -> None:
    ada, _ = asked_person(apart_ms=0, day_tokens=1500)
    assert ada.take(task("b"), after_ms=3 * MINUTE_MS).request is not None
    assert ada.take(task("c"), after_ms=3 * MINUTE_MS).request is None
    assert ada.take(task("d"), after_ms=DAY_MS).request is not None


@pytest.mark.parametrize("of", ["tasks", "calendar", "source:work"])
def test_what_a_prompt_had_of_what_is_withdrawn_is_in_no_tip_and_no_later_prompt(of: str) -> None:
    ada, request = asked_person(apart_ms=0)
    ada.take(event("e", start_ms=MONDAY_MS + 3 * HOUR_MS, end_ms=MONDAY_MS + 4 * HOUR_MS))
    ada.take(answer(request, "Before the secret meeting", about=["task:todo.txt/a"]))
    assert ada.now.generated
    ada.take(withdrawn(of, word="w"))
    assert not ada.now.generated
    later = ada.take(task("b"), after_ms=HOUR_MS).request
    assert later is None or not later.ask.written


def test_requests_of_one_person_lie_apart() -> None:
    ada, request = asked_person()
    ada.take(answer(request, "Ask", about=["task:todo.txt/a"]))
    assert ada.take(task("b"), after_ms=14 * MINUTE_MS).request is None
    second = ada.take(task("c"), after_ms=2 * MINUTE_MS).request
    assert second is not None
    assert second.request_id != request.request_id


def test_what_was_asked_is_not_asked_again_while_nothing_moved() -> None:
    ada, request = asked_person(thin=1)
    ada.take(answer(request, "Ask", about=["task:todo.txt/a"]))
    assert ada.take(activity(), after_ms=HOUR_MS).request is None
    moved = ada.take(task("b"), after_ms=HOUR_MS).request
    assert moved is not None
    assert moved.reason == Request.MOVED
    assert list(moved.ask.written) == ["Ask"]


@pytest.mark.parametrize(
    "gone",
    [
        completed("a"),
        removed("a"),
        withdrawn("source:todo.txt", word="w"),
        withdrawn("tasks", word="w"),
    ],
    ids=["done", "gone", "source withdrawn", "tasks withdrawn"],
)
@pytest.mark.parametrize("before", [True, False])
def test_a_tip_leaves_with_what_it_is_about(gone, before: bool) -> None:
    ada, request = asked_person()
    ada.take(task("b"))
    said = answer(request, "Ask for a morning slot", about=["task:todo.txt/a"])
    for one in (gone, said) if before else (said, gone):
        ada.take(one)
    ada.take(task("c", title="Something new"))
    ada.react("DISMISS")
    found = {name: why for name, why in last_slate(ada).items() if name.startswith("generated:")}
    if gone.__class__.__name__ == "SubjectRequest":
        assert found == {}  # The request, or all that was written, was withdrawn.
    else:
        assert list(found.values()) == [("about",)]


@pytest.mark.parametrize("kind", ["SNOOZE", "DISMISS"])
def test_a_tip_is_out_while_what_it_is_about_is_put_off(kind: str) -> None:
    ada, request = asked_person()
    assert ada.now.current_candidate == "task:todo.txt/a"
    ada.react("SEEN")  # Who has seen a tip keeps it, whatever else comes.
    ada.take(answer(request, "Ask for a morning slot", about=["task:todo.txt/a"]))
    assert ada.now.current_candidate == "task:todo.txt/a"
    ada.react(kind)
    assert next(why for name, why in last_slate(ada).items() if name.startswith("generated:")) == ("about",)


def test_the_tip_that_is_served_goes_with_what_it_is_about() -> None:
    ada, request = asked_person()
    ada.take(answer(request, *(f"Idea {n}" for n in range(15)), about=["task:todo.txt/a"]))
    for _ in range(60):
        if ada.now.current_candidate.startswith("generated:"):
            break
        ada.react("SEEN")
        ada.react("SNOOZE", until_ms=ada.time_ms + MINUTE_MS)
        ada.take(activity(), after_ms=2 * MINUTE_MS)
    assert ada.now.current_candidate.startswith("generated:")
    tip = next(outputs.tip for _, outputs in reversed(ada.log) if outputs.tip is not None)
    assert tip.why[0] == "On your list: Call the dentist"
    ada.react("SEEN")
    outputs = ada.take(completed("a"))
    assert outputs.decision is not None
    assert decision_pb2.Decision.Trigger.Name(outputs.decision.trigger) == "BECAME_WRONG"


def test_a_tip_about_an_event_ends_with_it_and_goes_when_it_is_cancelled() -> None:
    ada = Person(policy=policy())
    request = ada.take(
        event("e", start_ms=MONDAY_MS + HOUR_MS, end_ms=MONDAY_MS + 2 * HOUR_MS, title="Stand-up")
    ).request
    assert request is not None
    assert [one.id for one in request.ask.events] == ["event:ical/e"]
    ada.take(answer(request, "Write down two points", about=["event:ical/e"]))
    assert ada.now.generated[0].expires_ms == MONDAY_MS + 2 * HOUR_MS
    ada.take(event_removed("e"))
    ada.react("DISMISS")
    assert next(why for name, why in last_slate(ada).items() if name.startswith("generated:")) == ("about",)


def test_a_request_has_nothing_of_what_was_withdrawn() -> None:
    ada = Person(policy=policy(apart_ms=0))
    ada.take(withdrawn("calendar", word="c"))
    ada.take(withdrawn("source:work", word="s"))
    ada.take(event("e", start_ms=MONDAY_MS + HOUR_MS, end_ms=MONDAY_MS + 2 * HOUR_MS))
    ada.take(task("secret", source="work"))
    request = ada.take(task("open"), after_ms=3 * MINUTE_MS).request
    assert request is not None
    assert not request.ask.events
    assert [one.id for one in request.ask.tasks] == ["task:todo.txt/open"]


@pytest.mark.parametrize("of", ["generated", "tasks", "calendar", "source:todo.txt"])
def test_a_withdrawal_takes_back_what_stands_asked(of: str) -> None:
    ada, request = asked_person()
    outputs = ada.take(withdrawn(of, word="w"))
    assert outputs.request is not None
    assert (outputs.request.reason, outputs.request.HasField("ask")) == (Request.WITHDRAWN, False)
    assert ada.take(answer(request, "Ask")) == NOTHING


def test_a_grant_takes_nothing_back() -> None:
    ada = Person(policy=policy())
    ada.take(withdrawn("calendar", word="w"))
    assert ada.take(task("a")).request is not None
    assert ada.take(granted("calendar", word="g", knows_of="w")).request is None


def test_who_leaves_takes_back_what_stands_asked_whatever_it_was() -> None:
    ada, _ = asked_person()
    outputs = ada.take(erasure("receipt"))
    assert outputs.request is not None
    assert (outputs.request.reason, outputs.request.HasField("ask")) == (Request.WITHDRAWN, False)
    assert Person().take(erasure("receipt")).request is None


def test_without_the_purpose_nothing_is_asked() -> None:
    ada = Person(policy=policy())
    ada.take(withdrawn("generated", word="w"))
    assert ada.take(task("a")).request is None


def test_a_record_at_the_fence_asks_nothing_again() -> None:
    ada, _ = asked_person()
    one, _ = ada.log[-1]
    assert step(ada.row, one, ada.policy) == (ada.row, NOTHING)


def test_records_of_before_ask_nothing_and_take_what_nobody_asked_for() -> None:
    ada = Person(policy=policy())
    assert ada.take(task("a"), step_version=6).request is None
    said = journal_pb2.Candidates(
        request_id="r", tips=[journal_pb2.GeneratedTip(external_id="x", title="Idea", expires_ms=ada.time_ms + DAY_MS)]
    )
    ada.take(said)
    assert [one.external_id for one in ada.now.generated] == ["x"]


STEPS = (
    *("task a", "task b", "done a", "activity", "seen", "snooze", "answer", "answer first"),
    *("withdraw tasks", "withdraw generated", "withdraw calendar", "grant", "event", "wait", "day"),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=40), st.sampled_from([0, 5_000, 45_000]))
def test_any_history_uses_nothing_that_was_withdrawn_takes_no_second_answer_and_keeps_its_budget(
    steps, settle_ms: int
) -> None:
    ada = Person(policy=policy(apart_ms=MINUTE_MS, day_calls=3, settle_ms=settle_ms))
    asked: list[Request] = []
    answered: set[str] = set()
    gone: dict[str, str] = {}
    calls: Counter[int] = Counter()
    for n, what in enumerate(steps):
        after_ms, before, outputs = 30_000, ada.row, None
        match what.split():
            case ["task", name]:
                payload = task(name, title=f"{name} {n}")
            case ["done", name]:
                payload = completed(name)
            case ["activity"]:
                payload = activity()
            case ["seen"] if ada.row is not None and ada.row.pending_columns:
                outputs = ada.react("SEEN")
            case ["snooze"] if ada.row is not None and ada.row.current_candidate not in ("", "none"):
                outputs = ada.react("SNOOZE", until_ms=ada.time_ms + MINUTE_MS)
            case ["answer", *which] if asked and asked[-1].HasField("ask"):
                request = asked[0] if which == ["first"] else asked[-1]
                payload = answer(request, f"Idea {n}", about=[one.id for one in request.ask.tasks])
                stands = ada.row is not None and ada.row.asked.request_id == request.request_id
                outputs = ada.take(payload, after_ms=after_ms)
                if ada.row is not before:
                    assert stands
                    assert request.request_id not in answered
                    answered.add(request.request_id)
                assert outputs.request is None
                continue
            case ["withdraw", name] if name not in gone:
                gone[name] = f"w{n}"
                payload = withdrawn(name, word=f"w{n}")
            case ["grant"] if gone:
                name, word = gone.popitem()
                payload = granted(name, word=f"g{n}", knows_of=word)
            case ["event"]:
                payload = event(f"e{n}", start_ms=ada.time_ms + HOUR_MS, end_ms=ada.time_ms + 2 * HOUR_MS)
            case ["wait"] if ada.row is not None and ada.row.next_wake_ms:
                due_ms = ada.row.asked.due_ms
                outputs = ada.wait(max(ada.row.next_wake_ms - ada.time_ms, 1))
                assert outputs.request is None or 0 < due_ms <= ada.time_ms
            case ["day"]:
                payload, after_ms = activity(), DAY_MS
            case _:
                continue
        outputs = outputs or ada.take(payload, after_ms=after_ms)
        request = outputs.request
        if request is not None:
            asked.append(request)
            if request.HasField("ask"):
                calls[request.requested_ms // DAY_MS] += 1
                assert "generated" not in gone
                assert not ("tasks" in gone and request.ask.tasks)
                assert not ("calendar" in gone and request.ask.events)
        decision = outputs.decision
        if decision is not None and "generated" in gone:
            assert decision.slate[decision.chosen].kind != decision_pb2.Decision.GENERATED
        if decision is not None and "tasks" in gone:
            by_id = {one.id: one for one in decision.slate}
            for tip in ada.now.generated:
                one = by_id.get(f"generated:{tip.external_id}")
                assert one is None or one.ineligible or not any(ref.startswith("task:") for ref in tip.about)
    assert all(count <= 3 for count in calls.values())


def test_the_reason_stands_in_the_packed_slate() -> None:
    assert slates.REASONS[-1] == "about"
    assert entry(task("a"), offset=1, time_ms=1).record.step_version == 10
    assert not config().HasField("generation")
