"""What the linter reads, where it says a finding is, and what it is asked not to report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from knative.lint.linting import lint
from knative.lint.reading import read
from tests.support.lint_tree import BASE, GOOD, event_type, found, found_in, service, trigger

KUSTOMIZATION = "resources: [objects.yaml]\n"
LINEAR = "{retry: 1, backoffPolicy: linear, backoffDelay: PT1S, timeout: PT70S}"
LOST = trigger("lost", to="nosuch")
SLOW = trigger(delivery=LINEAR)


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
    assert (one.rule, one.file.name, one.object) == ("KN102", "objects.yaml", "Trigger lost")
    assert one.line is not None
    assert "name: nosuch" in text[one.line - 1]


def test_what_a_single_file_does_not_have_may_be_beside_it(tmp_path: Path) -> None:
    file = folder(tmp_path, *GOOD, LOST) / "objects.yaml"
    assert [one.rule for one in found_in(tmp_path)] == ["KN102"]
    (one,) = found_in(file)
    assert (one.rule, one.message) == ("KN108", "Service shop/nosuch was not read")


@pytest.mark.parametrize(
    ("with_namespace", "home", "expected"),
    [(True, "b", "KN102"), (False, "a", "KN102"), (False, "b", "KN108")],
)
def test_folders_without_namespaces_may_go_to_different_ones(
    tmp_path: Path, with_namespace: bool, home: str, expected: str
) -> None:
    documents = [*GOOD, LOST]
    if not with_namespace:
        documents = [one.replace(", namespace: shop", "") for one in documents]
    folder(tmp_path / "a", *documents[:-1])
    (tmp_path / home).mkdir(exist_ok=True)
    (tmp_path / home / "lost.yaml").write_text(documents[-1])
    lost = {one.rule for one in found_in(tmp_path) if one.object == "Trigger lost"}
    assert lost & {"KN102", "KN108"} == {expected}


@pytest.mark.parametrize(
    "where",
    [
        {"metadata": ", annotations: {run.googleapis.com/ingress: all}"},
        {"template": "annotations: {run.googleapis.com/cpu-throttling: 'false'}"},
        {"labels": "cloud.googleapis.com/location: europe-west1"},
    ],
)
def test_a_service_of_cloud_run_has_other_limits(where: dict[str, str]) -> None:
    slow = service("elsewhere", pod="timeoutSeconds: 3600", **where)
    assert found(*GOOD, slow) == []
    assert {one.rule for one in found(*GOOD, service("here", pod="timeoutSeconds: 3600"))} >= {
        "KN905"
    }


def test_a_service_of_cloud_run_is_there_for_who_names_it() -> None:
    there = service("nosuch", metadata=", annotations: {run.googleapis.com/ingress: all}")
    names = {"KN102", "KN108"}
    assert {one.rule for one in found(*GOOD, LOST)} & names == {"KN102"}
    assert {one.rule for one in found(*GOOD, LOST, there)} & names == set()


@pytest.mark.parametrize(("kustomization", "refused"), [("", False), (KUSTOMIZATION, True)])
def test_a_kustomization_has_no_other_ones_limits(
    tmp_path: Path, kustomization: str, refused: bool
) -> None:
    limits = """
