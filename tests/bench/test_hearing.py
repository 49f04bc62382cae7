"""The gate and what a trained model says: noise is not let in, what is useful is, and what deaf slates are for."""

from __future__ import annotations

from functools import cache

import numpy as np

from bench.decisions.hearing import RULE, Heard, Says, watched

STREAMS = 100


@cache
def heard(says: Says) -> Heard:
    return watched(np.random.default_rng([23, 1]), says=says, streams=STREAMS, n=1_500 if says == "useful" else 800)


def test_noise_that_answers_for_the_well_served_first_is_promoted_in_no_more_streams_than_promised():
    noise = heard("noise")
    assert noise.promoted() <= RULE.alpha
    # It answers where more is earned, which is nothing that it does.
    assert noise.value["heard"][0] > noise.value["none"][0] + 0.1


def test_noise_that_knows_what_a_tip_is_about_to_earn_is_promoted_though_it_is_no_better_and_deaf_slates_show_that():
    peeking = heard("peeks")
    assert peeking.promoted() > 10 * RULE.alpha
    assert peeking.truth[1] < peeking.truth[0]
    assert peeking.value["heard"][1] > peeking.value["heard"][0] + 0.1
    assert peeking.value["deaf"][1] < peeking.value["deaf"][0]


def test_a_useful_model_is_found():
    useful = heard("useful")
    assert useful.truth[1] > useful.truth[0] + 0.01
    assert useful.promoted() > 2 * RULE.alpha
    assert useful.value["heard"][1] > useful.value["heard"][0] + 0.02


def test_who_hears_and_who_does_not_earn_about_the_same_where_nothing_was_heard():
    for says in ("noise", "useful"):
        for which in ("deaf", "none"):
            mine, theirs = heard(says).value[which]
            assert abs(mine - theirs) < 0.02
