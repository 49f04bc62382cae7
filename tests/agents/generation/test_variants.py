"""What versions say of language models: nothing where there are none, else each prompt of each model."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents import assemble
from agents.generation.prompts import latest
from agents.generation.variants import NoSuchPrompt, prompts_of, shadows_of
from agents.reward import DEFAULT, config_hash


def config(folder: Path, *aliases: str, prompts: str = "tips", shadows: str = "") -> Any:
    path = None
    if aliases:
        path = folder / "litellm.yaml"
        params = {"model": "openai/x", "api_base": "http://127.0.0.1:1"}
        path.write_text(
            json.dumps({"model_list": [{"model_name": name, "litellm_params": params} for name in aliases]})
        )
    told = SimpleNamespace(
        settings=SimpleNamespace(interrupt=False, llm_file=path, llm_prompts=prompts, llm_shadow_prompts=shadows)
    )
    return assemble._config(told)  # type: ignore[arg-type]


def test_a_stack_without_a_model_makes_versions_of_the_same_bytes_as_before(tmp_path: Path) -> None:
    made = config(tmp_path)
    assert made.SerializeToString(deterministic=True) == DEFAULT.SerializeToString(deterministic=True)
    assert not made.HasField("generation")
    # As released before anything could be asked.
    assert config_hash(made) == "1248f46cf758640c"


def test_where_there_is_one_they_ask_it_by_the_prompts_that_were_said(tmp_path: Path) -> None:
    made = config(tmp_path, "tip-generator", "tip-generator-b", "judge", prompts="tips=3,first-step")
    variants = {(one.prompt_version, one.model): one.weight for one in made.generation.variants}
    tips, first = latest("tips").version, latest("first-step").version
    names = "tip-generator", "tip-generator-b"
    assert variants == {**{(tips, name): 3 for name in names}, **{(first, name): 1 for name in names}}
    made.ClearField("generation")
    assert made == DEFAULT


def test_a_shadow_is_asked_beside_a_share_of_requests(tmp_path: Path) -> None:
    made = config(tmp_path, "tip-generator", shadows="first-step=0.05, one-step=0.2")
    assert {one.prompt_version.partition("@")[0]: one.permille for one in made.generation.shadows} == {
        "first-step": 50,
        "one-step": 200,
    }
    assert {one.prompt_version for one in made.generation.variants} == {latest("tips").version}


@pytest.mark.parametrize(
    "said", ["tipps=0.1", "tips", "tips=", "tips=0", "tips=nan", "tips=1.5", "tips=0.6,one-step=0.6"]
)
def test_what_is_no_share_of_requests_says_what_to_say(said: str) -> None:
    with pytest.raises(NoSuchPrompt, match="OO_LLM_SHADOW_PROMPTS"):
        shadows_of(said)


@pytest.mark.parametrize("said", ["tipps", "tips=0", "tips=x", "tips,", ""])
def test_what_names_no_prompt_says_what_to_say(said: str) -> None:
    with pytest.raises(NoSuchPrompt, match="OO_LLM_PROMPTS"):
        prompts_of(said)


def test_a_core_whose_file_has_no_alias_that_writes_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="tip-generator"):
        config(tmp_path, "judge")
