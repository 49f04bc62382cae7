"""What others show of oO: rules, dashboard and runbooks name what there is, and a real Prometheus takes them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from agents import health
from deploy.observability import dashboard
from deploy.stack.fetch import default_cache
from streams import metrics
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "observability"
RULES = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
ALERTS = re.findall(r"alert: (\w+)", RULES)
SHOWN = {name for metric in metrics.METRICS.values() for name in metric.shown}


@pytest.fixture(scope="session")
def prometheus() -> Path:
    """The folder of prometheus and promtool: installed, or Debian's package unpacked into the cache."""
    if found := shutil.which("promtool"):
        return Path(found).parent
    folder = default_cache().root / "prometheus"
    if not (folder / "usr/bin/promtool").exists():
        fresh = folder.with_name(f".prometheus-{os.getpid()}")
        fresh.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(
                ("apt-get", "download", "prometheus"), cwd=fresh, check=True, capture_output=True, timeout=PATIENCE_S
            )
            (package,) = fresh.glob("*.deb")
            subprocess.run(
                ("dpkg", "-x", package.name, "."), cwd=fresh, check=True, capture_output=True, timeout=PATIENCE_S
            )
            package.unlink()
            fresh.rename(folder)
        except (OSError, ValueError, subprocess.SubprocessError):
            shutil.rmtree(fresh, ignore_errors=True)
            if not (folder / "usr/bin/promtool").exists():
                pytest.skip("no Prometheus here, and apt-get cannot download it: apt-get install prometheus")
    return folder / "usr/bin"


def named(text: str) -> set[str]:
    return set(re.findall(r"\boo_[a-z_]+", text))


def test_every_metric_of_an_alert_or_a_panel_is_one_that_a_process_shows():
    asked = named(RULES) | named(dashboard.text()) | named((FOLDER / "alerts_test.yml").read_text(encoding="utf-8"))
    assert asked - SHOWN == set()


def test_every_metric_of_the_list_is_on_the_dashboard():
    panels = named(dashboard.text())
    assert [one.name for one in metrics.METRICS.values() if not panels & set(one.shown)] == []


def test_a_runbook_names_only_metrics_that_there_are():
    for page in (ROOT / "docs" / "runbooks").glob("*.md"):
        assert named(page.read_text(encoding="utf-8")) - SHOWN - set(metrics.METRICS) == set(), page.name


def test_the_dashboard_is_what_its_code_says():
    assert dashboard.FILE.read_text(encoding="utf-8") == dashboard.text()


def test_every_alert_names_its_runbook_and_every_runbook_has_its_alert():
    told = dict(zip(ALERTS, re.findall(r"runbook: (\S+)", RULES), strict=True))
    assert {Path(page).name for page in told.values()} == {
        page.name for page in (ROOT / "docs" / "runbooks").glob("*.md") if page.name != "README.md"
    }
    for alert, page in told.items():
        text = (ROOT / page).read_text(encoding="utf-8")
        assert text.startswith(f"# {alert}\n")
        assert re.findall(r"^## (.+)", text, re.MULTILINE) == ["What it means", "What to look at", "What to do"]


def test_alerts_fire_where_they_should_and_nowhere_else(prometheus: Path):
    done = subprocess.run(
        (prometheus / "promtool", "test", "rules", "alerts_test.yml"),
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tried = (FOLDER / "alerts_test.yml").read_text(encoding="utf-8")
    assert set(ALERTS) == set(re.findall(r"alertname: (\w+)\n +exp_alerts", tried))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def test_a_real_prometheus_reads_a_workers_page_and_fires(prometheus: Path, tmp_path: Path):
    page, port = free_port(), free_port()
    (tmp_path / "alerts.yml").write_text(re.sub(r"for: \w+", "for: 0s", RULES))
    config = (
        (FOLDER / "prometheus.yml").read_text().replace("15s", "1s").replace("127.0.0.1:20000", f"127.0.0.1:{page}")
    )
    (tmp_path / "prometheus.yml").write_text(config)
    metrics.DECISIONS["mixed", "TASK", "NO_TIP"] += 3
    metrics.SIGNAL_TO_TIP_S.add(0.02)

    def asked(query: str) -> list[dict[str, dict[str, str]]]:
        address = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                found: list[dict[str, dict[str, str]]] = json.load(answer)["data"]["result"]
                return found
        except OSError:
            return []

    async def run() -> tuple[list[dict[str, dict[str, str]]], list[dict[str, dict[str, str]]]]:
        stands = health.serving("127.0.0.1", page, worker="w", streams=[], stalled=lambda: [STALL])
        async with stands:
            deadline_s = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline_s:
                fires = await asyncio.to_thread(asked, 'ALERTS{alertname="OoPartitionStands", alertstate="firing"}')
                if fires:
                    break
                await asyncio.sleep(0.2)
            return fires, await asyncio.to_thread(asked, "oo_decisions_total")

    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen(
        (
            *(prometheus / "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"),
            f"--web.listen-address=127.0.0.1:{port}",
        ),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=log,
    )
    log.close()
    try:
        fires, decisions = asyncio.run(run())
    finally:
        server.terminate()
        server.wait(10)
    assert fires, (tmp_path / "log").read_text()
    assert {name: decisions[0]["metric"][name] for name in ("policy", "kind", "trigger")} == {
        "policy": "mixed",
        "kind": "TASK",
        "trigger": "NO_TIP",
    }


STALL = health.Stall("oo.journal", 0, 1, "a test says so")
