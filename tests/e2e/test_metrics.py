"""Each process of a running stack has a page for Prometheus, with what it does and without whom it does it for."""

from __future__ import annotations

import re
import time
import urllib.request

from command import oo
from outside import client, settled_tip

from deploy.stack.running import RunningStack
from streams.metrics import METRICS
from tests.patience import PATIENCE_S

SHOWN = {name for metric in METRICS.values() for name in metric.shown}


def page(stack: RunningStack, process: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.ports[process]}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def value(text: str, series: str) -> float:
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(series, line))


def test_what_a_signal_and_its_tip_leave_is_counted_in_each_process(stack: RunningStack) -> None:
    tasks = stack.folder.root / "metrics.txt"
    tasks.write_text("(A) Water the counted plant\n")
    oo("import", str(tasks), "--user=metrics-person", f"--state={stack.folder.root}")
    with client(stack, "metrics-person") as http:
        settled_tip(stack, http)
    oo("tip", "--user=metrics-person", f"--state={stack.folder.root}")
    oo("react", "done", "--user=metrics-person", f"--state={stack.folder.root}")
    wanted = {
        "core-0": [
            r"oo_decisions_total\{.*kind=\"TASK\"",
            r"oo_folded_records_total",
            r"oo_settle_seconds_count",
            r"oo_rows",
            "oo_champion",
        ],
        "publish": ["oo_signal_to_tip_seconds_count", "oo_memory_bytes", "oo_started_at_seconds"],
        "record": ["oo_propensity_count", r"oo_outcomes_total", "oo_memory_bytes", "oo_started_at_seconds"],
        "shadow": ["oo_estimate_mean_weight", "oo_estimate_effective_n"],
        "edge": ["oo_edge_requests_total", "oo_memory_bytes", "oo_started_at_seconds"],
    }
    deadline_s = time.monotonic() + PATIENCE_S
    for process, series in wanted.items():
        while not all(value(text := page(stack, process), one) > 0 for one in series):
            assert time.monotonic() < deadline_s, (process, text)
            time.sleep(0.2)
        names = set(re.findall(r"^(oo_[a-z_]+)", text, re.MULTILINE))
        assert {one.removesuffix("_created") for one in names if not one.endswith("_created")} - SHOWN == set()
        assert "metrics-person" not in text
        assert "plant" not in text
