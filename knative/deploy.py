"""Apply an overlay and wait until all of it works: `make deploy OVERLAY=production TAG=v1.2.3`.

IMAGE and TAG, where given, stand in for the overlay's own. The order of waiting is that of cause:
the schema, the Broker (whose dead letter sink is a function), the SinkBinding, which gives every
function a new revision, and only then the functions and what tells them something.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Manifest = Mapping[str, Any]

OVERLAYS = Path(__file__).resolve().parent / "overlays"
# Kubernetes and Knative allow no change of these; neither holds anything, so the old ones go first.
_REPLACED = (("jobs", "job"), ("eventtypes.eventing.knative.dev", "event-type"))
_READY_IN_ORDER = (
    "Broker", "SinkBinding", "Service", "Trigger",
    "PingSource", "ApiServerSource", "KafkaSink", "KafkaSource",
)  # fmt: skip
_PATIENCE_S = 600.0
_EVERY_S = 2.0  # how often is asked whether the migrations are done


class Kubectl:
    """kubectl, whose every call may fail in its own words."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __call__(self, *arguments: str, given: str | None = None, quiet: bool = False) -> str:
        """What it prints; SystemExit in its words where it fails and `quiet` does not allow it."""
        command = [self._command, *arguments]
        try:
            done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
        except FileNotFoundError:
            raise SystemExit(f"{self._command} is not here: install it") from None
        except subprocess.CalledProcessError as error:
            if quiet:
                return ""
            raise SystemExit(f"kubectl {' '.join(arguments)}: {error.stderr.strip()}") from None
        return done.stdout


def folder(overlay: str) -> Path:
    """An overlay's folder, by its name here or by its path."""
    for path in (Path(overlay), OVERLAYS / overlay):
        if (path / "kustomization.yaml").is_file():
            return path.resolve()
    names = ", ".join(sorted(path.name for path in OVERLAYS.iterdir() if path.is_dir()))
    raise SystemExit(f"there is no overlay {overlay}: name a folder, or one of {names}")


def render(kubectl: Kubectl, overlay: Path, image: str, tag: str) -> str:
    """The overlay as YAML; `image` and `tag` (or digest, `sha256:...`) stand in for its own."""
    text = kubectl("kustomize", str(overlay))
    if not image and not tag:
        return text
    with tempfile.TemporaryDirectory(prefix="deploy-") as name:
        above = Path(name).resolve()
        other = {"newName": image, "digest" if tag.startswith("sha256:") else "newTag": tag}
        body = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(overlay, above)],
            "images": [{"name": _image(text)} | {key: new for key, new in other.items() if new}],
        }
        (above / "kustomization.yaml").write_text(yaml.safe_dump(body))
        return kubectl("kustomize", str(above))


def _image(text: str) -> str:
    """The name of the image that the functions have, without tag and digest."""
    found = {
        _name(container["image"])
        for service in _of(objects(text), "Service")
        for container in service["spec"]["template"]["spec"]["containers"]
    }
    if len(found) != 1:
        raise SystemExit(f"IMAGE and TAG are for one image; the overlay has {sorted(found)}")
    return found.pop()


def _name(image: str) -> str:
    """
    >>> _name("registry:5000/functions"), _name("registry:5000/functions:v1@sha256:0")
    ('registry:5000/functions', 'registry:5000/functions')
    """
    home, slash, last = image.partition("@")[0].rpartition("/")
    return home + slash + last.partition(":")[0]


def objects(text: str) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(text) if document]


def _of(found: Sequence[Manifest], kind: str) -> Iterator[Manifest]:
    """The objects of a kind; a Service is Knative's."""
    own = {"Service": "serving.knative.dev/", "Job": "batch/"}.get(kind, "")
    return (m for m in found if m["kind"] == kind and m["apiVersion"].startswith(own))


def _migrates(job: Manifest) -> bool:
    """Every function waits for a migration; any other Job waits for functions."""
    name: str = job["metadata"]["name"]
    return name.startswith("migrate")


def refuse_other_brokers(kubectl: Kubectl, found: Sequence[Manifest]) -> None:
    """A Broker's class cannot be changed; another one in the cluster means: not this overlay."""
    key = "eventing.knative.dev/broker.class"
    path = "jsonpath={.metadata.annotations.eventing\\.knative\\.dev/broker\\.class}"
    for broker in _of(found, "Broker"):
        name, space = broker["metadata"]["name"], broker["metadata"]["namespace"]
        ours = broker["metadata"].get("annotations", {}).get(key)
        there = kubectl(
            "get", "broker", name, "-n", space, "-o", path, "--ignore-not-found", quiet=True
        ).strip()
        if ours and there and ours != there:
            raise SystemExit(
                f"The cluster's Broker {space}/{name} is {there}, the overlay's {ours}: is this "
                "the right overlay for this cluster? Nothing has been changed."
            )


