"""Which program an image is: given once, or refused with the lines to add."""

from __future__ import annotations

from pathlib import Path

import pytest

from knative.local.manifests.load import World, load
from knative.local.manifests.problems import ManifestError
from knative.local.manifests.serving import KnativeService
from knative.local.runtime import Options, Runtime
from tests.support.manifest_files import SERVICE, problems, write


def overlay(folder: Path, service: str = SERVICE, programs: str = "") -> Path:
    write(folder, objects=service)
    (folder / "knative-local.yaml").unlink()
    if programs:
        (folder / "knative-local.yaml").write_text(programs)
    return folder


def annotated(annotations: str) -> str:
    return SERVICE.replace("{name: echo}", f"{{name: echo, annotations: {{{annotations}}}}}")


def program(world: World) -> tuple[tuple[str, ...], Path]:
    (service,) = world.all(KnativeService)
    found = world.program(service)
    assert found is not None
    return found.command, found.folder


@pytest.mark.parametrize(
    "image",
    ["localhost:5000/a/echo", "localhost:5000/a/echo:v1", "localhost:5000/a/echo@sha256:ab"],
)
def test_an_image_is_known_by_its_name(tmp_path: Path, image: str) -> None:
    programs = "images: {'localhost:5000/a/echo': {command: [node, a.js]}}"
    world = load(overlay(tmp_path, SERVICE.replace("image: echo", f"image: '{image}'"), programs))
    assert program(world) == (("node", "a.js"), tmp_path)


def test_a_base_brings_its_programs_and_the_overlay_decides(tmp_path: Path) -> None:
    overlay(tmp_path / "base", programs="images: {echo: {command: [base]}}")
    over = write(tmp_path / "over", kustomization="resources: [../base]\n")
    (over / "knative-local.yaml").unlink()
    assert program(load(over)) == (("base",), tmp_path / "base")
    (over / "knative-local.yaml").write_text("images: {echo: {command: [./over]}}")
    assert program(load(over)) == ((str(over / "over"),), over)


def test_a_renamed_image_is_still_known(tmp_path: Path) -> None:
    overlay(tmp_path / "base", programs="images: {echo: {command: [base]}}")
    renamed = "resources: [../base]\nimages: [{name: echo, newName: ghcr.io/acme/echo, newTag: v2}]"
    over = write(tmp_path / "over", kustomization=renamed)
    (over / "knative-local.yaml").unlink()
    assert program(load(over)) == (("base",), tmp_path / "base")


def test_an_annotation_wins(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    text = "knative-local/command: \"node 'a b.js'\", knative-local/working-dir: src"
    world = load(overlay(tmp_path, annotated(text), "images: {echo: {command: [x]}}"))
    assert program(world) == (("node", "a b.js"), tmp_path / "src")


async def test_what_is_not_mapped_is_refused_at_start(tmp_path: Path) -> None:
    world = load(overlay(tmp_path / "overlay"))
    with pytest.raises(ManifestError) as refused:
        await Runtime(world, Options(tmp_path / "data")).start()
    text = str(refused.value)
    assert "overlay/objects.yaml:8: Service echo: spec.template.spec.containers.0.image: " in text
    assert text.endswith(
        f"Say it in {tmp_path}/overlay/knative-local.yaml, for instance:\n"
        "images:\n  echo:\n    command: [python, main.py]\n    workingDir: ."
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("programs", "fault"),
    [
        ("images: {echo: {command: x}}", ":1: images.echo.command: input should be"),
        (
            "images: {echo: {cmd: [x]}}",
            ":1: images.echo.cmd: is not supported",
        ),
        ("{}", ":1: images: is missing"),
        ("images: {echo: {workingDir: away}}", ":1: echo: workingDir: away is no folder"),
        ("a: [", ":2: broken YAML: "),
    ],
)
def test_a_faulty_file_is_refused_by_line_and_field(
    tmp_path: Path, programs: str, fault: str
) -> None:
    found = problems(overlay(tmp_path, programs=programs))
    assert any(one.startswith(f"knative-local.yaml{fault.format(tmp_path)}") for one in found), (
        found
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("knative-local/working-dir: .", "needs knative-local/command beside it"),
        ("knative-local/command: ''", "knative-local/command is empty"),
        ("knative-local/command: a, knative-local/working-dir: away", "away is no folder"),
        ('knative-local/command: "a \'b"', "No closing quotation"),
    ],
)
def test_a_faulty_annotation_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    (found,) = problems(overlay(tmp_path, annotated(text)))
    assert "objects.yaml:" in found
    assert "metadata.annotations: " in found
    assert fault in found


def test_plain_yaml_is_run_as_kubectl_applies_it(tmp_path: Path) -> None:
    """A folder of files, or one file; what is not YAML of objects is left alone."""
    overlay(tmp_path / "a", programs="images: {echo: {command: [a]}}")
    (tmp_path / "a" / "kustomization.yaml").unlink()
    (tmp_path / "a" / "package.json").write_text("{}")
    (tmp_path / "b.yaml").write_text(SERVICE.replace("echo}", "other}"))
    names = [item.name for item in load(tmp_path / "a", tmp_path / "b.yaml").all(KnativeService)]
    assert names == ["echo", "other"]
    (empty := tmp_path / "empty").mkdir()
    assert "no kustomization.yaml and no other YAML" in problems(empty)[0]
    assert problems(tmp_path / "none") == [
        f"{tmp_path / 'none'}: there is no such file or directory"
    ]
