"""The linter's command line, its SARIF, and our own tree, in which it finds nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sarif_pydantic import Sarif

from knative.lint.cli import main
from knative.lint.finding import RULES
from knative.lint.linting import lint
from knative.lint.reading import read
from knative.local.manifests.kustomize import KUSTOMIZATIONS
from tests.support.lint_tree import GOOD, trigger

ROOT = Path(__file__).parents[2]
# The whole, overlays included, and each part that a user may point at.
TREES = [
    ROOT / "knative",
    ROOT / "knative" / "base",
    ROOT / "knative" / "jobs",
    *sorted(path for path in (ROOT / "knative" / "components").iterdir()),
]


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A folder with one error and one note."""
    text = "---".join([*GOOD, trigger("lost", to="nosuch")])
    text = text.replace("livenessProbe: {httpGet: {path: /health}}", "", 1)
    (tmp_path / "objects.yaml").write_text(text)
    return tmp_path


@pytest.mark.parametrize("tree", TREES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_found_in_our_own_tree(tree: Path) -> None:
    found = [f"{one.file}:{one.line} {one.rule} {one.message}" for one in lint(read(tree))]
    # Of a Component alone it can only say what it did not see.
    alone = tree.parent.name == "components"
    assert [
        message for message in found if not (alone and " KN002 is a Component" in message)
    ] == []


def test_the_command_answers_one_with_place_reason_and_fix(bad: Path) -> None:
    command = [sys.executable, "-m", "knative.lint", str(bad)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (ran.returncode, ran.stderr) == (1, "")
    first = ran.stdout.splitlines()[0]
    assert re.search(r"objects\.yaml:\d+: KN802 note: Service billing: .*livenessProbe", first)
    assert "  why: " in ran.stdout
    assert "  fix: " in ran.stdout
    assert ran.stdout.endswith(f"1 error, 1 note in {len(GOOD) + 1} objects\n")


def test_a_reader_that_has_seen_enough_is_no_fault(bad: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "knative.lint", str(bad)]
    ran = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False
    )
    os.close(writer)
    assert ran.stderr == ""


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 1),
        (["--ignore", "KN102"], 0),
        (["--ignore", "KN102", "--fail-on", "note"], 1),
        (["--ignore", "kn1,kn8", "--fail-on", "note"], 0),
        (["--select", "KN8"], 0),
        (["--select", "KN8", "--fail-on", "note"], 1),
        (["--select", "KN1,KN8", "--ignore", "KN102"], 0),
    ],
)
def test_the_exit_code_says_whether_something_was_found(
    bad: Path, options: list[str], code: int
) -> None:
    assert main([str(bad), *options]) == code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a directory"),
        (["knative/lint/rules"], "no Kubernetes object in knative/lint/rules"),
        (["knative", "--select", ""], "want names of rules"),
        (["/nosuch/place"], "/nosuch/place: no such file or directory"),
        ([".", "--select", "KN999"], "no rule begins with 'KN999'"),
        ([".", "--ignore", "X"], "no rule begins with 'X'"),
        (["--explain", "KN999"], "there is no rule 'KN999'"),
        ([".", "--json", "--sarif"], "not allowed with"),
        ([".", "--nosuch"], "unrecognized arguments"),
    ],
)
def test_a_wrong_command_is_two_and_says_why(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_json_holds_every_field(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(bad), "--json", "--select", "KN1"]) == 1
    (one,) = json.loads(capsys.readouterr().out)
    assert one["rule"] == "KN102"
    assert one["severity"] == "error"
    assert one["field"] == "spec.subscriber.ref.name"
    assert one["message"] == "there is no Service shop/nosuch"
    assert one["why"] == RULES["KN102"].why
    assert one["fix"] == RULES["KN102"].fix
    assert one["line"] > 1


def test_sarif_fits_its_schema_and_names_each_rule(
    bad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(bad), "--sarif"]) == 1
    text = capsys.readouterr().out
    Sarif.model_validate_json(text)
    log: dict[str, Any] = json.loads(text)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(RULES)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        place = result["locations"][0]["physicalLocation"]
        assert place["region"]["startLine"] >= 1
        assert place["artifactLocation"]["uri"].startswith("file:///")


def test_sarif_paths_below_here_are_relative(capsys: pytest.CaptureFixture[str]) -> None:
    target = Path(__file__).relative_to(Path.cwd()).parents[1] / "local/overlays/tiny"
    main([str(target), "--sarif"])
    results = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    places = [one["locations"][0]["physicalLocation"]["artifactLocation"] for one in results]
    assert places
    assert {place["uriBaseId"] for place in places} == {"SRCROOT"}
    assert all((Path.cwd() / place["uri"]).is_file() for place in places)


def test_sarif_paths_are_urls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "#1 50%.yaml").write_text("apiVersion: [\nkind: Job")
    monkeypatch.chdir(tmp_path)
    main(["a b", "--sarif"])
    (one,) = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    (place,) = one["locations"]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "a%20b/%231%2050%25.yaml"
    assert "logicalLocations" not in place


def test_standard_input_is_read(bad: Path) -> None:
    command = [sys.executable, "-m", "knative.lint", "-", "--select", "KN1"]
    text = (bad / "objects.yaml").read_text()
    ran = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.returncode == 1
    assert ran.stdout.startswith("<stdin>:")


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_can_be_explained(rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--explain", rule.lower()]) == 0
    received = capsys.readouterr().out
    for message in (rule, RULES[rule].title, RULES[rule].why, RULES[rule].fix):
        assert message in received


def test_all_rules_are_listed_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rules"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == sorted(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_has_a_test_of_its_own(rule: str) -> None:
    tests = (ROOT / "tests/unit").glob("test_lint_*.py")
    assert any(f'"{rule}"' in file.read_text() for file in tests)


def test_a_kustomization_goes_by_each_of_its_names() -> None:
    assert set(KUSTOMIZATIONS) == {"kustomization.yaml", "kustomization.yml", "Kustomization"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'apiVersion: "\x07"\nkind: Job', "broken YAML"),
        (b"apiVersion: &x [*x]\nkind: Job", "an alias that holds itself"),
        (b"kind: Job\napiVersion: " + b"[" * 5000, "broken YAML"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
    ids=["control", "alias", "deep", "bytes"],
)
def test_what_is_no_yaml_is_a_finding_and_no_traceback(
    text: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.yaml").write_bytes(text)
    assert main([str(tmp_path), "--json"]) == 1
    (one,) = json.loads(capsys.readouterr().out)
    assert one["rule"] == "KN001"
    assert message in one["message"]
    command = [sys.executable, "-m", "knative.lint", "-", "--json"]
    ran = subprocess.run(command, input=text, capture_output=True, cwd=ROOT, check=False)
    assert ran.returncode == 1
    assert message in json.loads(ran.stdout)[0]["message"]


def test_a_fault_of_the_linter_is_two(
    bad: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("knative.lint.linting.lint", broken)
    assert main([str(bad)]) == 2
    assert "a fault of the linter" in capsys.readouterr().err
