"""The language model of a local stack: which one an operator chose, and how it runs where it is a part of the stack.

It never asks a model anything but whether it serves.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deploy.stack import probes
from deploy.stack.llm_server import EXTRA as LOCAL_EXTRA
from deploy.stack.processes import Command
from deploy.stack.state import LOOPBACK, StateFolder, write_private

OFF, LOCAL = "off", "local"
EXTRA = ("litellm", "yaml")
"""What the extra `llm` installs and every choice needs."""
HOW_TO_INSTALL = "run 'make setup', or 'uv sync --extra local --extra llm --extra local-llm', where oO's source is"
ALIASES = ("tip-generator", "judge")
TIMEOUT_S = 60
SMALL_PROMPT = "one-step"
"""What the small model is asked with."""
TEMPERATURE = 0.3
"""Of the small model, which writes nonsense at a higher one and the same at a lower one."""


class BadChoice(ValueError):
    """What was given to --llm is no model; the message says what to give."""


def checked(choice: str) -> str:
    """Return it as it is remembered: off, local, an address, or the whole path of a file. Raises BadChoice.

    >>> checked("local"), checked("http://127.0.0.1:8080/v1")
    ('local', 'http://127.0.0.1:8080/v1')
    """
    if choice in {OFF, LOCAL}:
        return choice
    if choice.startswith(("http://", "https://")):
        from connectors.model_places import is_near

        if not is_near(choice):
            raise BadChoice(
                f"{choice} is not near: a live stack asks this machine, a private address or a name without dots"
            )
        if not urlsplit(choice).path.strip("/"):
            raise BadChoice(f"{choice} lacks its path, as in {choice.rstrip('/')}/v1")
        return choice
    if not (path := Path(choice).resolve()).is_file():
        raise BadChoice(f"--llm takes off, local, http://HOST:PORT/v1 or a litellm.yaml; there is no file {choice}")
    from connectors.models import FileUnusable, aliases_that_write, check

    try:
        check(path)
        aliases_that_write(path)
    except FileUnusable as bad:
        raise BadChoice(str(bad)) from None
    return str(path)


def not_installed(choice: str) -> list[str]:
    """What this choice needs and is not here."""
    wanted = () if choice == OFF else (*EXTRA, *LOCAL_EXTRA) if choice == LOCAL else EXTRA
    return [name for name in wanted if importlib.util.find_spec(name) is None]


def file_of(folder: StateFolder, choice: str, ports: Mapping[str, int]) -> Path | None:
    """The litellm.yaml of this choice, written anew where it is ours; None where nothing is asked."""
    if choice == OFF:
        return None
    if choice != LOCAL and "://" not in choice:
        return Path(choice)
    base = f"http://{LOOPBACK}:{ports['llm']}/v1" if choice == LOCAL else choice
    params = {"model": "openai/local", "api_base": base, "api_key": "none", "timeout": TIMEOUT_S}
    if choice == LOCAL:
        params["temperature"] = TEMPERATURE
    # JSON is YAML.
    models = [{"model_name": alias, "litellm_params": params} for alias in ALIASES]
    write_private(folder.llm_file, json.dumps({"model_list": models}, indent=1).encode())
    return folder.llm_file


@dataclass(frozen=True, slots=True)
class Llm:
    """The small model on this machine."""

    data: Path
    port: int
    env: Mapping[str, str]

    def prepare(self) -> Command:
        """Say how to start."""
        self.data.mkdir(parents=True, exist_ok=True)
        argv = (sys.executable, "-m", "deploy.stack.llm_server", str(self.port))
        return Command(argv=argv, env=self.env, cwd=self.data)

    async def ready(self) -> bool:
        """Whether it has loaded its weights."""
        return await probes.http(self.port, "/health")
