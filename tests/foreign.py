"""Programs of others that do not fit into our environment: each in one of its own, made from its lock at the first use."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
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
