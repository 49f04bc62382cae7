"""docker-compose.people.yml and docker-compose.sign-in.yml: valid, as closed as the file that they stand beside, and told what the local stack tells. No engine runs here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from agents.settings import Settings as WorkerSettings
from connectors.key_files import KeyFiles
from deploy.compose.secrets import make
from deploy.compose.setup import NEEDED, containers
from deploy.stack.local import PEOPLE, Plan
from deploy.stack.running import CONNECT_SETTINGS, NOTIFY_SETTINGS, RunningStack
from deploy.stack.state import ROLES, StateFolder
from deploy.steps import STEPS
from serving.settings import Settings as EdgeSettings
from tests.deploy.test_compose import COMPOSE, ROOT
from tests.patience import PATIENCE_S

FILES = {name: ROOT / f"docker-compose.{name}.yml" for name in ("people", "sign-in")}
BESIDE: dict[str, dict[str, Any]] = {
    name: YAML(typ="safe").load(path.read_text(encoding="utf-8")) for name, path in FILES.items()
}
PEOPLES: dict[str, dict[str, Any]] = BESIDE["people"]["services"]
SIGN_IN: dict[str, Any] = BESIDE["sign-in"]["services"]["edge"]
ADDED = {name: one for name, one in PEOPLES.items() if name not in COMPOSE["services"]}
SECRETS = {name: place for file in (COMPOSE, *BESIDE.values()) for name, place in file["secrets"].items()}
INSIDE = {"OO_CONNECT_INSIDE", "OO_NOTIFY_INSIDE"}


def shown(value: str) -> str:
    """As an engine shows it to a container where the operator's shell says nothing.

    >>> shown("${OO_PUBLIC_URL:-http://127.0.0.1:8080}/x")
    'http://127.0.0.1:8080/x'
    """
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def told(name: str, *files: dict[str, Any]) -> dict[str, str]:
    """What a service is told by these files together, secrets named OO_* as the entrypoint hands them on."""
    found: dict[str, str] = {}
    for file in files:
        service = file["services"].get(name, {})
        found |= {key: shown(value) for key, value in service.get("environment", {}).items()}
        found |= {key: "of-a-secret" for key in service.get("secrets", []) if key.startswith("OO_")}
    return found


def local(part: str, *, people: bool, providers: Path | None = None) -> dict[str, str]:
    """What the local stack tells it."""
    parts = ("kafka", "registry", "valkey", "postgres", "edge", "core-0", "record", *(PEOPLE if people else ()))
    stack = RunningStack.local(StateFolder(Path("/state")), "oo.", dict.fromkeys(parts, 1), dict.fromkeys(ROLES, "x"))
    object.__setattr__(stack, "providers_file", providers)
    return stack.environment(part)


def test_the_files_are_valid_by_the_compose_schema() -> None:
    files = map(str, FILES.values())
    command = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *files)
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout


def test_what_they_add_has_no_more_power_than_it_needs_and_nothing_is_published() -> None:
    assert set(ADDED) == {*PEOPLE, "vault"}
    for service in ADDED.values():
        assert service["cap_drop"] == ["ALL"] and service["read_only"] is True
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert re.fullmatch(r"\d+m", service["mem_limit"])
        assert (service["image"], service["build"]) == (COMPOSE["x-app"]["image"], COMPOSE["x-app"]["build"])
    assert not [one for file in BESIDE.values() for one in file["services"].values() if "ports" in one]
    # Who reads and who tells have a way out that leads to no server of ours; who makes the first key needs nobody.
    assert {name: ADDED[name].get("networks") for name in PEOPLE} == {key: ["back", "out"] for key in PEOPLE}
    assert (ADDED["vault"]["network_mode"], "networks" in ADDED["vault"]) == ("none", False)
    assert BESIDE["people"]["networks"] == {"out": {}}


def test_the_services_are_the_local_stacks_and_each_keeps_the_keys_that_it_may() -> None:
    processes = Plan(cache=None, people=True).processes  # type: ignore[arg-type]
    assert {name: ADDED[name]["command"] for name in PEOPLE} == {
        name: ["python", "-m", *processes[name]] for name in PEOPLE
    }
    vaults = {
        name: [one for one in service["volumes"] if "vault" in one]
        for name, service in PEOPLES.items()
        if "volumes" in service
    }
    assert vaults == {
        "vault": ["vault:/var/lib/oo-vault"],
        # It wraps them anew once a day; the edge wraps what it makes.
        "connect": ["vault:/var/lib/oo-vault"],
        "notify": [],
        "edge": ["vault:/var/lib/oo-vault:ro"],
    }
    assert all("kek:/var/lib/oo-kek:ro" in ADDED[name]["volumes"] for name in PEOPLE)
    named = {volume.partition(":")[0] for one in PEOPLES.values() for volume in one.get("volumes", [])}
    assert named <= {*COMPOSE["volumes"], *BESIDE["people"]["volumes"]}
    # A folder of the image's, so that a new volume is its user's.
    assert (
        "/var/lib/oo-vault" in (ROOT / "deploy/compose/Dockerfile").read_text(encoding="utf-8").split("-m 0700", 1)[1]
    )


def test_what_is_added_to_the_base_is_what_the_local_stack_adds_with_people_and_with_providers() -> None:
    handed_on = {*CONNECT_SETTINGS, "OO_PUBLIC_URL"} - {"OO_CONNECT_FILES"}
    for part, there in (("core-0", "core"), ("edge", "edge")):
        more = local(part, people=True).keys() - local(part, people=False).keys()
        assert told(there, BESIDE["people"]).keys() == more | (handed_on if part == "edge" else set()), part
    providers = local("edge", people=False, providers=Path("/x")).keys() - local("edge", people=False).keys()
    assert told("edge", BESIDE["sign-in"]).keys() == providers | {"OO_PUBLIC_URL"}
    # Of its own; what every worker is told is compared below.
    for part in PEOPLE:
        own = local(part, people=True).keys() - local("record", people=True).keys()
        assert own <= told(part, BESIDE["people"]).keys() | INSIDE, part


@pytest.mark.parametrize("name", PEOPLE)
def test_a_worker_reads_what_it_is_told_and_all_of_it_is_a_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = told(name, BESIDE["people"])
    monkeypatch.setattr("os.environ", dict(there))
    settings = WorkerSettings()
    assert {key for key in there if key.removeprefix("OO_").lower() not in WorkerSettings.model_fields} == {"OO_LOCAL"}
    worker = COMPOSE["services"]["record"]["environment"]
    assert worker.keys() - {"OO_VALKEY_URL"} <= there.keys()
    alike = [key for key in worker if key not in ("OO_WORKER_ID", "OO_DATA_DIR", "OO_VALKEY_URL")]
    assert {key: there[key] for key in alike} == {key: worker[key] for key in alike}
    if name == "connect":
        assert None not in (settings.integrations_dsn, settings.vault_dir, settings.oauth_file)
    else:
        assert settings.public_url == "http://127.0.0.1:8080"
        assert set(NOTIFY_SETTINGS) - there.keys() == {"OO_MAIL_CA_FILE"}
        assert None not in (settings.notifier_dsn, settings.valkey_url, settings.notify_key_file, settings.smtp_url)


def test_the_edge_reads_what_both_tell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    there = told("edge", COMPOSE, *BESIDE.values())
    monkeypatch.setattr("os.environ", dict(there))
    settings = EdgeSettings()
    needed = (settings.connections_dsn, settings.vault_dir, settings.notifier_dsn, settings.notify_public_key_file)
    assert None not in (*needed, settings.providers_file, settings.auth_dsn, settings.auth_key_file)
    assert settings.public_url == told("notify", BESIDE["people"])["OO_PUBLIC_URL"]
    elsewhere = {"OO_WORKER_ID", "OO_DATA_DIR"}
    assert {key for key in there if key.removeprefix("OO_").lower() not in EdgeSettings.model_fields} == elsewhere


def test_every_secret_that_is_named_is_declared_and_mounted_where_its_setting_says() -> None:
    for file in BESIDE.values():
        for name, service in file["services"].items():
            mine = set(service.get("secrets", []))
            assert mine <= set(SECRETS), name
            named = [Path(value) for value in service.get("environment", {}).values() if "/run/secrets" in value]
            assert {one.name for one in named} == {one for one in mine if not one.startswith("OO_")}, name
    assert {name: sorted(one.get("secrets", [])) for name, one in PEOPLES.items()} == {
        "vault": [],
        "core": [],
        "connect": ["OO_INTEGRATIONS_DSN", "oauth.toml"],
        "notify": ["OO_NOTIFIER_DSN", "OO_SMTP_URL", "notify.json"],
        "edge": ["OO_CONNECTIONS_DSN", "OO_NOTIFIER_DSN", "notify.public.json", "oauth.toml"],
    }
    assert sorted(SIGN_IN["secrets"]) == ["OO_AUTH_DSN", "auth.key", "providers.toml"]


def test_secrets_are_made_and_what_an_operator_wrote_stays(tmp_path: Path) -> None:
    made = {path.name: path for path in make(tmp_path / "compose")}
    # That one is the operator's alone: nobody else knows who people sign in with.
    declared = {name for file in BESIDE.values() for name in file["secrets"]}
    assert declared - made.keys() == {"providers.toml"}
    for role in ("integrations", "connections", "notifier", "auth"):
        assert made[f"OO_{role.upper()}_DSN"].read_text().startswith(f"postgresql://{role}:")
    assert (made["oauth.toml"].read_text(), made["OO_SMTP_URL"].read_text()) == ("", "")
    made["oauth.toml"].write_text('[todoist]\nclient_id = "x"\n')
    make(tmp_path / "compose")
    assert made["oauth.toml"].read_text() == '[todoist]\nclient_id = "x"\n'
    assert "d" not in json.loads(made["notify.public.json"].read_text())
    texts = "".join(path.read_text(encoding="utf-8") for path in FILES.values())
    assert not re.search(r"://[^/\s:@]+:[^/\s@]+@", texts)


def test_the_vaults_first_key_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = ADDED["vault"]["command"][-1]
    assert step in STEPS and NEEDED[step] == ("vault_dir",)
    monkeypatch.setenv("OO_KAFKA_BOOTSTRAP", "kafka:9092")
    monkeypatch.setenv("OO_VAULT_DIR", str(tmp_path / "vault"))
    stack = containers(step)
    for _ in range(2):
        STEPS[step](stack)
    assert len(KeyFiles(tmp_path / "vault").ids()) == 1