apiVersion: v1
kind: ConfigMap
metadata: {name: config-defaults, namespace: knative-serving}
data: {max-revision-timeout-seconds: "900"}
"""
    slow = service("slow", pod="timeoutSeconds: 900")
    folder(tmp_path / "dev", *GOOD, slow, limits, kustomization=KUSTOMIZATION)
    folder(tmp_path / "prod", *GOOD, slow, kustomization=kustomization)
    late = [one for one in found_in(tmp_path) if one.rule == "KN905"]
    assert [one.file.parent.name for one in late] == ["prod"] * refused


def test_unknown_kinds_are_left_alone(tmp_path: Path) -> None:
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
    (one,) = found_in(folder(tmp_path, "apiVersion: v1\nkind: [\n"))
    assert (one.rule, one.severity, one.line) == ("KN001", "error", 3)


def test_a_broken_document_hides_no_other_of_its_file(tmp_path: Path) -> None:
    broken, linear = found_in(
        folder(tmp_path, "a: [\n", "\nb: 1\n", *BASE, event_type("order.placed"), SLOW)
    )
    assert (broken.rule, broken.line) == ("KN001", 2)
    assert linear.rule == "KN503"
    assert linear.line is not None
    assert "linear" in (tmp_path / "objects.yaml").read_text().splitlines()[linear.line - 1]


@pytest.mark.parametrize(
    "tag", ["!!python/name:a.b", "!GetAtt a.b", "!unsafe [a]", "!vault {a: b}"]
)
def test_other_tools_tags_are_nothing_to_us(tmp_path: Path, tag: str) -> None:
    odd = f"\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: odd}}\ndata: {tag}\n"
    (tmp_path / "mkdocs.yml").write_text("a: {{ b }}\n")
    assert found_in(folder(tmp_path, *GOOD, odd)) == []


def test_json_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "lost.json").write_text(json.dumps(yaml.safe_load(LOST)))
    (tmp_path / "package.json").write_text("{no JSON")
    (one,) = found_in(folder(tmp_path, *GOOD))
    assert (one.rule, one.file.name) == ("KN102", "lost.json")


def test_aliases_of_aliases_come_to_an_end(tmp_path: Path) -> None:
    rows = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    bomb = "\n".join(["\napiVersion: v1\nkind: ConfigMap", "a0: &a0 [x]", *rows])
    (one,) = found_in(folder(tmp_path, *GOOD, bomb))
    assert (one.rule, "500000 fields" in one.message) == ("KN001", True)


def test_what_a_kustomization_patches_with_is_no_object(tmp_path: Path) -> None:
    folder(tmp_path / "base", *GOOD, kustomization=KUSTOMIZATION)
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / "delivery.yaml").write_text(SLOW)
    patches = "patches: [{path: ../patches/delivery.yaml}]\n"
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "kustomization.yaml").write_text(f"resources: [../base]\n{patches}")
    (one,) = found_in(tmp_path)
    assert one.rule == "KN503"


@pytest.mark.parametrize("field", ["patchesStrategicMerge", "patchesJson6902"])
def test_the_older_fields_of_patches_are_built(tmp_path: Path, field: str) -> None:
    if field == "patchesStrategicMerge":
        (tmp_path / "patch.yaml").write_text(SLOW)
        entry = "patch.yaml"
    else:
        target = "{group: eventing.knative.dev, version: v1, kind: Trigger, name: order}"
        patch = [{"op": "add", "path": "/spec/delivery", "value": yaml.safe_load(LINEAR)}]
        (tmp_path / "patch.yaml").write_text(json.dumps(patch))
        entry = f"{{path: patch.yaml, target: {target}}}"
    top = folder(tmp_path, *GOOD, kustomization=f"{KUSTOMIZATION}{field}: [{entry}]\n")
    assert [one.rule for one in found_in(top)] == ["KN503"]


def test_kustomizations_that_take_in_one_another_are_a_finding(tmp_path: Path) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        folder(tmp_path / one, kustomization=f"resources: [../{other}]\n")
    for place in (tmp_path, tmp_path / "a"):
        assert [(one.rule, one.message) for one in found_in(place)] == [
            ("KN001", "contains itself")
        ]


@pytest.mark.parametrize("more", ["resources: [objects.yaml, loop]", "components: [loop]"])
def test_a_link_to_itself_is_a_finding(tmp_path: Path, more: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    kustomization = more if "resources" in more else KUSTOMIZATION + more
    top = folder(tmp_path, *GOOD, kustomization=kustomization)
    assert [one.rule for one in found_in(top)] == ["KN001"]


def test_a_missing_file_of_a_kustomization_is_a_finding(tmp_path: Path) -> None:
    top = folder(tmp_path, *GOOD, kustomization="resources: [objects.yaml, gone.yaml]\n")
    assert [one.rule for one in found_in(top)] == ["KN001"]


@pytest.mark.parametrize(
    "more",
    [
        "https://example.com/more.yaml",
        "github.com/acme/platform?ref=v1",
        "git@github.com:acme/other.git",
        "git.acme.io/platform//base",
    ],
)
def test_where_not_all_is_read_no_name_is_missing(tmp_path: Path, more: str) -> None:
    top = folder(tmp_path, *GOOD, LOST, kustomization=f"resources: [objects.yaml, '{more}']\n")
    assert [one.rule for one in found_in(top)] == ["KN002"]


@pytest.mark.parametrize("more", ["namePrefix: a-", "configurations: [c.yaml]", "replacements: []"])
def test_of_what_cannot_be_built_nothing_is_reported(tmp_path: Path, more: str) -> None:
    top = folder(tmp_path, *GOOD, LOST, kustomization=KUSTOMIZATION + more)
    (one,) = found_in(top)
    assert (one.rule, one.field) == ("KN003", more.partition(":")[0])


def test_a_kustomization_of_odd_shape_is_a_finding(tmp_path: Path) -> None:
    top = folder(tmp_path, *GOOD, kustomization=KUSTOMIZATION + "patches: [a]\n")
    (one,) = found_in(top)
    assert one.rule == "KN001"
    assert "try kubectl kustomize" in one.message


def test_a_helm_template_says_how_to_render_it(tmp_path: Path) -> None:
    text = "{{ if .Values.on }}\napiVersion: v1\nkind: Service\n{{ end }}\n"
    folder(tmp_path / "templates" / "eventing", text)
    (one,) = found_in(tmp_path)
    assert "helm template . | python -m knative.lint -" in one.message


def test_a_folder_of_overlays_is_one_tree_for_each(tmp_path: Path) -> None:
    folder(tmp_path / "base", *GOOD, kustomization=KUSTOMIZATION)
    for name in ("a", "b"):
        top = folder(tmp_path / name, LOST, kustomization="resources: [../base, objects.yaml]\n")
        assert len(found_in(top)) == 1
    assert len(read(tmp_path)) == 2
    assert [one.file.parent.name for one in lint(read(tmp_path))] == ["a", "b"]


def test_a_fault_of_the_base_is_reported_once(tmp_path: Path) -> None:
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
def test_what_the_author_knows_is_not_reported(tmp_path: Path, ignored: str) -> None:
    assert found_in(folder(tmp_path, *GOOD, ignored)) == []


def test_standard_input_has_comments_too() -> None:
    assert found(*GOOD, LOST.replace("apiVersion", f"{WORD}\napiVersion", 1)) == []


@pytest.mark.parametrize("word", [WORD.replace("102", "101"), WORD.replace("lint", "limt")])
def test_another_rule_is_still_reported(tmp_path: Path, word: str) -> None:
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
        "kind: Component\nresources: [trigger.yaml]\npatches: [{target: {kind: Broker}, "
        "patch: '[{op: remove, path: /spec}]'}]\n"
    )
    lossy = "{retry: 1, backoffPolicy: linear, backoffDelay: PT1S}"
    (tmp_path / "trigger.yaml").write_text(trigger(to="nosuch", delivery=lossy))
    assert {one.rule for one in lint(read(tmp_path))} == {"KN002", "KN503"}
