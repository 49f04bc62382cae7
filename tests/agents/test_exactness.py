"""The core's arithmetic is the same on every processor: found out by reading it. tests/golden runs it as well."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import import_module
from pathlib import Path

import numba
import pytest
from numba.core.dispatcher import Dispatcher

from deploy.compile import MODULES
from tables.compiled import OPTIONS

ROOT = Path(__file__).parents[2]
OUTSIDE = {"drift", "evaluation", "fitting", "in_memory", "mixed_rff", "shadows", "vw"}
"""What is pure and does not run in `step`: in `learn` and `shadow` alone, or never served."""
PURE = next(
    one["source_modules"]
    for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    if one["id"] == "pure-core"
)
CORE = [
    path
    for name in PURE
    for path in (sorted((ROOT / name.replace(".", "/")).glob("*.py")) or [ROOT / f"{name.replace('.', '/')}.py"])
    if not OUTSIDE & {path.stem, path.parent.name}
]
LIBRARY = frozenset(
    [
        "dot",
        "vdot",
        "inner",
        "outer",
        "matmul",
        "tensordot",
        "einsum",
        "linalg",
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "power",
        "float_power",
        "sin",
        "cos",
        "tan",
        "tanh",
        "arctan",
        "arctan2",
        "cbrt",
        "hypot",
        "logaddexp",
        "fft",
        "mean",
        "average",
        "var",
        "std",
        "prod",
        "cumsum",
        "nansum",
        "convolve",
        "corrcoef",
        "cov",
        "polyfit",
        "interp",
        "default_rng",
        "Generator",
        "RandomState",
        "standard_normal",
        "normal",
    ]
)
"""What BLAS, LAPACK, SIMD maths or an unstated order of additions stands behind."""


def inexact(source: str) -> list[str]:
    """Uses of what differs between processors."""
    found = []

    def walk(node: ast.AST) -> None:
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult):
            found.append(f"{node.lineno}: @")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            # Of floats it is the C library's pow.
            power = node.right.value if isinstance(node.right, ast.Constant) else None
            found.extend([f"{node.lineno}: **"] * (not isinstance(power, int)))
        of = node.func if isinstance(node, ast.Call) else node
        if isinstance(of, ast.Attribute) and of.attr in LIBRARY and (of is not node or ast.unparse(of.value) == "np"):
            found.append(f"{node.lineno}: .{of.attr}")
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in {"math", "numpy", "scipy"}:
            found.extend(f"{node.lineno}: {alias.name}" for alias in node.names if alias.name in LIBRARY)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "sum":
            # A float reduction is added up in an order that depends on the vector width; whole numbers are not.
            of_array = isinstance(node.func, ast.Attribute)
            if of_array and not any(k.arg == "dtype" and ast.unparse(k.value) == "np.int64" for k in node.keywords):
                found.append(f"{node.lineno}: .sum without dtype=np.int64")
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(ast.parse(source))
    return found


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_uses_nothing_that_differs_between_processors(path: Path) -> None:
    assert inexact(path.read_text()) == []


@pytest.mark.parametrize(
    "planted_line",
    ["y = x @ b", "x @= b", "np.dot(x, b)", "x.dot(b)", "np.einsum('i,i', x, b)", "np.linalg.norm(x)", "np.exp(x)",
     "y = x**0.5", "y = 2.0**x", "from math import exp", "from numpy import dot", "x.mean()", "x.sum()", "np.sum(x)", "np.log(x)"],
)  # fmt: skip
def test_a_planted_use_is_found(planted_line: str) -> None:
    assert inexact(f"import numpy as np\n{planted_line}\n")


COMPILED = [
    one
    for module in map(import_module, MODULES)
    for one in vars(module).values()
    if isinstance(one, Dispatcher) and one.py_func.__module__ == module.__name__
]


def test_every_module_that_compiles_is_compiled_at_set_up_and_looked_at_here() -> None:
    holding = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for room in ("agents", "tables")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"^@compiled\(", path.read_text(), re.MULTILINE)
    }
    assert holding == set(MODULES)


FUSED = r"\bv?fn?m(add|sub|la|ls)"


@pytest.mark.long("tests/golden/test_golden.py::test_processors_without_numpys_vector_instructions_change_no_byte")
@pytest.mark.parametrize("function", COMPILED, ids=lambda one: one.py_func.__name__)
def test_what_is_compiled_fuses_no_multiplication_with_an_addition(function: Dispatcher) -> None:
    # Compiled once more: what comes from the cache cannot be looked at.
    again = numba.njit(function.signatures[0], **OPTIONS)(function.py_func)
    (text,) = again.inspect_asm().values()
    assert not re.search(FUSED, text)


def test_a_fused_one_would_be_found() -> None:
    fused = numba.njit("f8(f8, f8, f8)", fastmath=True)(lambda a, b, c: a * b + c)
    (text,) = fused.inspect_asm().values()
    assert re.search(FUSED, text)
