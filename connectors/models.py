"""Language models behind aliases, by one file in litellm's own format: a call goes out once, and what comes of it is text or one fixed word.

It never tries again, never caches, never counts money, and never says what was asked: not in an error, not in a log. litellm is
imported where the first `Models` is made, and nowhere else: it takes some 4 s of processor time and 200 MB.
"""

from __future__ import annotations

import asyncio
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from connectors import model_places

Failure = Literal["timeout", "rate-limited", "unreachable", "empty", "refused", "bad-answer"]


class ModelFailed(Exception):
    """The call brought no text; `reason` says why."""

    def __init__(self, reason: Failure) -> None:
        super().__init__(reason)
        self.reason: Failure = reason


class FileUnusable(ValueError):
    """The file of aliases cannot be read, or names no model; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a model wrote."""

    text: str
    tokens_in: int
    tokens_out: int
    answered_by: str
    """The model, in its server's words."""


class Models:
    """Use it inside one running loop."""

    def __init__(self, models: Sequence[Mapping[str, Any]]) -> None:
        """`models`: as `model_list` of the file."""
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = (
            "True"  # Asked by the import: otherwise it fetches a list of prices.
        )
        # pydantic's words to litellm's authors about their types, at the import and at the first call.
        warnings.filterwarnings("ignore", message=".*`ReadOnly` qualifier", category=UserWarning)
        import litellm

        litellm.telemetry = False
        litellm.suppress_debug_info = True
        litellm.turn_off_message_logging = True
        for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
            # They quote what was asked.
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._litellm = litellm
        self._aliases = frozenset(str(one["model_name"]) for one in models)
        # One call is one call: who failed is asked again when a breaker of ours says so (agents/breaker.py).
        self._router = litellm.Router(
            model_list=[dict(one) for one in models], num_retries=0, max_fallbacks=0, disable_cooldowns=True
        )

    @classmethod
    def of(cls, path: Path, *, far: bool = False) -> Self:
        """Those of this file; `far`: also models elsewhere whose key is set, which is for offline work alone. Raises FileUnusable."""
        return cls(check(path, far=far))

    async def warm(self) -> None:
        """Import what a first call needs, without one: half a second of processor time, in which a loop stands still."""
        await self._router.acompletion(
            model=next(iter(self._aliases)), messages=[{"role": "user", "content": "x"}], mock_response="x"
        )

    @property
    def aliases(self) -> frozenset[str]:
        """What may be asked."""
        return self._aliases

    async def ask(
        self,
        alias: str,
        messages: Sequence[Mapping[str, str]],
        schema: Mapping[str, Any],
        *,
        max_tokens: int,
        deadline_s: float,
    ) -> Said:
        """One call, and what the model wrote, held to this JSON schema where its server can do that. Raises ModelFailed.

        Cancelling it closes the connection: a server that looks stops writing.
        """
        if alias not in self._aliases:
            raise ModelFailed("refused")
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema), "strict": True}}
        try:
            async with asyncio.timeout(deadline_s):
                answer: Any = await self._router.acompletion(
                    model=alias,
                    messages=[dict(one) for one in messages],
                    response_format=form,
                    max_tokens=max_tokens,
                    max_retries=0,
                )
        except Exception as error:  # noqa: BLE001 - whatever it raises, its text may quote the prompt
            raise ModelFailed(self._reason(error)) from None
        text = answer.choices[0].message.content if answer.choices else None
        if not text:
            raise ModelFailed("empty")
        used = getattr(answer, "usage", None)
        tokens_in, tokens_out = (int(getattr(used, name, 0) or 0) for name in ("prompt_tokens", "completion_tokens"))
        return Said(text, tokens_in, tokens_out, str(answer.model or ""))

    def _reason(self, error: Exception) -> Failure:
        of = self._litellm
        match error:
            case TimeoutError() | of.Timeout():
                return "timeout"
            case of.RateLimitError():
                return "rate-limited"
            case of.BadRequestError() | of.AuthenticationError() | of.PermissionDeniedError() | of.NotFoundError():
                return "refused"
        # litellm 1.110 calls it InternalServerError, be it that nobody listens, a status of 500 or a page of HTML.
        names = {type(one).__name__ for one in _causes(error)}
        return "unreachable" if names & {"APIConnectionError", "HTTPStatusError"} else "bad-answer"


def _causes(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__


def read(path: Path) -> list[dict[str, Any]]:
    """The models that the file lists. Raises FileUnusable."""
    try:
        import yaml
    except ModuleNotFoundError:
        raise FileUnusable(f"{path} needs the extra llm: pip install 'oo-recommender[llm]'") from None

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise FileUnusable(
            f"{path} cannot be read ({type(error).__name__}): OO_LLM_FILE names a litellm.yaml"
        ) from None
    models = content.get("model_list") if isinstance(content, dict) else None
    if not isinstance(models, list) or not models or not all(_is_model(one) for one in models):
        raise FileUnusable(
            f"{path} needs a model_list whose entries have model_name and litellm_params, as litellm has them"
        )
    return models


def check(path: Path, *, far: bool = False) -> list[dict[str, Any]]:
    """Read the models of the file, all of which may be asked. Raises FileUnusable."""
    models = read(path)
    if against := model_places.check(models, far=far, environment=os.environ):
        says = "a model elsewhere needs its key" if far else "a live worker asks only models near it"
        raise FileUnusable(f"{path}: {says}; {'; '.join(against)}")
    return models


def elsewhere(path: Path, alias: str) -> str:
    """Say which model stands behind an alias and where, if that is no place near; empty where it is near. Raises FileUnusable."""
    for one in read(path):
        params = model_places.resolved(one["litellm_params"], environment=os.environ)
        if one["model_name"] == alias and model_places.why_far(params):
            base = params.get("api_base")
            return f"{params['model']}{(base and f' at {base}') or ''}"
    return ""


WRITER = "tip-generator"
"""The alias that writes tips; others whose names begin so write some of them, for comparison."""


def aliases_that_write(path: Path) -> frozenset[str]:
    """The aliases of the file that tips are asked of. Raises FileUnusable."""
    found = frozenset(name for one in read(path) if (name := str(one["model_name"])).startswith(WRITER))
    if not found:
        raise FileUnusable(f"{path} has no alias {WRITER}: who writes tips is its model")
    return found


def _is_model(one: object) -> bool:
    return (
        isinstance(one, dict) and isinstance(one.get("model_name"), str) and isinstance(one.get("litellm_params"), dict)
    )
