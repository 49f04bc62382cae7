"""Which lakes were exported from a state folder, so that who leaves is looked for there too. It opens none of their files."""

from __future__ import annotations

from pathlib import Path

from deploy.lake.manifest import NAME, Lake
from deploy.stack.running import RunningStack


def remember(stack: RunningStack, lake: Lake) -> None:
    """Note that there is this one."""
    if lake.root not in remembered(stack):
        stack.folder.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _file(stack).open("a", encoding="utf-8") as file:
            file.write(f"{lake.root}\n")


def remembered(stack: RunningStack) -> list[Path]:
    """Those that are still there."""
    try:
        noted = _file(stack).read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [Path(one) for one in noted if (Path(one) / NAME).exists()]


def _file(stack: RunningStack) -> Path:
    return stack.folder.root / "lakes"
