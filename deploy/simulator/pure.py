"""Simulated people against the real pure core, in memory and in virtual time: signals, ticks and reactions through
`agents.fold.PartitionState`, versions fitted from its sums as `learn` does.

It never opens a connection and reads no clock: the same arguments give the same journal, to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from agents.reward import ASKING, DEFAULT, hearing
from agents.step import Entry, Outputs
from deploy.simulator.agenda import Agenda
from deploy.simulator.core import Core
from deploy.simulator.life import Act, Life
from deploy.simulator.people import START_MS, people
from deploy.simulator.scenario import Scenario
from deploy.simulator.visit import Tally, look
from deploy.simulator.writer import answer
from oo.v1 import decision_pb2, journal_pb2, policy_pb2, reaction_pb2
from streams.units import DAY_MS
from tables.sums import UNIT

if TYPE_CHECKING:
    from deploy.simulator.scorer import Scorer


class Later(NamedTuple):
    """Another policy, from a day on, which may hear a trained model."""

    days: float
    policy: str
    scorer: Scorer


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a run came to."""

    tally: Tally
    records: int
    decisions: int
    versions: int
    requests: int
    """What language models were asked."""
    faults: tuple[str, ...]
    """Records on which `step` failed, by what and where."""
    digest: str
    """Of all decisions, outcomes and requests in turn: the same for the same run."""


def config_of(
    scenario: Scenario, *, learn_expired: bool, variants: Sequence[policy_pb2.Variant] = ()
) -> policy_pb2.DecisionConfig:
    """The product's configuration with the scenario's worths, in units of 1/64; with variants it asks for written tips."""
    config = policy_pb2.DecisionConfig()
    config.CopyFrom(DEFAULT)
    config.reward_done = round(UNIT * scenario.worth_done)
    config.reward_snooze = round(UNIT * scenario.worth_snooze)
    config.reward_dismiss = round(UNIT * scenario.worth_dismiss)
    config.interruption_cost = round(UNIT * scenario.interruption_cost)
    config.learn_expired = learn_expired
    if variants:
        config.generation.CopyFrom(ASKING)
        config.generation.variants.extend(variants)
    return config


def simulate(
    scenario: Scenario,
    *,
    users: int,
    days: float,
    seed: int,
    policy: str,
    learn_expired: bool = False,
    refit_every: int = 20,
    variants: Sequence[policy_pb2.Variant] = (),
    blind: Sequence[policy_pb2.Variant] = (),
    later: Later | None = None,
    on_progress: Callable[[float], None] = lambda _: None,
    hear: Callable[[Entry, Outputs], None] = lambda _entry, _outputs: None,
) -> Simulated:
    """Runs so many people for so many days; raises KeyError for a policy that is not there.

    A version is fitted after every `refit_every` reactions, where they have added enough to matter. With `variants` tips are written
    (writer.py), of prompts and models that are drawn from these; `blind`: really of some that are drawn from those, unknown to the core. `later`: who decides after so many days,
    and what is said of slates from then on. `hear`: is told each record
    of the journal, and what followed from it.
    """
    config = config_of(scenario, learn_expired=learn_expired, variants=variants)
    core, tally, agenda, requests = Core(policy, config, hear=hear), Tally(), Agenda(), 0
    end_ms = START_MS + round(days * DAY_MS)
    lives: dict[str, Life] = {}
    for person in people(scenario, count=users, seed=seed, start_ms=START_MS, end_ms=end_ms):
        user_id = f"sim-{person.number}"
        lives[user_id] = Life(person, scenario, user_id=user_id, seed=seed, end_ms=end_ms)
        agenda.follow(user_id, lives[user_id].acts())
    since_fit = 0
    later_ms = START_MS + round(later.days * DAY_MS) if later is not None else end_ms
    while agenda.next_ms is not None and agenda.next_ms < end_ms:
        time_ms, user_id, what = agenda.pop()
        on_progress((time_ms - START_MS) / (end_ms - START_MS))
        if later is not None and time_ms >= later_ms:
            core.promote(later.policy, hearing(config, later.scorer.model), now_ms=time_ms)
            later_ms = end_ms
        if isinstance(what, Act) and what.kind == "look":
            decision = core.standing.get(user_id)
            visit = decision and look(lives[user_id], decision, tally, start_ms=START_MS, now_ms=time_ms)
            if visit:
                core.feed(user_id, visit.seen, time_ms=time_ms)
                if visit.reaction is not None:
                    agenda.add(time_ms + visit.delay_ms, user_id, visit.reaction)
                if visit.later is not None:
                    agenda.add(visit.later.time_ms, user_id, visit.later)
        elif isinstance(what, Act):
            signal = lives[user_id].signal(what, event_id=f"{what.kind}{what.index}")
            if signal is not None:
                core.feed(user_id, signal, time_ms=time_ms)
                tally.signals += 1
        elif isinstance(what, decision_pb2.Decision):
            said = later.scorer.scores(what, now_ms=time_ms) if later and core.standing[user_id] is what else None
            if said is not None:
                core.feed(user_id, said, time_ms=time_ms)
        else:
            core.feed(user_id, what, time_ms=time_ms)
            if isinstance(what, reaction_pb2.Reaction):
                tally.reactions += 1
                since_fit += 1
        for request in core.asked:
            if request.HasField("ask"):
                requests += 1
                made, found = answer(request, blind=blind)
                for candidate, written in found.items():
                    lives[request.user_id].read(candidate, written)
                core.feed(request.user_id, made, time_ms=time_ms)
        core.asked.clear()
        if later is not None and later_ms == end_ms:
            for made_now in core.made:
                agenda.add(later.scorer.due_ms(made_now, now_ms=time_ms), made_now.user_id, made_now)
        core.made.clear()
        if since_fit >= refit_every:
            core.refit(now_ms=time_ms)
            since_fit = 0
        for user, wake_ms in core.wakes():
            agenda.add(max(wake_ms, time_ms), user, journal_pb2.Tick(due_ms=wake_ms))
    return Simulated(
        tally, core.offset, core.decisions, core.sequence, requests, tuple(core.faults), core.digest.hexdigest()
    )
