"""Who writes tips in a simulation without a language model: one answer to a request, made of the request alone.

It never calls a model. What it says names a task in a few words; how a tip is liked is likings.py's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from agents import candidates
from deploy.simulator.likings import Written
from oo.v1 import decision_pb2, journal_pb2, policy_pb2

TOKENS_IN, TOKENS_OUT = 350, 60
"""Of a request and of each tip, about what a model takes."""
OPENINGS = ("Begin with", "Take ten minutes for", "Finish", "Do a first part of", "Clear the way for", "Get on with")
TWO_IN = 4
"""One tip in so many is about two tasks."""


def answer(
    request: decision_pb2.CandidateRequest, *, blind: Sequence[policy_pb2.Variant] = ()
) -> tuple[journal_pb2.Candidates, dict[str, Written]]:
    """The answer to a request that asks something, and by candidate id what people will find in each of its tips.

    `blind`: who really wrote is drawn from these by their weights, whatever the request says: people notice, and nobody else.
    """
    ask = request.ask
    chance = np.random.default_rng(
        int.from_bytes(hashlib.blake2b(request.request_id.encode(), digest_size=8).digest(), "big")
    )
    prompt, model = ask.prompt_version, ask.model
    if blind:
        weights = np.array([one.weight for one in blind])
        writer = blind[int(chance.choice(len(blind), p=weights / weights.sum()))]
        prompt, model = writer.prompt_version, writer.model
    made = journal_pb2.Candidates(
        request_id=request.request_id,
        prompt_version=ask.prompt_version,
        model=ask.model,
        tokens_in=TOKENS_IN,
    )
    said = set(ask.written)
    found = {}
    for place in chance.permutation(len(ask.tasks)).tolist():
        if len(made.tips) == ask.tips_max:
            break
        task = ask.tasks[place]
        about = [task.id]
        if chance.integers(TWO_IN) == 0:
            about += [one.id for one in ask.tasks if one.id != task.id][:1]
        title = f"{OPENINGS[int(chance.integers(len(OPENINGS)))]} {task.title}"
        if title in said:
            continue
        said.add(title)
        external_id = f"{request.request_id}-{len(made.tips)}"
        found[candidates.generated_id(external_id)] = Written(prompt, model, int(task.id.rpartition("/t")[2]))
        made.tips.add(external_id=external_id, title=title, about=about)
    made.tokens_out = TOKENS_OUT * len(made.tips)
    made.reason = "" if made.tips else "no-tips"
    return made, found
