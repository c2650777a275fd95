"""What the linter reads, where it says a finding is, and what it is told not to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from knative.lint.linting import lint
from knative.lint.reading import read
from tests.lint_tree import GOOD, found, found_in, trigger

KUSTOMIZATION = "resources: [objects.yaml]\n"
LOST = trigger("lost", to="nosuch")


def folder(top: Path, *documents: str, kustomization: str = "") -> Path:
    top.mkdir(parents=True, exist_ok=True)
    (top / "objects.yaml").write_text("---".join(documents))
    if kustomization:
        (top / "kustomization.yaml").write_text(kustomization)
    return top


@pytest.mark.parametrize("kustomization", ["", KUSTOMIZATION], ids=["a folder", "kustomized"])
def test_a_finding_says_file_and_line(tmp_path: Path, kustomization: str) -> None:
    (one,) = found_in(folder(tmp_path, LOST, *GOOD, kustomization=kustomization))
    text = (tmp_path / "objects.yaml").read_text().splitlines()
    assert (one.rule, one.file.name, one.thing) == ("KN102", "objects.yaml", "Trigger lost")
    assert one.line is not None
    assert "name: nosuch" in text[one.line - 1]


def test_kinds_that_nobody_knows_are_left_alone(tmp_path: Path) -> None:
    strange = (
        "\napiVersion: example.com/v1\nkind: Robot\nmetadata: {name: r}\nspec: [1, {ref: 5}]\n"
    )
    assert found_in(folder(tmp_path, *GOOD, strange, "\njust: yaml\n", "\n- a list\n")) == []


@pytest.mark.parametrize("spec", ["", "spec:", "spec: 5", "spec: [a]", "spec: {template: x}"])
@pytest.mark.parametrize(
    "kind",
    ["eventing.knative.dev/v1 Broker", "eventing.knative.dev/v1 Trigger",
     "eventing.knative.dev/v1beta3 EventType", "sources.knative.dev/v1 PingSource",
     "sources.knative.dev/v1 SinkBinding", "serving.knative.dev/v1 Service",
     "messaging.knative.dev/v1 Subscription", "rbac.authorization.k8s.io/v1 Role"],
)  # fmt: skip
def test_odd_shapes_stop_no_rule(kind: str, spec: str) -> None:
    version, name = kind.split()
    odd = f"\napiVersion: {version}\nkind: {name}\nmetadata: {{name: odd}}\n{spec}\n"
    assert isinstance(found(*GOOD, odd), list)


def test_a_list_is_its_items(tmp_path: Path) -> None:
    indented = "\n".join("  " + line for line in LOST.strip().splitlines())
    items = f"\napiVersion: v1\nkind: List\nitems:\n-{indented[1:]}\n"
    (one,) = found_in(folder(tmp_path, *GOOD, items))
    assert one.rule == "KN102"
    assert one.line is not None
    assert "nosuch" in (tmp_path / "objects.yaml").read_text().splitlines()[one.line - 1]


def test_broken_yaml_is_a_finding_with_its_line(tmp_path: Path) -> None:
    (one,) = found_in(folder(tmp_path, "a: [\n"))
    assert (one.rule, one.severity, one.line) == ("KN001", "error", 2)


def test_a_missing_file_of_a_kustomization_is_a_finding(tmp_path: Path) -> None:
    top = folder(tmp_path, *GOOD, kustomization="resources: [objects.yaml, gone.yaml]\n")
    assert [one.rule for one in found_in(top)] == ["KN001"]


@pytest.mark.parametrize(
    "more",
    ["resources: [objects.yaml, https://example.com/more.yaml]", "namePrefix: a-"],
    ids=["remote", "a rarer field"],
)
def test_where_not_all_is_read_no_name_is_missing(tmp_path: Path, more: str) -> None:
    kustomization = more if "resources" in more else KUSTOMIZATION + more
    top = folder(tmp_path, *GOOD, LOST, kustomization=kustomization)
    assert [one.rule for one in found_in(top)] == ["KN002"]


def test_a_kustomization_of_odd_shape_is_a_finding(tmp_path: Path) -> None:
    top = folder(tmp_path, *GOOD, kustomization=KUSTOMIZATION + "patches: [a]\n")
    (one,) = found_in(top)
    assert one.rule == "KN001"
    assert "try kubectl kustomize" in one.message


def test_a_helm_template_says_how_to_render_it(tmp_path: Path) -> None:
    folder(tmp_path / "templates", "{{ if .Values.on }}\na: 1\n{{ end }}\n")
    (one,) = found_in(tmp_path)
    assert "helm template . | python -m knative.lint -" in one.message


def test_a_folder_of_overlays_is_one_tree_for_each(tmp_path: Path) -> None:
    folder(tmp_path / "base", *GOOD, kustomization=KUSTOMIZATION)
    for name in ("a", "b"):
        top = folder(tmp_path / name, LOST, kustomization="resources: [../base, objects.yaml]\n")
        assert len(found_in(top)) == 1
    assert len(read(tmp_path)) == 2
    assert [one.file.parent.name for one in lint(read(tmp_path))] == ["a", "b"]


def test_a_fault_of_the_base_is_told_once(tmp_path: Path) -> None:
    folder(tmp_path / "base", *GOOD, LOST, kustomization=KUSTOMIZATION)
    for name in ("a", "b"):
        folder(tmp_path / name, kustomization="resources: [../base]\n")
    assert len(found_in(tmp_path)) == 1


def test_a_file_can_be_linted_alone(tmp_path: Path) -> None:
    assert found_in(folder(tmp_path, *GOOD) / "objects.yaml") == []


WORD = "# knative-lint: ignore KN102 it comes later"


@pytest.mark.parametrize(
    "ignored",
    [
        LOST.replace("apiVersion", f"{WORD}\napiVersion", 1),
        LOST.replace("  subscriber", f"  {WORD}\n  # really\n  subscriber"),
        LOST.replace("name: nosuch}}", f"name: nosuch}}}}  {WORD}"),
        LOST.replace("  subscriber", f"  {WORD.replace('KN', 'KN101, KN')}\n  subscriber"),
        LOST.replace("shop}", "shop, annotations: {knative-lint/ignore: KN102 later}}"),
    ],
    ids=["document", "line above", "same line", "several rules", "annotation"],
)  # fmt: skip
def test_what_the_author_knows_is_not_told(tmp_path: Path, ignored: str) -> None:
    assert found_in(folder(tmp_path, *GOOD, ignored)) == []


@pytest.mark.parametrize("word", [WORD.replace("102", "101"), WORD.replace("lint", "limt")])
def test_another_rule_is_still_told(tmp_path: Path, word: str) -> None:
    spoilt = LOST.replace("  subscriber", f"  {word}\n  subscriber")
    assert [one.rule for one in found_in(folder(tmp_path, *GOOD, spoilt))] == ["KN102"]


def test_a_file_that_is_no_text_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "objects.yaml").write_bytes(b"\xff\xfe")
    assert [one.message for one in found_in(tmp_path)] == ["is not UTF-8"]


def test_what_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file or directory"):
        read(tmp_path / "nosuch")


def test_of_a_component_alone_nothing_is_called_missing(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text(
        "kind: Component\nresources: [trigger.yaml]\npatches: [{path: nosuch.yaml}]\n"
    )
    lossy = "{retry: 1, backoffPolicy: linear, backoffDelay: PT1S}"
    (tmp_path / "trigger.yaml").write_text(trigger(to="nosuch", delivery=lossy))
    assert {one.rule for one in lint(read(tmp_path))} == {"KN002", "KN503"}
