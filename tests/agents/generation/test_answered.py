"""Every answer of a model becomes one record: its tips, or a word for why there are none."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.generation import answered, guards
from agents.generation.prompts import NoPrompt, latest
from oo.v1 import decision_pb2, journal_pb2, subject_request_pb2
from tests.agents.generation.asked import TIPS, asked

GOOD = {"about": ["t1"], "title": TIPS["en"][0], "detail": TIPS["en"][1]}
OTHER = {"about": ["t2", "e1"], "title": "Note down what you want to tell him", "detail": "Then you find the words."}


class Same:
    """An embedder that finds everything alike."""

    version = "same@1"

    def permilles(self, title: str, others: Sequence[str]) -> list[int]:
        return [900 - at for at, _ in enumerate(others)]


def request() -> decision_pb2.CandidateRequest:
    made = decision_pb2.CandidateRequest(request_id="r1", user_id="ada", ask=asked())
    made.ask.prompt_version, made.ask.model = latest("tips").version, "tip-generator"
    return made


def said(*tips: dict[str, object]) -> str:
    return json.dumps({"tips": tips})


def test_tips_have_the_requests_id_and_all_that_they_rest_on() -> None:
    found = answered.candidates(request(), said(GOOD, OTHER))
    assert [one.external_id for one in found.tips] == ["r1-0", "r1-1"]
    assert list(found.tips[1].about) == ["task:list/1", "event:cal/1"]
    assert list(found.tips[0].purposes) == [
        subject_request_pb2.PURPOSE_GENERATED,
        subject_request_pb2.PURPOSE_TASKS,
        subject_request_pb2.PURPOSE_CALENDAR,
    ]
    assert (found.reason, found.prompt_version, found.model) == ("", latest("tips").version, "tip-generator")


def test_what_a_guard_holds_back_is_counted_by_its_word() -> None:
    link = {**GOOD, "title": "Look at shop.example first"}
    found = answered.candidates(request(), said(link, {**GOOD, "about": []}, GOOD))
    assert [one.title for one in found.tips] == [GOOD["title"]]
    assert list(found.dropped) == [
        journal_pb2.Dropped(guard="about", count=1),
        journal_pb2.Dropped(guard="link", count=1),
    ]


def test_where_nothing_is_left_the_answer_says_so() -> None:
    found = answered.candidates(request(), said({**GOOD, "about": []}))
    assert (list(found.tips), found.reason) == ([], "held-back")


def test_the_same_words_twice_are_one_tip() -> None:
    found = answered.candidates(
        request(), said(GOOD, {**GOOD, "about": ["t2"]}, {**GOOD, "title": "For five minutes: open the window"})
    )
    assert len(found.tips) == 1
    assert list(found.dropped) == [journal_pb2.Dropped(guard="duplicate", count=2)]


def test_what_an_embedder_says_stands_on_the_tip_in_whole_numbers() -> None:
    ask = request()
    del ask.ask.tasks[1:], ask.ask.written[:]
    ask.ask.tasks[0].title = "Read pull request 412"
    found = answered.candidates(ask, said({**GOOD, "title": "Look through the change 413"}), embedder=Same())
    assert found.tips[0].likeness == journal_pb2.Likeness(embedder="same@1", permille=900, to="task:list/0")
    assert (
        answered.candidates(ask, said({**GOOD, "title": "Look through the change 412"}), embedder=Same()).reason
        == "held-back"
    )


class OfBoxes:
    """An embedder that finds all alike that is about boxes."""

    version = "boxes@1"

    def __init__(self, permille: int) -> None:
        self.permille = permille

    def permilles(self, title: str, others: Sequence[str]) -> list[int]:
        return [self.permille if "boxes" in one else 0 for one in others]


def test_tips_that_are_too_much_alike_go_whatever_their_names_and_how_alike_the_others_are_is_told() -> None:
    ask = request()
    ask.ask.written[:] = ["Ask Bob about the boxes"]
    two = said(*({**GOOD, "title": f"Ask {name} about the boxes"} for name in ("Carla", "Dora")))
    far = answered.candidates(ask, two, embedder=OfBoxes(300))
    assert (len(far.tips), far.pairs, far.alike) == (2, 3, 900)
    near = answered.candidates(ask, two, embedder=OfBoxes(850))
    assert (list(near.dropped), near.reason) == ([journal_pb2.Dropped(guard="alike", count=2)], "held-back")
    assert (near.pairs, near.alike) == (0, 0)
    assert answered.candidates(ask, two).pairs == 0


def test_a_prompt_that_is_not_there_is_no_answer() -> None:
    ask = request()
    ask.ask.prompt_version = "tips@000000000000"
    with pytest.raises(NoPrompt):
        answered.chat(ask.ask)
    with pytest.raises(NoPrompt):
        answered.candidates(ask, said(GOOD))


TIP = st.fixed_dictionaries(
    {
        "about": st.lists(st.sampled_from(["t1", "t3", "e1", "x"])),
        "title": st.text(max_size=60) | st.just(GOOD["title"]),
    },
    optional={"detail": st.text(max_size=60)},
)


@given(st.text(max_size=200) | st.lists(TIP, max_size=6).map(lambda tips: said(*tips)))
def test_any_answer_is_one_record_of_tips_that_no_guard_holds_back(text: str) -> None:
    found = answered.candidates(request(), text)
    assert bool(found.tips) != bool(found.reason)
    assert len(found.tips) + sum(one.count for one in found.dropped) <= request().ask.tips_max
    assert {one.guard for one in found.dropped} <= {*guards.GUARDS, answered.DUPLICATE}
