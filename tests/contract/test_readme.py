"""Nothing that a document says about events, functions, their flow and files may drift."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from functions.kit.process.serve import FUNCTIONS
from knative.local.manifests.kustomize import build
from tests.contract import settings_table, tables
from tests.support.repository import KNATIVE, ROOT, event_types, function_folders, spec

DOCUMENTS = [
    path for folder in (ROOT, ROOT / ".github") for path in sorted(folder.glob("*.md"))
] + [
    path for folder in (KNATIVE, FUNCTIONS, ROOT / "tests") for path in sorted(folder.rglob("*.md"))
]
MARKED = [
    pytest.param(path, name, id=f"{path.parent.name}-{name}")
    for path in tables.DOCUMENTS
    for name in tables.PARTS
    if f"<!-- {name} -->" in path.read_text()
]


@pytest.mark.parametrize(("path", "name"), MARKED)
def test_a_readme_says_what_the_code_and_the_yaml_say(path: Path, name: str) -> None:
    assert f"<!-- {name} -->\n{tables.PARTS[name]()}\n<!-- /{name} -->" in path.read_text(), (
        "run python -m tests.contract.tables --write"
    )


def test_the_published_schema_of_outputs_is_the_one_that_they_are_read_by() -> None:
    assert tables.OUTPUTS_SCHEMA.read_text() == tables.outputs_schema(), (
        "run python -m tests.contract.tables --write"
    )


def test_what_a_table_says_of_something_is_a_whole_sentence() -> None:
    described = [spec(name).about for name in function_folders()] + [
        inspect.getdoc(kind) or "" for kind in (*event_types(), *settings_table.classes())
    ]
    firsts = [text.partition("\n")[0] for text in described]
    assert [first for first in firsts if not first.endswith((".", "?"))] == []


def test_the_front_page_shows_as_many_services_as_there_are() -> None:
    (shown,) = re.findall(r"(\d+) services are ready", (ROOT / "README.md").read_text())
    objects = build(KNATIVE / "overlays" / "local")
    kinds = [(o.body["apiVersion"], o.kind) for o in objects]
    assert int(shown) == kinds.count(("serving.knative.dev/v1", "Service"))


def test_every_part_stands_in_a_readme() -> None:
    assert {case.values[1] for case in MARKED} == set(tables.PARTS)


def test_the_flow_shows_the_morning() -> None:
    lines = tables.flow()
    assert "sprint-report -- sprint.completed --> cycle-trigger" in lines
    assert "scrum-simulate -- sprint.simulated --> scrum-report" in lines
    assert "30 8 * * * America/Chicago" in lines


def test_what_stands_between_markers_is_made_anew_and_the_rest_kept() -> None:
    text = tables.filled("a\n<!-- flow -->\nold\n<!-- /flow -->\nb\n")
    assert text == f"a\n<!-- flow -->\n{tables.flow()}\n<!-- /flow -->\nb\n"


def test_what_the_orchestrator_promises_is_proven_by_tests_that_exist() -> None:
    lines = (FUNCTIONS / "orchestrator" / "README.md").read_text().splitlines()
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("| ")]
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(rows) > 15
    for situation, _, proof in rows[1:]:
        named = re.findall(r"`(test_\w+)`", proof)
        assert named, f"nothing proves {situation}"
        for name in named:
            assert f"def {name}(" in tests, f"{situation}: there is no {name}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_heading_stands_once_so_that_a_link_leads_to_it(path: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = Counter(re.findall(r"^#+ (.+)$", prose, re.MULTILINE))
    assert [heading for heading, times in found.items() if times > 1] == []


def test_the_settings_stand_under_their_heading() -> None:
    text = (KNATIVE / "CONFIGURATION.md").read_text()
    assert text.startswith("# Configuration\n")
    assert "\n#" not in text[: text.index("<!-- settings -->")]


def test_the_front_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 160


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        assert page.exists(), f"{path}: {target}"
        if anchor:
            assert anchor in _anchors(page), f"{path}: {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_that_a_page_names_is_there(path: Path) -> None:
    for name in re.findall(r"`((?:functions|knative|tests)/[\w./-]+\.\w+)`", path.read_text()):
        assert (ROOT / name).is_file(), f"{path}: {name}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_deploy_in_the_docs_names_its_overlay(path: Path) -> None:
    """Without it a reader at night would apply another installation's."""
    for message in re.findall(r"make [a-z ]*deploy\b([^`#\n]*)", path.read_text()):
        assert "OVERLAY=" in message, message


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_logs_are_asked_of_a_service(path: Path) -> None:
    for message in re.findall(r"kubectl logs ([^`]*)", path.read_text().replace("\n", " ")):
        assert re.search(r"-l \S+=\S+|(job|pod)/\S+|\.\.\.", message), message


OWN = re.findall(
    r"```yaml\n(# (\S+)/kustomization\.yaml, beside knative/.*?)```",
    "".join((KNATIVE / name).read_text() for name in ("DEPLOY.md", "MIGRATION.md")),
    re.DOTALL,
)
INSTEAD = {
    "ours": {
        "db.example.com": "postgres.example.com",
        "kafka.example.com:9092": "dsm-kafka-bootstrap",
    }
}


@pytest.mark.parametrize(("text", "name"), OWN, ids=[name for _, name in OWN])
def test_an_overlay_of_ones_own_is_built_as_written(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "knative").symlink_to(KNATIVE)
    (tmp_path / name).mkdir()
    (tmp_path / name / "kustomization.yaml").write_text(text)
    for file in re.findall(r"files: \[(\S+)\]  # yours", text):
        (tmp_path / name / file).write_text("{}")
    made = yaml.dump_all(
        (resource.body for resource in build(tmp_path / name)), Dumper=yaml.CSafeDumper
    )
    images = set(re.findall(r"image: (\S*dsm-functions)\b", made))
    assert images == {"registry.example.com/dsm-functions"}
    for patched, instead in INSTEAD.get(name, {}).items():
        assert patched in made
        assert instead not in made


def test_both_overlays_of_ones_own_are_there() -> None:
    assert [name for _, name in OWN] == ["ours", "my-overlay"]
