"""Writes docs/configuration.md: every `OO_*` setting of the command, workers and edge, from the classes that read them."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any, get_args

from pydantic_settings import BaseSettings

from agents import settings as agents_settings
from deploy import elsewhere
from serving import settings as serving_settings
from serving.scorer import settings as scorer_settings
from streams.settings import ClusterSettings

READERS: dict[str, type[BaseSettings]] = {
    "`oo`": elsewhere.Settings,
    "workers": agents_settings.Settings,
    "edge": serving_settings.Settings,
    "scorer": scorer_settings.Settings,
}
PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
BEGIN, END = "<!-- settings: written by `make proto` -->\n", "<!-- end of settings -->\n"


def table() -> str:
    """The settings in Markdown: name, who reads it, what it is without being told, what it means."""
    readers: dict[str, list[str]] = {}
    rows: dict[str, tuple[str, str]] = {}
    for who, kind in READERS.items():
        said = _docs(kind)
        for field_name, field in kind.model_fields.items():
            name = f"{kind.model_config.get('env_prefix', '')}{field_name.upper()}"
            readers.setdefault(name, []).append(who)
            default = "required" if field.is_required() else _shown(field.default)
            meaning = " ".join(filter(None, (said.get(field_name, ""), _choices(field.annotation))))
            rows[name] = (default, meaning)
    lines = [
        f"| `{name}` | {', '.join(readers[name])} | {default} | {meaning} |"
        for name, (default, meaning) in sorted(rows.items())
    ]
    return "\n".join(["| setting | read by | without it | what it says |", "|---|---|---|---|", *lines]) + "\n"


def undocumented() -> list[str]:
    """Names of settings whose meaning is written nowhere beside them."""
    return sorted({name for kind in READERS.values() for name in kind.model_fields if name not in _docs(kind)})


def _docs(kind: type) -> dict[str, str]:
    """The text that stands under each field of a class and of those that it is made of."""
    found: dict[str, str] = {}
    for one in (ClusterSettings, kind):
        body = ast.parse(inspect.getsource(one)).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                    found[name] = " ".join(said.split())
    return found


def _shown(default: object) -> str:
    if default is None or default == "":
        return ""
    if default.__class__.__name__ == "SecretStr":
        return ""
    return f"`{default}`"


def _choices(annotation: Any) -> str:
    options = [one for one in get_args(annotation) if isinstance(one, str)]
    return "One of " + ", ".join(f"`{one}`" for one in options) + "." if options else ""


def main() -> None:
    """Put the table between its two marks."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{table()}{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
