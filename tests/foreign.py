"""Programs of others that do not fit into our environment: each in one of its own, made from its lock at the first use."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def programs(lock: Path) -> Path:
    """The folder of programs, `python` among them, of an environment with what this requirements.txt names; its folder's name is the environment's."""
    name = f"{lock.parent.name}-{hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oo" / name
    uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    if not (cache / "whole").exists():
        subprocess.run((uv, "venv", "--quiet", "--clear", f"--python={sys.executable}", str(cache)), check=True)
        install = (uv, "pip", "install", "--quiet", "--require-hashes", f"--requirements={lock}")
        subprocess.run((*install, f"--python={cache / 'bin' / 'python'}"), check=True)
        (cache / "whole").touch()
    return cache / "bin"


def node_modules(folder: Path) -> tuple[Path, Path]:
    """(node, folder): a Node by PyPI, and a folder of this one's programs beside the npm packages of its package-lock.json."""
    programs_of = programs(folder / "requirements.txt")
    lock, ours = folder / "package-lock.json", sorted(folder.glob("*.js"))
    name = hashlib.sha256(b"".join(path.read_bytes() for path in (lock, *ours))).hexdigest()[:16]
    made = programs_of.parent / name
    if not (made / "whole").exists():
        fresh = Path(tempfile.mkdtemp(dir=programs_of.parent))
        for path in (folder / "package.json", lock, *ours):
            shutil.copy(path, fresh)
        command = (programs_of / "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        environment = {**os.environ, "PATH": f"{programs_of}{os.pathsep}{os.environ.get('PATH', '')}"}
        subprocess.run(command, cwd=fresh, check=True, env=environment)
        (fresh / "whole").touch()
        shutil.rmtree(made, ignore_errors=True)
        fresh.rename(made)
    return programs_of / "node", made
