"""Where models may stand: a live worker asks what is near, and nobody else, whatever the file says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.model_places import is_near, resolved, why_far
from connectors.models import FileUnusable, Models, read

ROOT = Path(__file__).resolve().parents[2]


def file(folder: Path, **params: object) -> Path:
    path = folder / "litellm.yaml"
    path.write_text(json.dumps({"model_list": [{"model_name": "tip-generator", "litellm_params": params}]}))
    return path


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:8080/v1", "http://localhost:8080/v1", "http://[::1]:8080", "http://ollama:11434"),
        *(
            "http://10.1.2.3/v1",
            "https://192.168.0.4",
            "http://172.16.5.6:9",
            "http://[fd00::1]:8080",
            "http://lite-llm_1",
        ),
    ],
)
def test_what_is_on_this_machine_in_a_private_network_or_has_a_name_without_dots_is_near(url: str) -> None:
    assert is_near(url)


@pytest.mark.parametrize(
    "url",
    [
        *("https://api.anthropic.com", "http://8.8.8.8/v1", "http://model.internal:80", "http://[2001:4860::8]/", ""),
        *(
            "ollama:11434",
            "ftp://ollama",
            "http://",
            "http://ollama@evil.example",
            "http://evil.example#@ollama",
            "http://ollama.",
        ),
        *(
            "http://134744072/",
            "http://0x08080808/",
            "http://0.0.0.0:80",
            "http://[::ffff:8.8.8.8]/",
            "http://127.0.0.1.nip.io",
        ),
        *("http://evil.example\\@ollama/", "http://[bad", "http://172.32.0.1", "http://240.0.0.1"),
    ],
)
def test_all_else_is_not(url: str) -> None:
    assert not is_near(url)


@pytest.mark.parametrize(
    "params",
    [
        {"model": "anthropic/claude-sonnet-4-5", "api_key": "sk-x"},
        {"model": "anthropic/claude-sonnet-4-5", "api_key": "sk-x", "api_base": "http://127.0.0.1:1"},
        {"model": "gpt-5", "api_key": "sk-x", "api_base": "http://127.0.0.1:1"},
        {"model": "openai/gpt-5", "api_key": "sk-x"},
        {"model": "openai/gpt-5", "api_base": "https://api.example.org/v1"},
        {"model": "openai/gpt-5", "api_base": "os.environ/NOT_SET"},
        {"model": "openai/x", "api_base": "http://127.0.0.1:1", "base_url": "https://api.example.org"},
        {"model": "openai/x", "api_base": "http://127.0.0.1:1", "custom_llm_provider": "anthropic"},
        {"model": "openai/x", "api_base": "http://127.0.0.1:1", "extra_headers": {"host": "api.example.org"}},
    ],
)
def test_a_live_worker_refuses_a_model_elsewhere_with_or_without_its_key(
    params: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    with pytest.raises(FileUnusable, match="a live worker asks only models near it; tip-generator: "):
        Models.of(file(tmp_path, **params))


def test_offline_work_takes_it_once_its_key_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(tmp_path, model="anthropic/claude-sonnet-4-5")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(FileUnusable, match="ANTHROPIC_API_KEY is not set"):
        Models.of(path, far=True)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    assert Models.of(path, far=True).aliases == {"tip-generator"}


def test_what_the_environment_says_is_what_is_looked_at() -> None:
    params = {"model": "openai/x", "api_base": "os.environ/WHERE"}
    assert why_far(resolved(params, environment={"WHERE": "http://ollama:1"})) == ""
    assert why_far(resolved(params, environment={"WHERE": "https://api.example.org"}))


def test_the_file_that_comes_with_the_project_has_the_three_aliases_and_only_what_is_near() -> None:
    models = read(ROOT / "deploy/litellm.yaml")
    assert [one["model_name"] for one in models] == ["tip-generator", "embedder", "judge"]
    assert [why_far(one["litellm_params"]) for one in models] == ["", "", ""]
    # As litellm itself takes it.
    assert Models.of(ROOT / "deploy/litellm.yaml").aliases == {"tip-generator", "embedder", "judge"}
