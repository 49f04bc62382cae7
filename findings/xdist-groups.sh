#!/usr/bin/env bash
# pytest 9.2.0 with pytest-xdist 3.8.0: `--dist loadgroup` does not keep the tests of one `xdist_group` in one process.
#
# Expected (pytest-xdist's documentation, "Running tests across multiple CPUs", loadgroup): tests that are marked with the
# same group run in the same worker. Seen: they are spread over the workers, without a word. xdist writes the group into
# the private attribute `_nodeid` of each test; pytest 9.2 builds `nodeid` from a structured id and does not read it.
# What helps: a scheduler that tells groups from the test's id alone (hook `pytest_xdist_make_scheduler`).
#
# Exit status 0 while that is so, 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pytest==9.2.0 pytest-xdist==3.8.0
cat >"$folder/test_group.py" <<'PY'
import os
import time

import pytest

pytestmark = pytest.mark.xdist_group("together")


@pytest.mark.parametrize("number", range(12))
def test_says_where_it_runs(number):
    time.sleep(0.2)
    with open(os.environ["SEEN"], "a") as seen:
        print(os.environ["PYTEST_XDIST_WORKER"], file=seen)
PY
export SEEN=$folder/seen
cd "$folder"
"$folder/venv/bin/pytest" -q -p no:cacheprovider --numprocesses=2 --dist=loadgroup test_group.py
"$folder/venv/bin/python" -c 'import pytest, xdist; print("pytest", pytest.__version__, "pytest-xdist", xdist.__version__)'
workers=$(sort -u "$SEEN" | wc -l)
echo "one group of 12 tests ran in $workers worker(s); 1 was expected"
[ "$workers" -gt 1 ]
