"""What set-up has compiled is compiled at no start."""

from __future__ import annotations

import json
import subprocess
import sys

from deploy.compile import bytecode
from deploy.stack.local import ROOT, python_env
from deploy.stack.preloaded import MODULES

IMPORTS = """
import json, sys
from importlib import import_module
from importlib.machinery import SourceFileLoader

compiled, compile_source = [], SourceFileLoader.source_to_code

def noted(loader, data, path, **more):
    compiled.append(str(path))
    return compile_source(loader, data, path, **more)

SourceFileLoader.source_to_code = noted
for name in sys.argv[1:]:
    import_module(name)
print(json.dumps(compiled))
"""


def test_the_imports_of_our_processes_compile_no_source_file() -> None:
    # Ours may have been changed since; those of others are as `make setup` left them.
    bytecode()
    done = subprocess.run(
        (sys.executable, "-c", IMPORTS, *MODULES),
        env=python_env(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == []
