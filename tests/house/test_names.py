"""Our folders are top-level packages with plain names, some of which others use on PyPI."""

from __future__ import annotations

from importlib.metadata import distributions, packages_distributions

OURS = {"streams", "tables", "connectors", "agents", "serving", "deploy", "training", "oo", "buf"}


def owners(top_level: set[str]) -> dict[str, set[str]]:
    """Which installed distributions bring a module of one of these names."""
    found: dict[str, set[str]] = {}
    for one in distributions():
        for file in one.files or ():
            name = file.parts[0].removesuffix(".py")
            if name in top_level and file.suffix in {".py", ".pyi", ".so", ""}:
                found.setdefault(name, set()).add(one.name)
    return found


def test_no_installed_distribution_owns_one_of_our_top_level_names():
    strangers = {name: dists - {"oo-recommender"} for name, dists in owners(OURS).items()}
    assert not {name: dists for name, dists in strangers.items() if dists}


def test_a_name_that_another_distribution_owns_is_found():
    assert owners({"pytest", "numpy"}) == {"pytest": {"pytest"}, "numpy": {"numpy"}}
    assert "pytest" in packages_distributions()
