"""Generates proto/gen from proto/, or with --check says whether the committed code is what proto/ gives.

It never edits a .proto file.
"""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"


def generate(out: Path) -> None:
    """Writes the Python code and stubs of every .proto file below `out`; raises CalledProcessError if one is wrong."""
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    plugin = Path(sys.executable).parent / "protoc-gen-mypy"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"--plugin=protoc-gen-mypy={plugin}"]
    subprocess.run([*command, f"--python_out={out}", f"--mypy_out=quiet:{out}", *files], check=True, cwd=PROTO)
    for folder in {path.parent for path in out.rglob("*.py")} | {out / "oo", out / "buf"}:
        (folder / "__init__.py").touch()


def drift(committed: Path, fresh: Path) -> list[str]:
    """Names, relative to proto/gen, of the files that differ or stand on one side only."""
    names = {p.relative_to(root) for root in (committed, fresh) for p in root.rglob("*.py*") if p.suffix != ".pyc"}
    return sorted(
        str(name)
        for name in names
        if not ((committed / name).exists() and (fresh / name).exists())
        or not filecmp.cmp(committed / name, fresh / name, shallow=False)
    )


def main() -> int:
    """Regenerates in place; with --check exits 1 where the committed code has drifted."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        if "--check" in sys.argv[1:]:
            different = drift(PROTO / "gen", fresh)
            if different:
                print(f"proto/gen has drifted from proto/: {', '.join(different)}. Run 'make proto' and commit.")
            return 1 if different else 0
        shutil.rmtree(PROTO / "gen", ignore_errors=True)
        shutil.copytree(fresh, PROTO / "gen")
        # The scratch folder's mode came along; other users may read the code.
        (PROTO / "gen").chmod(0o755)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
