"""The layers hold, and what checks them finds a violation.

The import contracts stand in pyproject.toml. They say nothing of the purity of decisions, which is
checked here: every `decide.py`, and every module below a `decide/`.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.kit.durable import locks, migrate
from functions.kit.process.serve import FUNCTIONS
from tests.support.repository import KNATIVE, ROOT

DECISIONS = sorted(
    path
    for path in FUNCTIONS.rglob("*.py")
    if path.name == "decide.py" or path.parent.name == "decide"
)
IMPURE = ("asyncio", "os", "pathlib", "random", "secrets", "socket", "subprocess", "time")
IMPURE_CALLS = ("now", "utcnow", "today", "uuid1", "uuid4")

# Where an import that must not be is planted, what is imported, and the contract that finds it.
VIOLATIONS = [
    ("functions/events/job.py", "functions.kit.errors", "Clients and the saga SDK stand on"),
    ("functions/cron.py", "functions.events.base", "Clients and the saga SDK stand on"),
    ("functions/kit/context.py", "functions.dsm_client", "Clients and the saga SDK stand on"),
    ("functions/kit/durable/inbox.py", "functions.kit.context", "The kit's packages stand on"),
    (
        "functions/kit/clients/publisher.py",
        "functions.kit.durable.outbox",
        "The kit's packages stand",
    ),
    ("functions/kit/errors.py", "functions.sprint_report.decide", "Nobody imports a function"),
    ("functions/cycle_trigger/main.py", "functions.sprint_report.decide", "Nobody imports a func"),
    ("functions/sprint_report/main.py", "functions.dsm.sprint_service.main", "Nobody imports a"),
    (
        "functions/dsm/sprint_service/main.py",
        "functions.dsm.backlog_service.main",
        "No DSM service",
    ),
    ("functions/orchestrator/decide/model.py", "functions.orchestrator.decide.undo", "No cycles"),
    ("functions/events/base.py", "httpx", "Events know pydantic and the standard library only"),
    ("knative/local/errors.py", "functions.kit.errors", "The local Knative starts functions and"),
    ("functions/kit/errors.py", "knative.local.errors", "Nothing in the image knows the local"),
]


def impurities(text: str, package: str) -> list[str]:
    """What a decision of a package must not do: what it imports, which clock or chance it asks."""
    tree = ast.parse(text)
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    named = (f.attr if isinstance(f, ast.Attribute) else getattr(f, "id", "") for f in calls)
    return [
        *(f"calls {name}" for name in named if name in IMPURE_CALLS),
        *(f"imports {module}" for module in _imports(tree) if not _is_pure(module, package)),
    ]


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "a module by a relative name"


def _is_pure(module: str, package: str) -> bool:
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return top not in IMPURE
    pure = ("functions.cron", "functions.schedule_policy", "functions.events", package)
    return any(module == p or module.startswith(f"{p}.") for p in pure)


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: str(path.relative_to(FUNCTIONS)))
def test_a_decision_is_pure(path: Path) -> None:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    assert impurities(path.read_text(), package) == []


def test_each_module_of_a_decision_is_checked() -> None:
    found = {str(path.relative_to(FUNCTIONS)) for path in DECISIONS}
    assert {"sprint_report/decide.py", "orchestrator/decide/undo.py"} <= found


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "import httpx",
        "from functions.kit import errors",
        "from . import main",
        "import datetime; datetime.datetime.now()",
        "from uuid import uuid4; uuid4()",
    ],
)
def test_an_impure_decision_is_found(line: str) -> None:
    text = (FUNCTIONS / "sprint_report" / "decide.py").read_text()
    assert len(impurities(f"{text}\n{line}\n", "functions.sprint_report")) == 1


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code and its contracts, to plant violations in."""
    root = tmp_path_factory.mktemp("tree")
    only_code = shutil.ignore_patterns("__pycache__", "static", "templates", "*.md", "*.yaml")
    for folder in (FUNCTIONS, KNATIVE):
        shutil.copytree(folder, root / folder.name, ignore=only_code)
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def check_imports(root: Path) -> tuple[int, str]:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-logo"], cwd=root, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_import_contracts_hold(tree: Path) -> None:
    code, output = check_imports(tree)
    assert code == 0, output


@pytest.mark.parametrize(("name", "module", "contract"), VIOLATIONS)
def test_a_violation_of_an_import_contract_is_found(
    tree: Path, name: str, module: str, contract: str
) -> None:
    path = tree / name
    text = path.read_text()
    path.write_text(f"{text}\nimport {module}\n")
    try:
        code, output = check_imports(tree)
    finally:
        path.write_text(text)
    broken = re.findall(r"^(.+) BROKEN", output, re.MULTILINE)
    assert code == 1
    assert any(line.startswith(contract) for line in broken), output


def test_each_import_contract_has_a_violation_planted(tree: Path) -> None:
    named = re.findall(r'^name = "(.+)"$', (tree / "pyproject.toml").read_text(), re.MULTILINE)
    contracts = [name for name in named if name != "dsm-on-knative"]
    assert len(contracts) == 8
    for contract in contracts:
        assert any(contract.startswith(start) for _, _, start in VIOLATIONS), contract


def test_each_table_has_one_owner() -> None:
    owner_of: dict[str, str] = {}
    for owner in [migrate.KIT, *migrate.owners(FUNCTIONS).values()]:
        for path in owner.migrations.glob("*.py"):
            for table in re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", path.read_text()):
                assert owner_of.setdefault(table, owner.name) == owner.name, f"{table} has two"
    assert "inbox" in owner_of


# Who takes an advisory lock by its statement, by a key of the registry.
LOCKING = {
    "kit/durable/locks.py": "the registry itself",
    "kit/durable/claims.py": "locks and unlocks many keys of a session in one statement",
    "kit/durable/migrate.py": "has SQLAlchemy's connection",
    "kit/telemetry/spans.py": "knows the pool's own statement, which is no lock of ours",
}


def takes_an_advisory_lock(text: str) -> bool:
    return bool(re.search(r"\bpg_(?:try_)?advisory_", text))


def test_each_advisory_lock_is_of_the_registry() -> None:
    found = {
        path.relative_to(FUNCTIONS).as_posix()
        for path in FUNCTIONS.rglob("*.py")
        if takes_an_advisory_lock(path.read_text())
    }
    assert found == LOCKING.keys()
    assert takes_an_advisory_lock("SELECT pg_try_advisory_xact_lock(7)")


def test_no_two_locks_of_the_registry_have_one_name() -> None:
    names = [lock.name for lock in vars(locks).values() if isinstance(lock, locks.Lock)]
    assert len(names) == len(set(names)) > 5