def refuse_unprepared(kubectl: Kubectl, found: Sequence[Manifest]) -> None:
    """What the cluster lacks and the overlay does not bring: it would show as a wait in vain."""
    rows = map(str.split, kubectl("api-resources", "--no-headers", quiet=True).splitlines())
    # Of each kind its preferred version only, so the group has to do.
    known = {(_group(row[-3]), row[-1]) for row in rows if len(row) > 3}
    wanted = {(_group(m["apiVersion"]), m["kind"]) for m in found}
    if known and (unknown := wanted - known):
        kinds = ", ".join(sorted(f"{kind} ({group or 'v1'})" for group, kind in unknown))
        raise SystemExit(
            f"The cluster does not know {kinds}: install what brings them first "
            "(knative/README.md, Deploy). Nothing has been changed."
        )
    made = {(m["metadata"]["namespace"], m["metadata"]["name"]) for m in _of(found, "Secret")}
    for space, name in sorted(set(_secrets(found)) - made):
        there = kubectl("get", "secret", name, "-n", space, "-o", "name", "--ignore-not-found")
        if not there.strip():
            raise SystemExit(
                f"Secret {space}/{name} is not in the cluster: make it first "
                "(knative/README.md, Production). Nothing has been changed."
            )


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _secrets(found: Sequence[Manifest]) -> Iterator[tuple[str, str]]:
    """Namespace and name of each Secret without which a pod cannot start."""
    for manifest in found:
        pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
        for container in pod.get("containers", ()):
            for variable in container.get("env", ()):
                ref = variable.get("valueFrom", {}).get("secretKeyRef")
                if ref and not ref.get("optional"):
                    yield manifest["metadata"]["namespace"], ref["name"]


def apply(kubectl: Kubectl, text: str) -> None:
    for kind, component in _REPLACED:
        label = f"app.kubernetes.io/part-of=dsm,app.kubernetes.io/component={component}"
        print(kubectl("delete", "--ignore-not-found", "-n", "dsm", "-l", label, kind), end="")
    print(kubectl("apply", "-f", "-", given=text), end="", flush=True)


def await_jobs(kubectl: Kubectl, jobs: Iterable[Manifest]) -> None:
    """Until they are done; one that has failed for good is told with its log."""
    waiting = {(m["metadata"]["namespace"], m["metadata"]["name"]) for m in jobs}
    path = 'jsonpath={range .status.conditions[?(@.status=="True")]}{.type} {end}'
    deadline = time.monotonic() + _PATIENCE_S
    while waiting:
        for space, name in sorted(waiting):
            state = kubectl("get", "job", name, "-n", space, "-o", path).split()
            if "Complete" in state:
                waiting.remove((space, name))
                print(f"job {space}/{name} is done", flush=True)
            elif "Failed" in state or time.monotonic() > deadline:
                log = kubectl("logs", "-n", space, f"job/{name}", "--tail=20", quiet=True)
                raise SystemExit(f"job {space}/{name} has not done its work:\n{log}")
        if waiting:
            time.sleep(_EVERY_S)


def await_ready(kubectl: Kubectl, found: Sequence[Manifest]) -> None:
    """Until each object is ready, in the order of cause."""
    for kind in _READY_IN_ORDER:
        spaces: dict[str, list[str]] = {}
        for manifest in _of(found, kind):
            group = manifest["apiVersion"].partition("/")[0]
            one = f"{kind.lower()}s.{group}/{manifest['metadata']['name']}"
            spaces.setdefault(manifest["metadata"]["namespace"], []).append(one)
        for space, names in spaces.items():
            wait = ("wait", "-n", space, "--for=condition=Ready", f"--timeout={_PATIENCE_S:g}s")
            try:
                print(kubectl(*wait, *names), end="", flush=True)
            except SystemExit as error:
                raise SystemExit(
                    "\n".join([str(error), *_reasons(kubectl, space, names)])
                ) from None


def _reasons(kubectl: Kubectl, space: str, names: Sequence[str]) -> Iterator[str]:
    """Why objects are not ready, as they say themselves."""
    for name in names:
        said = kubectl("get", name, "-n", space, "-o", "json", quiet=True).strip()
        conditions = json.loads(said or "{}").get("status", {}).get("conditions", ())
        for one in conditions:
            if one["type"] == "Ready" and one["status"] != "True":
                words = one.get("message") or one.get("reason") or "no reason given"
                yield f"{name} is not ready: {words}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m knative.deploy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overlay", help="its name in knative/overlays, or a folder")
    parser.add_argument("--image", default="", help="another image than the overlay's")
    parser.add_argument("--tag", default="", help="another tag, or sha256:... for a digest")
    parser.add_argument("--kubectl", default="kubectl", help="default: kubectl")
    arguments = parser.parse_args(argv)
    kubectl = Kubectl(arguments.kubectl)
    overlay = folder(arguments.overlay)
    text = render(kubectl, overlay, arguments.image, arguments.tag)
    found = objects(text)
    context = kubectl("config", "current-context").strip()
    print(f"Overlay {overlay.name} to context {context}", flush=True)
    refuse_unprepared(kubectl, found)
    refuse_other_brokers(kubectl, found)
    apply(kubectl, text)
    await_jobs(kubectl, (job for job in _of(found, "Job") if _migrates(job)))
    await_ready(kubectl, found)
    await_jobs(kubectl, (job for job in _of(found, "Job") if not _migrates(job)))
    print("All of it is ready.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
