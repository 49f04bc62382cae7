"""What a policy would have earned, from decisions that another one made; and whether it may take its place.

Values in, values out, one event at a time. It never reads a clock, a topic or a file, and is not part of `step`: it may
use LAPACK, exp and log, so its last bits are one machine's own and never reach a row or a tip.

How to feed it, or its numbers mean nothing:

- *Every decision, once, in the order in which they were made*, whatever became of it: seen or not, superseded or not. A
  decision waits until its outcome can no longer change what it counts, and all later ones wait behind it. Taking events
  as outcomes arrive counts quick ones first, and `done` is quicker than nothing.
- *Rewards by `counted.reward`*: expired, unseen and missing count, at what the configuration says.
- *`q_hat` from a `RewardModel` that has seen earlier events only*: `predict`, then `add` everywhere, then `learn`.
- *The logging probabilities of the whole slate as they were logged.* The target policy's are computed from what it knew
  before the decision.
- One state per stream (policy, kind, prompt version) and partition: `gate.noted` for each event, and where a verdict is
  due, `gate.merged` over partitions in the order of their numbers, `decide`, and `changed` on each partition's own. What a
  state holds is small and depends on its partition's events and their order alone, not on how partitions took turns; so it
  is rebuilt from the log to the same numbers on the same machine.

Assumed, not checked: a later draw does not move the outcome of an earlier decision.
"""
