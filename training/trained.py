"""One model from one training set: fitted, calibrated, exported, held against its export, judged. Whoever calls it decides what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from oo.v1 import outcome_pb2, policy_pb2
from training import judged
from training.calibrated import calibrate
from training.export import Compared, compared, exported
from training.models import MODELS
from training.sets import NAMES, Split, TrainingSet

FIT_MIN = 100
"""Rows to fit a model to."""


class TooLittle(Exception):
    """There is too little to learn from; one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A model, and all that judges it."""

    kind: str
    onnx: bytes
    scale: float
    shift: float
    rows: dict[str, int]
    """What it was made from, and judged on."""
    export: Compared
    calibration: judged.Calibration
    new: judged.Fit
    """On later rows of people that it has not seen."""
    later: judged.Fit
    """On all later rows."""
    earned: judged.Earned

    @property
    def why_not(self) -> str:
        """Why it may not be registered; empty where it may."""
        return self.export.why_not or self.calibration.why_not or self.later.why_not


def trained(kind: str, some: TrainingSet, parts: Split, *, config: policy_pb2.DecisionConfig) -> Trained:
    """Make and judge it. Raises TooLittle, and CannotExport where its export cannot be made."""
    rows = {name: int(getattr(parts, name).sum()) for name in ("fit", "calibrate", "later", "new")}
    if rows["fit"] < FIT_MIN:
        raise TooLittle(
            f"{rows['fit']} seen tips are left to fit a model to, and {FIT_MIN} are needed: take a longer range, or wait for more people"
        )
    # A pool as wide as the machine spins on a busy one, and takes a hundred times as long.
    with threadpool_limits(limits=1):
        rewards, drawn = some.rewards(config), some.drawn
        x = {name: some.inputs(drawn[getattr(parts, name)]) for name in ("fit", "calibrate", "later")}
        y = {name: rewards[getattr(parts, name)] for name in rows}
        one = calibrate(MODELS[kind](x["fit"], y["fit"]), x["calibrate"], y["calibrate"])
        content = exported(one, names=NAMES)
        # What serves is judged, by what it says of the very candidates that could be drawn later.
        behind = np.flatnonzero(some.decided_ms >= parts.parted_ms)
        said = np.zeros(len(some.x))
        at = np.flatnonzero(np.repeat(some.decided_ms >= parts.parted_ms, np.diff(some.starts)))
        held = compared(one, content, some.inputs(at))
        said[at] = one.predict(some.inputs(at))
        done = some.became == outcome_pb2.Outcome.DONE
        mean = float(y["fit"].mean())
        fits = {
            name: judged.fit(said[drawn[which]], y[name], done=done[which], mean=mean)
            for name, which in (("new", parts.new), ("later", parts.later))
        }
        return Trained(
            kind,
            content,
            one.scale,
            one.shift,
            rows,
            held,
            judged.calibration(said[drawn[parts.later]], y["later"]),
            fits["new"],
            fits["later"],
            judged.earned(some, behind, said, config=config),
        )
