"""Simulated people, their truth, and policies over slates of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from agents.policies import POLICIES
from bench.decisions.played import captured, gains, play
from bench.decisions.slates import START_MS, Slates, features, slates
from deploy.simulator import likings, visit, world, writer
from deploy.simulator.facts import facts
from deploy.simulator.life import Act, Life
from deploy.simulator.likings import Written
from deploy.simulator.people import TOPICS, Person, moment_ms, people
from deploy.simulator.pure import simulate
from deploy.simulator.scenario import FOLDER, Scenario, ScenarioError, load, names, parse
from deploy.simulator.world import DISMISS, DONE, IGNORE, Moments
from oo.v1 import decision_pb2, policy_pb2
from streams.units import DAY_MS
from tables.zones import local

SMALL = replace(load("base"), people=20, decisions_per_person=12)


def crowd(scenario: Scenario = SMALL, *, seed: int = 7) -> list[Person]:
    return people(scenario, count=40, seed=seed, start_ms=START_MS, end_ms=START_MS + 30 * DAY_MS)


def same(a: Person, b: Person) -> bool:
    alike = np.array_equal(a.tastes.topic, b.tastes.topic) and np.array_equal(a.tastes.routine, b.tastes.routine)
    return alike and replace(a, tastes=b.tastes, tastes_after=b.tastes_after) == b


class Fixed:
    """Chooses by what it is given for each decision in turn."""

    def __init__(self, pmfs: np.ndarray) -> None:
        self._pmfs = iter(pmfs)
        self.heard: list[tuple[str, int, float, int]] = []

    def pmf(self, user_id: str, x: np.ndarray, *, silent: int | None, time_ms: int, key: int) -> np.ndarray:
        return next(self._pmfs)

    def learn(self, user_id, x, *, action, reward, propensity, time_ms) -> None:
        self.heard.append((user_id, action, reward, time_ms))


def best(found: Slates) -> np.ndarray:
    return (found.value == found.value.max(axis=1, keepdims=True)).astype(float)


def even(found: Slates) -> np.ndarray:
    return np.full(found.value.shape, 1 / found.value.shape[1])


# Scenarios


@pytest.mark.parametrize("name", names())
def test_each_scenario_that_comes_along_parses_and_says_what_it_is_about(name):
    assert load(name).about


def test_there_are_eight_scenarios_at_least_and_each_but_base_changes_something():
    assert len(names()) >= 8
    unchanged = [name for name in names() if replace(load(name), name="", about="") == Scenario()]
    assert unchanged == ["base"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lost = 1.5", "within 0.0 and 1.0"),
        ("lost = nan", "within"),
        ('lost = "much"', "should be a number"),
        ("people = 1.5", "should be a whole number"),
        ("people = true", "should be a whole number"),
        ("people = 0", "within 1"),
        ("silent_candidate = 1", "true or false"),
        ("peeple = 3", "no setting 'peeple'"),
        ('name = "mine"', "no setting 'name'"),
        ("lost =", "scenario mine: "),
        ("[lost]", "should be a number"),
    ],
)
def test_a_wrong_scenario_is_refused_with_what_is_wrong(text, said):
    with pytest.raises(ScenarioError, match=said):
        parse(text, name="mine")


def test_a_scenario_may_be_a_file_of_ones_own_and_one_that_is_missing_is_told(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text("people = 3")
    assert load(str(mine)).people == 3
    with pytest.raises(ScenarioError, match="cannot be read"):
        load(str(tmp_path / "other.toml"))
    with pytest.raises(ScenarioError, match="no scenario"):
        load("../scenarios/base")


def test_the_scenarios_ship_with_the_package():
    assert FOLDER.parent.name == "simulator"
    assert (FOLDER / "base.toml").is_file()


# People


def test_the_same_seed_makes_the_same_people_and_another_makes_others():
    assert all(same(a, b) for a, b in zip(crowd(), crowd(), strict=True))
    assert not any(same(a, b) for a, b in zip(crowd(), crowd(seed=8), strict=True))


def test_more_people_leave_those_before_them_as_they_are():
    more = people(SMALL, count=60, seed=7, start_ms=START_MS, end_ms=START_MS + 30 * DAY_MS)
    assert all(same(a, b) for a, b in zip(crowd(), more[:40], strict=True))


def test_without_heterogeneity_all_people_have_the_same_tastes():
    alike = crowd(replace(SMALL, heterogeneity=0.0))
    assert all(np.array_equal(one.tastes.topic, alike[0].tastes.topic) for one in alike)
    assert not np.array_equal(crowd()[0].tastes.topic, crowd()[1].tastes.topic)


def test_people_of_one_cluster_are_nearer_to_each_other_than_to_those_of_others():
    many = people(SMALL, count=200, seed=1, start_ms=START_MS, end_ms=START_MS + 30 * DAY_MS)
    topic, cluster = np.array([one.tastes.topic for one in many]), np.array([one.cluster for one in many])
    apart = np.abs(topic[:, None] - topic[None]).mean(axis=2)
    together = cluster[:, None] == cluster[None]
    assert np.median(apart[together]) < 0.8 * np.median(apart[~together])


def test_about_the_share_that_was_asked_for_drifts_and_only_those_change():
    many = people(SMALL, count=400, seed=1, start_ms=START_MS, end_ms=START_MS + 30 * DAY_MS)
    drifts = [one for one in many if one.drift_ms]
    assert 0.3 < len(drifts) / len(many) < 0.5
    one = drifts[0]
    assert one.tastes_at(one.drift_ms - 1) is one.tastes
    assert one.tastes_at(one.drift_ms) is one.tastes_after
    still = next(one for one in many if not one.drift_ms)
    assert still.tastes_at(2**60) is still.tastes


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        ("Europe/Berlin", datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 10, 26, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 10, 31, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)),
    ],
)
def test_a_routine_keeps_to_its_clock_when_that_is_put_back(zone, before, after):
    person = replace(crowd()[0], time_zone=zone)
    day, later = (one.toordinal() - datetime(1970, 1, 1, tzinfo=UTC).toordinal() for one in (before, after))
    first, second = (moment_ms(person, day=one, awake_hours=2.0) for one in (day, later))
    # The clock shows the same; an hour more than two days has passed.
    assert local(first, time_zone=zone).time() == local(second, time_zone=zone).time()
    assert second - first == 2 * DAY_MS + 3_600_000


# Truth


def moments(n: int, *, mood: float = 0.0) -> Moments:
    hours = np.linspace(7.0, 22.0, n)
    return Moments(
        hour=hours,
        busy=np.full(n, 0.4),
        tips_lately=np.zeros(n),
        mood=np.full(n, mood),
        weekend=np.arange(n) % 7 >= 5,
    )


def chances(scenario: Scenario, *, mood: float = 0.0) -> np.ndarray:
    person = crowd()[0]
    them = world.things(np.random.default_rng(1), (200, 10))
    return world.chances(person.tastes, person, them, moments(200, mood=mood), scenario=scenario)


def test_the_chances_of_the_outcomes_add_up_to_one():
    shares = chances(SMALL)
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.sum(axis=-1), 1.0)


def test_the_truth_is_no_linear_function_of_what_a_policy_sees_nor_of_the_facts_themselves():
    person = crowd()[0]
    chance = np.random.default_rng(1)
    them = world.things(chance, (4000, 1))
    at = moments(4000)
    plain = replace(SMALL, hidden=0.0, nonlinearity=0.0)
    facts_alone = np.concatenate([np.eye(8)[them.topic[:, 0]], them.importance, them.urgency, them.effort], axis=1)

    def unexplained(scenario: Scenario) -> float:
        drawn = world.liking(person.tastes, person, them, at, scenario=scenario)[:, 0]
        fitted = facts_alone @ np.linalg.lstsq(facts_alone, drawn, rcond=None)[0]
        return float(((drawn - fitted) ** 2).sum() / ((drawn - drawn.mean()) ** 2).sum())

    assert unexplained(plain) < 1e-9
    assert unexplained(replace(plain, nonlinearity=1.0)) > 0.1
    assert unexplained(SMALL) > unexplained(replace(plain, nonlinearity=1.0)) + 0.05


def best_linear(**changes: object) -> float:
    """What the best linear function of what is seen captures, for each person on their own, told all true worths."""
    changes = {"drift_share": 0.0, "joining_days": 0.0, "people": 20, "decisions_per_person": 600, **changes}
    found = slates(replace(load("base"), **changes), seed=1)  # type: ignore[arg-type]
    choice = np.zeros(len(found.user), dtype=int)
    for user in range(20):
        mine = found.user == user
        x = found.x[mine] / 64
        fitted = np.linalg.lstsq(x.reshape(-1, x.shape[2]), found.value[mine].reshape(-1), rcond=None)[0]
        choice[mine] = (x @ fitted).argmax(axis=1)
    return captured(found, found.value[np.arange(len(choice)), choice])


def test_the_best_linear_function_of_what_is_seen_is_far_from_the_oracle_and_nearer_the_less_is_hidden_and_bent():
    base, told = best_linear(), best_linear(hidden=0.0, label_noise=0.0)
    straight = best_linear(hidden=0.0, label_noise=0.0, nonlinearity=0.0)
    # docs/simulator.md names these.
    assert [round(one, 2) for one in (base, told, straight)] == [0.72, 0.79, 0.93]


def test_what_people_like_at_one_time_only_is_no_sum_of_the_thing_and_the_time():
    person, at = crowd()[0], moments(200)
    them = world.things(np.random.default_rng(1), (200, 10))
    part, weekend = (at.hour // 6)[:, None], at.weekend[:, None]
    at_weekends = np.isin(them.topic, [TOPICS.index(name) for name in ("calls", "home", "friends")])

    def more(**setting: float) -> np.ndarray:
        plain = world.liking(person.tastes, person, them, at, scenario=SMALL)
        return world.liking(person.tastes, person, them, at, scenario=replace(SMALL, **setting)) - plain

    afternoons, weekends = more(afternoons_apart=1.0), more(weekends_apart=1.0)
    important = them.importance > 0.5
    assert ((afternoons > 0) == (important != (part == 2))).all()
    assert ((weekends > 0) == (at_weekends == weekend)).all()
    np.testing.assert_allclose(more(afternoons_apart=2.0), 2 * afternoons)


def test_what_is_hidden_moves_the_truth_and_no_feature():
    person, chance = crowd()[0], np.random.default_rng(3)
    them, at = world.things(chance, (50, 10)), moments(50)
    otherwise = replace(them, dread=1.0 - them.dread, whim=-them.whim)
    low = replace(at, mood=np.full(50, -1.0))

    def seen(things: world.Things, moment: Moments) -> np.ndarray:
        own = np.random.default_rng(4)
        told = facts(own, things, label_noise=0.15)
        return features(told, moment, weekend=np.zeros(50, dtype=bool), rates=np.full(4, 0.25), chance=own)

    def true(things: world.Things, moment: Moments) -> np.ndarray:
        return world.chances(person.tastes, person, things, moment, scenario=SMALL)

    assert np.array_equal(seen(them, at), seen(otherwise, low))
    assert np.abs(true(them, at) - true(otherwise, at)).mean() > 0.02
    assert np.abs(true(them, at) - true(them, low)).mean() > 0.02
    # What is no secret does move what is seen.
    assert not np.array_equal(seen(them, at), seen(replace(them, urgency=1.0 - them.urgency), at))


def test_features_are_whole_numbers_within_their_bounds_and_differ_between_candidates():
    x = slates(SMALL, seed=1).x
    assert x.dtype == np.int64
    assert np.abs(x).max() <= 64
    assert (x != x[:, :1]).any(axis=(1, 2)).all()


def test_who_was_asked_often_lately_does_less():
    person, them = crowd()[0], world.things(np.random.default_rng(1), (50, 10))
    at = moments(50)
    rested = world.chances(person.tastes, person, them, at, scenario=SMALL)
    tired = world.chances(person.tastes, person, them, replace(at, tips_lately=np.full(50, 6.0)), scenario=SMALL)
    assert (tired[..., DONE] < rested[..., DONE]).all()
    assert (tired[..., DISMISS] > rested[..., DISMISS]).all()


def silence(scenario: Scenario) -> tuple[float, float]:
    """How likely silence is where the person likes the thing, and where they do not."""
    shares = chances(scenario)
    silent = (shares * world.losses(scenario)).sum(axis=-1)
    value = world.values(shares, scenario=scenario)
    liked = value > np.median(value)
    return float(silent[liked].mean()), float(silent[~liked].mean())


def test_silence_is_at_random_in_base_and_not_where_the_scenario_says_so():
    liked, disliked = silence(load("base"))
    assert abs(liked - disliked) < 0.04
    liked, disliked = silence(load("silence_of_the_displeased"))
    assert disliked > liked + 0.15
    liked, disliked = silence(load("silence_of_the_doers"))
    assert liked > disliked + 0.08


def test_a_clickers_reactions_say_nothing_of_what_they_think_and_do_not_count():
    found = slates(replace(SMALL, clickers=1.0, people=60), seed=1)
    assert not found.counted.any()
    manners = {one.manner for one in crowd(replace(SMALL, clickers=1.0))}
    assert manners == {"done", "dismiss", "contrary"}
    honest = slates(replace(SMALL, people=60), seed=1)
    assert np.array_equal(found.value, honest.value)
    assert not np.array_equal(found.shares, honest.shares)


# Slates


def test_the_same_seed_makes_the_same_slates():
    a, b = slates(SMALL, seed=3), slates(SMALL, seed=3)
    assert np.array_equal(a.x, b.x)
    assert np.array_equal(a.shares, b.shares)
    assert np.array_equal(a.time_ms, b.time_ms)
    assert (np.diff(a.time_ms) >= 0).all()


@pytest.mark.parametrize("name", ["base", "costly_interruptions", "adversarial_clickers"])
def test_the_oracle_is_at_least_any_policy_and_captures_all_while_random_captures_nothing(name):
    found = slates(replace(load(name), people=20, decisions_per_person=12), seed=5)
    oracle = play(found, Fixed(best(found))).value
    random = play(found, Fixed(even(found))).value
    chance = np.random.default_rng(1)
    other = play(found, Fixed(chance.dirichlet(np.ones(found.value.shape[1]), len(found.user)))).value
    assert (oracle >= other - 1e-12).all()
    assert (oracle >= random - 1e-12).all()
    assert captured(found, oracle) == pytest.approx(1.0)
    assert captured(found, random) == pytest.approx(0.0)
    assert gains(found, oracle)["first"] == pytest.approx(1.0)


def test_the_realised_rewards_of_choosing_evenly_have_the_mean_that_the_truth_says():
    scenario = replace(load("base"), lost=0.0, delay_median_minutes=0.0)
    found = slates(scenario, seed=2)
    learner = Fixed(even(found))
    played = play(found, learner)
    n = len(found.user)
    told = sum(reward for _, _, reward, _ in learner.heard) / n - scenario.interruption_cost
    assert played.reactions + played.silences == n
    assert told == pytest.approx(found.random.mean(), abs=4 * 0.6 / np.sqrt(n))


def test_rewards_arrive_after_their_delay_and_some_never():
    found = slates(SMALL, seed=2)
    heard_at: list[tuple[int, int]] = []

    class Clock(Fixed):
        now_ms = 0

        def pmf(self, user_id, x, *, silent, time_ms, key):
            Clock.now_ms = time_ms
            return super().pmf(user_id, x, silent=silent, time_ms=time_ms, key=key)

        def learn(self, user_id, x, *, action, reward, propensity, time_ms):
            heard_at.append((time_ms, Clock.now_ms))

    played = play(found, Clock(even(found)))
    delay = dict(zip(found.time_ms.tolist(), found.delay_ms.tolist(), strict=True))
    # What is heard between two decisions was told before the one that comes.
    following = dict(zip(found.time_ms.tolist(), [*found.time_ms.tolist()[1:], 2**60], strict=True))
    assert heard_at
    assert all(made + delay[made] <= following[now] for made, now in heard_at)
    assert played.reactions >= len(heard_at)
    assert 0.15 < played.silences / len(found.user) < 0.5


def test_silence_teaches_what_it_is_told_to_or_nothing():
    found = slates(SMALL, seed=2)
    dropped, counted = Fixed(even(found)), Fixed(even(found))
    play(found, dropped)
    play(found, counted, expired=0.0625)
    assert {reward for _, _, reward, _ in dropped.heard} <= {1.0, 0.125, -0.25}
    assert sum(reward == 0.0625 for _, _, reward, _ in counted.heard) > 0.1 * len(found.user)


def test_a_silent_row_is_worth_nothing_and_nothing_is_learned_of_it():
    found = slates(replace(load("costly_interruptions"), people=20, decisions_per_person=12), seed=2)
    assert found.silent is not None
    assert not found.x[:, found.silent].any()
    assert not found.value[:, found.silent].any()
    quiet = Fixed(np.eye(found.value.shape[1])[np.full(len(found.user), found.silent)])
    assert play(found, quiet).reactions == 0
    assert not quiet.heard


# Lives and the core


def life(**changes: object) -> Life:
    scenario = replace(SMALL, **changes)  # type: ignore[arg-type]
    return Life(crowd()[3], scenario, user_id="sim-3", seed=7, end_ms=START_MS + 10 * DAY_MS)


def test_a_life_begins_with_a_time_zone_and_tasks_and_goes_on_in_the_order_of_time():
    acts = list(life().acts())
    assert [one.kind for one in acts[:6]] == ["profile", "task", "task", "task", "task", "task"]
    assert [one.time_ms for one in acts] == sorted(one.time_ms for one in acts)
    assert {one.kind for one in acts} == {"profile", "task", "completed", "event", "look"}
    assert acts == list(life().acts())


def test_people_look_only_while_they_are_awake_on_their_own_clock():
    one = life()
    hours = [one.person.hour_at(act.time_ms) for act in one.acts() if act.kind == "look"]
    assert len(hours) > 20
    awake = [(hour - one.person.wake_hour) % 24 for hour in hours]
    assert max(awake) <= 15.1


def test_what_was_done_by_a_tip_is_not_completed_once_more():
    one = life(lost=0.0)
    completed = next(act for act in one.acts() if act.kind == "completed")
    for _ in range(100):
        if one.respond(f"task:simulator/t{completed.index}", now_ms=completed.time_ms).outcome == DONE:
            break
    assert one.signal(completed, event_id="x") is None


def test_who_does_it_in_silence_takes_it_off_their_list_a_day_later():
    one = life(lost_done=1.0)
    task = "task:simulator/t0"
    now_ms = one.person.joins_ms + DAY_MS
    answers = [one.respond(task, now_ms=now_ms) for _ in range(200)]
    silent = next(answer for answer in answers if answer.outcome == DONE)
    assert silent.delay_ms is None
    later = one.afterwards(task, silent, now_ms=now_ms)
    assert later == Act(now_ms + DAY_MS, "removed", 0)
    signal = one.signal(later, event_id="x")
    assert signal is not None
    assert signal.task_removed.external_id == "t0"
    ignored = next(answer for answer in answers if answer.outcome == IGNORE)
    assert one.afterwards(task, ignored, now_ms=now_ms) is None


def pure(**changes: object):
    arguments = {"users": 3, "days": 3.0, "seed": 1, "policy": next(iter(POLICIES)), **changes}
    return simulate(replace(SMALL, joining_days=0.5), **arguments)  # type: ignore[arg-type]


def test_the_whole_core_gives_the_same_twice_and_something_else_for_another_seed():
    first = pure()
    assert first == pure()
    assert first.digest != pure(seed=2).digest


def test_the_whole_core_decides_hears_reactions_and_fits_versions_without_a_fault():
    found = pure(refit_every=5)
    assert found.faults == ()
    assert found.decisions > found.tally.seen > 10
    assert found.tally.reactions > 10
    assert found.versions >= 2
    assert all(one.value <= one.oracle + 1e-12 for one in found.tally.judged)


def test_learning_from_silence_changes_what_is_decided():
    assert pure(refit_every=5).digest != pure(refit_every=5, learn_expired=True).digest


# Written tips


VARIANTS = tuple(
    policy_pb2.Variant(prompt_version=prompt, model=model, weight=1)
    for prompt in ("brief@1", "warm@1")
    for model in ("large", "small")
)
BRIEF, WARM = Written("brief@1", "small", task=0), Written("warm@1", "small", task=0)


def pulled(written: Written, scenario: Scenario = SMALL, *, seed: int = 7) -> np.ndarray:
    """What each of forty people thinks of it; (40,)."""
    who = crowd(scenario)
    return np.array([likings.pull(one, scenario, written, seed=seed, candidate="generated:r-0") for one in who])


def test_people_differ_in_what_they_think_of_a_prompt_about_what_all_think_and_the_seed_says_how():
    apart = pulled(BRIEF) - pulled(WARM)
    assert np.array_equal(apart, pulled(BRIEF) - pulled(WARM))
    assert not np.array_equal(apart, pulled(BRIEF, seed=8) - pulled(WARM, seed=8))
    cluster = np.array([one.cluster for one in crowd()])
    assert apart.std() > apart[cluster == 0].std() > 0.1
    alike = pulled(BRIEF, replace(SMALL, heterogeneity=0.0)) - pulled(WARM, replace(SMALL, heterogeneity=0.0))
    assert alike.std() < 1e-9
    assert abs(alike.mean()) > 0.01
    assert not pulled(BRIEF, replace(SMALL, written_apart=0.0)).any()


def test_a_model_is_liked_apart_from_its_prompt():
    other = [pulled(one._replace(model="large")) for one in (BRIEF, WARM)]
    first, second = other[0] - pulled(BRIEF), other[1] - pulled(WARM)
    assert np.abs(first).mean() > 0.1
    np.testing.assert_allclose(first, second, atol=1e-9)


def test_a_written_tip_is_worth_what_its_task_is_and_what_they_think_of_who_wrote_it():
    one = life(written_apart=0.0)
    one.read("generated:r-0", BRIEF)
    one.read("generated:r-1", Written("brief@1", "small"))
    now_ms = one.person.joins_ms + DAY_MS
    task, same, other = one.values(["task:simulator/t0", "generated:r-0", "generated:r-1"], now_ms=now_ms)
    assert task == same != other
    liked = life(written_apart=0.0, written=2.0)
    liked.read("generated:r-0", BRIEF)
    assert liked.values(["generated:r-0"], now_ms=now_ms)[0] > task + 0.05
    assert liked.values(["task:simulator/t0"], now_ms=now_ms)[0] == task


def test_a_task_that_a_written_tip_led_to_is_ticked_off_within_the_hour():
    one = life(lost=0.0)
    one.read("generated:r-0", BRIEF)
    now_ms = one.person.joins_ms + DAY_MS
    answers = [one.respond("generated:r-0", now_ms=now_ms) for _ in range(200)]
    done = next(answer for answer in answers if answer.outcome == DONE)
    later = one.afterwards("generated:r-0", done, now_ms=now_ms)
    assert later == Act(now_ms + 3_600_000, "completed", 0)
    signal = one.signal(later, event_id="x")
    assert signal is not None
    assert signal.task_completed.external_id == "t0"


def request(name: str) -> decision_pb2.CandidateRequest:
    ask = decision_pb2.Ask(prompt_version="brief@1", model="small", tips_max=3)
    for index in range(5):
        ask.tasks.add(id=f"task:simulator/t{index}", title=f"Calls {index}")
    return decision_pb2.CandidateRequest(request_id=name, ask=ask)


def test_an_answer_is_made_of_the_request_alone_and_says_nothing_that_was_said():
    made, found = writer.answer(request("r"))
    assert (made, found) == writer.answer(request("r"))
    assert (made.request_id, made.prompt_version, made.model, len(made.tips)) == ("r", "brief@1", "small", 3)
    assert set(found) == {f"generated:r-{index}" for index in range(3)}
    assert [f"task:simulator/t{found[f'generated:r-{n}'].task}" for n in range(3)] == [
        one.about[0] for one in made.tips
    ]
    assert len({one.title for one in made.tips}) == 3
    again = request("r")
    again.ask.written.extend(one.title for one in made.tips)
    assert not {one.title for one in writer.answer(again)[0].tips} & set(again.ask.written)


def test_who_wrote_blindly_is_known_to_people_alone():
    names = [f"r{n}" for n in range(40)]
    answers = [writer.answer(request(name), blind=VARIANTS) for name in names]
    assert {(made.prompt_version, made.model) for made, _ in answers} == {("brief@1", "small")}
    found = {(one.prompt, one.model) for _, written in answers for one in written.values()}
    assert found == {(one.prompt_version, one.model) for one in VARIANTS}


def test_where_nothing_is_written_what_people_think_of_it_changes_nothing_and_is_not_drawn():
    likings._liking.cache_clear()
    other = replace(SMALL, joining_days=0.5, written=3.0, written_apart=4.0)
    assert simulate(other, users=3, days=3.0, seed=1, policy=next(iter(POLICIES))) == pure()
    assert pure().requests == likings._liking.cache_info().currsize == 0


def test_the_whole_core_asks_for_tips_takes_the_answers_and_people_react_to_them():
    found = pure(variants=VARIANTS, refit_every=5)
    assert found == pure(variants=VARIANTS, refit_every=5)
    assert found.faults == ()
    assert found.requests > 3 * 3
    assert found.tally.seen > 10
    blind = pure(variants=VARIANTS[:1], blind=VARIANTS, refit_every=5)
    liked = simulate(
        replace(SMALL, joining_days=0.5, written=3.0), users=3, days=3.0, seed=1, policy="mixed", variants=VARIANTS
    )
    assert len({found.digest, blind.digest, liked.digest}) == 3
    assert liked.tally.reward > found.tally.reward


def shown(why: list[str], *, prompt: str = "brief@1") -> tuple[decision_pb2.Decision, decision_pb2.Tip]:
    decision = decision_pb2.Decision(decision_id="d", prompt_version=prompt, model="small" if prompt else "")
    decision.slate.add(id="generated:r-0")
    decision.slate.add(id="generated:r-1")
    decision.slate.add(id="task:simulator/t1")
    return decision, decision_pb2.Tip(why=why)


def test_live_people_know_of_a_written_tip_what_decision_and_tip_say_and_only_once_they_have_read_it():
    one = life(lost=0.0)
    tally = visit.Tally()
    now_ms = one.person.joins_ms + DAY_MS
    decision, tip = shown(["On your list: Calls and more 3", "You often get things done in the morning"])
    visit.read(one, decision, tip)
    assert visit.look(one, decision, tally, start_ms=START_MS, now_ms=now_ms) is not None
    told = life(lost=0.0)
    told.read("generated:r-0", Written("brief@1", "small", task=3))
    assert told.values(["generated:r-0"], now_ms=now_ms)[0] == pytest.approx(tally.judged[0].value)
    # What they have not read is no part of what the slate had to offer.
    task = told.values(["task:simulator/t1"], now_ms=now_ms)[0]
    assert tally.judged[0].random == pytest.approx((tally.judged[0].value + task) / 2)


@pytest.mark.parametrize("why", [[], ["On your list:"], ["On your list: Calls"], ["In your calendar: Meeting 3"]])
def test_live_a_tip_that_says_nothing_of_a_task_is_none_about_a_task(why):
    one = life()
    visit.read(one, *shown(why))
    assert one.knows("generated:r-0")
    assert one._written["generated:r-0"][0] == Written("brief@1", "small", None)


def test_live_a_tip_that_no_model_wrote_tells_nothing():
    one = life()
    visit.read(one, *shown(["On your list: Calls 3"], prompt=""))
    assert not one.knows("generated:r-0")
