"""What each outcome is worth, and the other numbers that change decisions: the defaults, in one file.

Rewards are in units of 1/64. They reach a row only through a policy version, so changing them here changes nothing
until `learn` has published a version that carries them. "No tip" is worth 0 and is never estimated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from oo.v1 import outcome_pb2, policy_pb2
from streams.units import HOUR_MS, MINUTE_MS, SECOND_MS

DEFAULT = policy_pb2.DecisionConfig(
    reward_done=64,
    reward_snooze=8,
    reward_dismiss=-16,
    learn_expired=False,
    reward_expired=0,
    interruption_cost=3,
    exploration=4,
    optimism=16,
    floor_permille=10,
    tip_valid_ms=4 * HOUR_MS,
    none_valid_ms=30 * MINUTE_MS,
    reaction_window_ms=4 * HOUR_MS,
    snooze_default_ms=HOUR_MS,
    dismiss_cool_down_ms=24 * HOUR_MS,
    starter_cool_down_ms=20 * HOUR_MS,
    urgent_within_ms=2 * HOUR_MS,
    # Looking every five minutes is a lot, and who reacts is never stopped: docs/guard-rails.md.
    cap_hour=12,
    cap_day=60,
    cap_day_starter=12,
    cap_day_generated=24,
    own_cap_hour_max=60,
    own_cap_day_max=500,
    asked_within_ms=5 * MINUTE_MS,
    same_kind_max=6,
    duplicate_permille=1000,
    conflict_minutes=15,
    conflict_event_ms_max=4 * HOUR_MS,
)

ASKING = policy_pb2.Generation(
    apart_ms=15 * MINUTE_MS,
    # By then an import of a thousand tasks stands in the row.
    settle_ms=5 * SECOND_MS,
    runs_out_ms=2 * MINUTE_MS,
    stale_ms=6 * HOUR_MS,
    thin=3,
    day_calls=24,
    day_tokens=20_000,
    tips_max=3,
    # Above all that a schema's longest answer may take: else its JSON is cut.
    tokens_max=700,
    tip_valid_ms=12 * HOUR_MS,
)
"""Of a configuration that asks language models; its variants are the stack's."""


def asking(
    config: policy_pb2.DecisionConfig,
    *,
    prompts: Mapping[str, int],
    models: Iterable[str],
    shadows: Mapping[str, int] | None = None,
) -> policy_pb2.DecisionConfig:
    """Return the same configuration, asking: each prompt of each model is a variant, with its prompt's weight. `shadows`: prompts that are asked
    beside these, in units of 1/1000 of all requests.

    >>> [one.model for one in asking(DEFAULT, prompts={"tips@1": 1}, models=["b", "a"]).generation.variants]
    ['a', 'b']
    """
    variants = [
        policy_pb2.Variant(prompt_version=prompt, model=model, weight=weight)
        for prompt, weight in sorted(prompts.items())
        for model in sorted(models)
    ]
    made = policy_pb2.DecisionConfig()
    made.CopyFrom(config)
    made.generation.CopyFrom(ASKING)
    made.generation.variants.extend(variants)
    made.generation.shadows.extend(
        policy_pb2.ShadowPrompt(prompt_version=prompt, permille=permille)
        for prompt, permille in sorted((shadows or {}).items())
    )
    return made


INTERRUPTING = policy_pb2.Interrupting(
    cost=3,
    apart_ms=45 * MINUTE_MS,
    same_apart_ms=20 * HOUR_MS,
    cap_day=6,
    own_cap_day_max=60,
    valid_ms=2 * HOUR_MS,
    floor_permille=50,
    # Who is interrupted does a tenth less of it than who looks.
    prior=-102,
    prior_n=8,
    there_ms=MINUTE_MS,
    again_ms=15 * MINUTE_MS,
)
"""Of a configuration under which tips are said to people who do not look."""


def interrupting(config: policy_pb2.DecisionConfig) -> policy_pb2.DecisionConfig:
    """Return the same configuration, under which tips are said to people who have granted it and do not look."""
    made = policy_pb2.DecisionConfig()
    made.CopyFrom(config)
    made.interrupting.CopyFrom(INTERRUPTING)
    return made


DEAF_PERMILLE = 125
"""Of slates for which there are scores, those that do not hear them."""


def hearing(config: policy_pb2.DecisionConfig, model: str) -> policy_pb2.DecisionConfig:
    """Return the same configuration, in which decisions hear what this trained model says, NAME@VERSION; empty for none.

    >>> hearing(DEFAULT, "") is DEFAULT, hearing(DEFAULT, "tips@3").scoring.model
    (True, 'tips@3')
    """
    if not model:
        return config
    made = policy_pb2.DecisionConfig()
    made.CopyFrom(config)
    made.scoring.model, made.scoring.deaf_permille = model, DEAF_PERMILLE
    return made


def reward_64(kind: int, *, config: policy_pb2.DecisionConfig) -> int | None:
    """The reward of an outcome in units of 1/64, or None for one that is not learned from.

    >>> reward_64(outcome_pb2.Outcome.DONE, config=DEFAULT), reward_64(outcome_pb2.Outcome.EXPIRED, config=DEFAULT)
    (64, None)
    """
    rewards: dict[int, int] = {
        outcome_pb2.Outcome.DONE: config.reward_done,
        outcome_pb2.Outcome.SNOOZE: config.reward_snooze,
        outcome_pb2.Outcome.DISMISS: config.reward_dismiss,
    }
    if config.learn_expired:
        rewards[outcome_pb2.Outcome.EXPIRED] = config.reward_expired
    return rewards.get(kind)


def config_hash(config: policy_pb2.DecisionConfig) -> str:
    """Names a configuration: 16 hex digits over its deterministic bytes."""
    return hashlib.blake2b(config.SerializeToString(deterministic=True), digest_size=8).hexdigest()
