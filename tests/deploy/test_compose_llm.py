"""docker-compose.llm.yml: valid, as closed as the file that it stands beside, and the aliases of deploy/litellm.yaml for all. No engine runs here."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

from ruamel.yaml import YAML

from connectors.models import read
from deploy.stack.llm import EXTRA, SMALL_PROMPT
from deploy.stack.local import Plan
from tests.deploy.test_compose import COMPOSE, ROOT
from tests.patience import PATIENCE_S

FILE = ROOT / "docker-compose.llm.yml"
BESIDE: dict[str, Any] = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = BESIDE["services"]
ADDED = {name: one for name, one in SERVICES.items() if name not in COMPOSE["services"]}


def test_the_file_is_valid_by_the_compose_schema() -> None:
    command = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE))
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout


def test_what_it_adds_has_no_more_power_than_it_needs_and_names_its_version() -> None:
    assert set(ADDED) == {"generate", "models", "ollama", "litellm", "openwebui"}
    for service in ADDED.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert re.fullmatch(r"\d+m", service["mem_limit"])
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])


def test_who_sees_what_people_have_has_no_way_out() -> None:
    assert {name for name, one in ADDED.items() if "front" in one["networks"]} == {"models", "openwebui"}
    assert ADDED["models"]["profiles"] == ["models"]
    assert ADDED["openwebui"]["ports"] == ["127.0.0.1:8081:8080"]


def test_the_worker_is_the_local_stacks_and_all_read_one_file_whose_servers_are_there() -> None:
    processes = Plan(cache=None, llm="local").processes  # type: ignore[arg-type]
    assert ADDED["generate"]["command"] == ["python", "-m", *processes["generate"]]
    mounted = "./deploy/litellm.yaml:/etc/oo/litellm.yaml:ro"
    assert all(mounted in SERVICES[name]["volumes"] for name in ("core", "generate", "litellm"))
    # As the local stack asks a model of that size.
    assert read(ROOT / "deploy/litellm.yaml")[0]["litellm_params"]["model"] == "ollama_chat/smollm2:135m"
    assert SERVICES["core"]["environment"]["OO_LLM_PROMPTS"] == SMALL_PROMPT
    bases = {one["litellm_params"]["api_base"] for one in read(ROOT / "deploy/litellm.yaml")}
    assert bases == {"http://ollama:11434"}
    assert BESIDE["x-with-models"]["build"]["args"] == {"OO_WITH": "--extra llm"}
    assert "litellm" in EXTRA
