"""The floors hold: a function imports its own folder, the kit and the events, and no other.

The import contracts in pyproject.toml check the kit and the events; these check each function, by
reading what it imports, for a new folder is found here by itself.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.kit import migrate
from functions.kit.serve import FUNCTIONS
from tests.contract.repository import ROOT, all_folders

FILES = [
    pytest.param(name, path, id=f"{name}/{path.name}")
    for name, folder in all_folders().items()
    for path in sorted(folder.glob("*.py"))
]
DECISIONS = [
    pytest.param(name, folder / "decide.py", id=name)
    for name, folder in all_folders().items()
    if (folder / "decide.py").is_file()
]


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports must be absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize(("name", "path"), FILES)
def test_a_function_imports_its_own_folder_the_kit_and_the_events(name: str, path: Path) -> None:
    own = ".".join(all_folders()[name].relative_to(ROOT).parts)
    allowed = (own, "functions.kit", "functions.events")
    for module in imports(path):
        if is_in(module, "functions") and module not in ("functions", "functions.dsm"):
            inside = any(is_in(module, a) or is_in(a, module) for a in allowed)
            assert inside, f"{module} is another floor"
        assert not is_in(module, "knative"), "nothing in the image knows the local Knative"


@pytest.mark.parametrize(("name", "path"), DECISIONS)
def test_a_decision_imports_the_events_and_the_standard_library(name: str, path: Path) -> None:
    own = ".".join(all_folders()[name].relative_to(ROOT).parts)
    for module in imports(path):
        top = module.partition(".")[0]
        pure = top in sys.stdlib_module_names or is_in(module, "functions.events")
        assert pure or module in ("functions", own) or is_in(module, own), f"{module} is not pure"


@pytest.mark.parametrize(("name", "path"), DECISIONS)
def test_a_decision_has_no_clock_no_environment_no_chance(name: str, path: Path) -> None:
    hands_off = ("os", "random", "secrets", "socket", "time", "asyncio", "pathlib", "subprocess")
    for module in imports(path):
        assert module not in hands_off, f"{module}: let it be handed in"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in ("now", "utcnow", "today", "uuid4"), "hand it in"


def test_each_table_has_one_owner() -> None:
    owner_of: dict[str, str] = {}
    for owner in [migrate.KIT, *migrate.owners(FUNCTIONS).values()]:
        for path in owner.migrations.glob("*.py"):
            for table in re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", path.read_text()):
                assert owner_of.setdefault(table, owner.name) == owner.name, f"{table} has two"
    assert "inbox" in owner_of
