"""How long the linter works on much YAML that is mostly none of its business."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import yaml

from tests.support.lint_tree import BROKER, GOOD, event_type, service, trigger

ROOT = Path(__file__).parents[2]
TREE_BYTES = 5_000_000
LIMIT_S = 4.0  # of processor time: three times what it takes


def definition(number: int) -> str:
    """A CustomResourceDefinition of 1.3 MB, as operators ship them."""
    output = "What the field is for, in a sentence of some words, as a generator writes it. " * 2
    part = {"type": "object", "description": output, "properties": {"a": {"type": "string"}}}
    schema = {"type": "object", "properties": {f"field{n}": part for n in range(3900)}}
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"robots{number}.example.com"},
        "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]},
    }
    dumper = type("Spelled", (yaml.CSafeDumper,), {"ignore_aliases": lambda *_: True})
    return yaml.dump(body, Dumper=dumper)


def processor_s(*command: str) -> float:
    """Run it; the processor time of the child, in seconds, however busy the machine is."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.startswith(("nothing found in ", "[")), done.stdout + done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_five_megabytes_are_linted_in_seconds_of_the_processor(tmp_path: Path) -> None:
    files = {f"crd{number}.yaml": definition(number) for number in range(4)}
    files["objects.yaml"] = "---".join(GOOD)
    files["kustomization.yaml"] = yaml.safe_dump({"resources": sorted(files)})
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert sum(map(len, files.values())) > TREE_BYTES
    took_s = processor_s(sys.executable, "-m", "knative.lint", str(tmp_path))
    assert took_s < LIMIT_S, f"{took_s:.1f} s"


def test_the_time_grows_with_the_triggers_of_a_broker_and_not_with_their_square(
    tmp_path: Path,
) -> None:
    took_s = {}
    for count in (300, 1500):
        names = [f"s{number}" for number in range(count)]
        documents = [BROKER, *map(service, names), *(trigger(name, to=name) for name in names)]
        documents += [event_type(f"type.{name}", name) for name in names]
        folder = tmp_path / f"{count}"
        folder.mkdir()
        (folder / "all.yaml").write_text("---".join(documents))
        command = (sys.executable, "-m", "knative.lint", str(folder), "--json")
        took_s[count] = processor_s(*command)
    assert took_s[1500] < 8 * took_s[300], took_s
