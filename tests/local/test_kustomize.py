"""A kustomization builds to what `kubectl kustomize` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from knative.local.manifests.core import ConfigMap, Secret
from knative.local.manifests.generators import name_suffix
from knative.local.manifests.kustomize import build
from knative.local.manifests.load import load
from knative.local.manifests.patches import PatchError, json_patch, strategic_merge
from knative.local.manifests.serving import KnativeService
from tests.support.manifest_files import SERVICE, problems, write


def _config(**content: Any) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": ""}, **content}


# From kubernetes' own tests of the hash that kustomize appends.
@pytest.mark.parametrize(
    ("body", "suffix"),
    [
        (_config(), "6ct58987ht"),
        (_config(data={"one": ""}), "9g67k2htb6"),
        (_config(data={"two": "2", "one": "", "three": "3"}), "f5h7t85m9b"),
        (_config(data={"one": ""}, binaryData={"two": ""}), "698h7c7t9m"),
        ({**_config(data={"one": ""}), "kind": "Secret", "type": "my-type"}, "74bd68bm66"),
        ({**_config(), "kind": "Secret", "type": "my-type"}, "5gmgkf8578"),
    ],
    ids=["empty", "one key", "three keys", "binary", "secret", "empty secret"],
)
def test_a_generated_name_ends_in_the_content_hash(body: dict[str, Any], suffix: str) -> None:
    assert name_suffix(body) == suffix


def test_generators_read_files_literals_and_env_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    (tmp_path / "b.env").write_text("# comment\nX=1\nY=a=b\n")
    write(
        tmp_path,
        kustomization="""
        namespace: dsm
        generatorOptions: {disableNameSuffixHash: true}
        configMapGenerator:
        - name: c
          files: [a.json, renamed=a.json]
          literals: [L=1, "M='quoted'"]
          envs: [b.env]
        secretGenerator:
        - name: s
          literals: [password=x]
        """,
    )
    world = load(tmp_path)
    config, secret = world.get(ConfigMap, "dsm", "c"), world.get(Secret, "dsm", "s")
    assert config is not None
    assert secret is not None
    assert config.data == {
        "a.json": '{"a": 1}', "renamed": '{"a": 1}', "L": "1", "M": "quoted", "X": "1", "Y": "a=b"
    }  # fmt: skip
    assert secret.files() == {"password": b"x"}


def test_a_hashed_name_is_rewritten_where_kustomize_does_it(tmp_path: Path) -> None:
    container = """
          containers:
          - image: echo
            env: [{name: P, valueFrom: {secretKeyRef: {name: s, key: password}}}]
    """
    service = SERVICE.replace("          containers: [{image: echo}]\n", container.lstrip("\n"))
    write(
        tmp_path,
        echo=service,
        kustomization="""
        namespace: dsm
        resources: [echo.yaml]
        secretGenerator: [{name: s, literals: [password=x]}]
        """,
    )
    world = load(tmp_path)
    (secret,) = world.all(Secret)
    (echo,) = world.all(KnativeService)
    source = echo.container.env[0].value_from
    assert secret.name != "s"
    assert source is not None
    assert source.secret_key_ref is not None
    assert source.secret_key_ref.name == secret.name


def test_a_hashed_name_that_kustomize_would_not_rewrite_is_refused(tmp_path: Path) -> None:
    service = SERVICE.replace(
        "{image: echo}", "{image: echo, envFrom: [{configMapRef: {name: c}}]}"
    )
    write(
        tmp_path,
        echo=service,
        kustomization="""
        namespace: dsm
        resources: [echo.yaml]
        configMapGenerator: [{name: c, literals: [a=1]}]
        """,
    )
    assert "set disableNameSuffixHash: true" in problems(tmp_path)[0]


def test_a_component_changes_what_its_parent_has(tmp_path: Path) -> None:
    write(tmp_path / "base", echo=SERVICE)
    write(
        tmp_path / "part",
        kustomization="""
        kind: Component
        apiVersion: kustomize.config.k8s.io/v1alpha1
        patches:
        - target: {kind: Service, name: ech.}
          patch: |
            - op: add
              path: /metadata/labels
              value: {part: here}
        """,
    )
    write(
        tmp_path / "top",
        kustomization="""
        resources: [../base]
        components: [../part]
        labels: [{pairs: {team: dsm}, includeTemplates: true}]
        images: [{name: echo, newName: ghcr.io/x/echo, newTag: "2"}]
        """,
    )
    (resource,) = build(tmp_path / "top")
    assert resource.metadata["labels"] == {"part": "here", "team": "dsm"}
    assert resource.body["spec"]["template"]["metadata"]["labels"] == {"team": "dsm"}
    containers = resource.body["spec"]["template"]["spec"]["containers"]
    assert containers == [{"image": "ghcr.io/x/echo:2"}]


def test_a_patch_without_a_target_finds_its_object_by_name(tmp_path: Path) -> None:
    write(
        tmp_path,
        echo=SERVICE,
        kustomization="""
        resources: [echo.yaml]
        patches:
        - patch: |
            apiVersion: serving.knative.dev/v1
            kind: Service
            metadata: {name: echo}
            spec: {template: {spec: {timeoutSeconds: 9}}}
        """,
    )
    (resource,) = build(tmp_path)
    assert resource.body["spec"]["template"]["spec"]["timeoutSeconds"] == 9


@pytest.mark.parametrize(
    ("kustomization", "text"),
    [
        ("namePrefix: a-", "namePrefix: is not supported"),
        ("replacements: []", "replacements: is not supported"),
        ("resources: [nope.yaml]", "nope.yaml does not exist"),
        ("resources: ['https://example.com/a.yaml']", "remote resources are not supported"),
        ("components: [nope]", "nope is not a directory"),
        ("patches: [{patch: '{kind: A, metadata: {name: nope}}'}]", "nothing matches"),
        ("configMapGenerator: [{name: a, files: [nope]}]", "nope: No such file"),
        ("kind: Component", "must be Kustomization here"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    tmp_path: Path, kustomization: str, text: str
) -> None:
    write(tmp_path, kustomization=kustomization)
    (found,) = problems(tmp_path)
    assert found.startswith("kustomization.yaml:1: ")
    assert text in found


JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "spec": {"containers": [{"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}]}]},
}


def test_lists_of_kubernetes_kinds_merge_by_key() -> None:
    change = {"spec": {"containers": [{"name": "a", "env": [{"name": "F", "value": "2"}]}]}}
    merged = strategic_merge(JOB, change)
    assert merged is not None
    assert merged["spec"]["containers"] == [
        {
            "name": "a",
            "image": "x",
            "env": [{"name": "F", "value": "2"}, {"name": "E", "value": "1"}],
        }
    ]


def test_lists_of_knative_kinds_are_replaced() -> None:
    knative = {**JOB, "apiVersion": "serving.knative.dev/v1", "kind": "Service"}
    merged = strategic_merge(knative, {"spec": {"containers": [{"name": "a"}]}})
    assert merged is not None
    assert merged["spec"]["containers"] == [{"name": "a"}]


def test_null_removes_a_field() -> None:
    merged = strategic_merge({"a": 1, "b": {"c": 2, "d": 3}}, {"a": None, "b": {"c": None}})
    assert merged == {"b": {"d": 3}}


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"op": "add", "path": "/l/-", "value": 3}, {"l": [1, 2, 3], "m": {"x/y": 0}}),
        ({"op": "add", "path": "/l/0", "value": 0}, {"l": [0, 1, 2], "m": {"x/y": 0}}),
        ({"op": "remove", "path": "/m/x~1y"}, {"l": [1, 2], "m": {}}),
        ({"op": "replace", "path": "/l/1", "value": 9}, {"l": [1, 9], "m": {"x/y": 0}}),
        ({"op": "copy", "from": "/l/0", "path": "/m/c"}, {"l": [1, 2], "m": {"x/y": 0, "c": 1}}),
        ({"op": "move", "from": "/l/0", "path": "/m/c"}, {"l": [2], "m": {"x/y": 0, "c": 1}}),
    ],
    ids=lambda value: value.get("op", "") if isinstance(value, dict) else "",
)
def test_json_patch(operation: dict[str, Any], expected: dict[str, Any]) -> None:
    assert json_patch({"l": [1, 2], "m": {"x/y": 0}}, [operation]) == expected


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/nope"},
        {"op": "replace", "path": "/l/7", "value": 1},
        {"op": "test", "path": "/l/0", "value": 5},
        {"op": "nope", "path": "/l"},
        {"path": "/l"},
    ],
)
def test_a_json_patch_that_does_not_fit_is_refused(operation: dict[str, Any]) -> None:
    with pytest.raises(PatchError):
        json_patch({"l": [1]}, [operation])


def test_a_patch_whose_target_matches_nothing_is_left_out(tmp_path: Path) -> None:
    patch = "patches: [{patch: '[{op: add, path: /spec, value: 1}]', target: {kind: Nothing}}]"
    write(tmp_path, kustomization=patch)
    assert load(tmp_path).objects == ()
