"""Which containers this machine can run, and with what command, folder and environment.

Enforced: the command, environment, volumes, and the memory limit. Not enforced, as a process of the
laptop's owner has no walls: security contexts, CPU limits, requests, service accounts, probes,
scheduling.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knative.local.kube.environment import Lookup, expand_all, values_of
from knative.local.kube.volumes import mounts, rewrite, rewrite_all, unsupported
from knative.local.manifests.images import Program, name_of

Container = Mapping[str, Any]


@dataclass(frozen=True)
class Machine:
    """What stands in for a node.

    `programs` says what runs for an image, by its name without a tag. Of any other image only the
    command matters: it runs if this machine has it.
    With `waits_for_secrets` a pod waits for a Secret that it needs, as on a cluster; else it is
    only recorded, as a laptop may never have that Secret.
    """

    programs: Mapping[str, Program]
    environment: Callable[[], Mapping[str, str]]
    resolve_env: Callable[[str], str]
    waits_for_secrets: bool = True

    def base_environment(self, pod_spec: Mapping[str, Any] | None = None) -> dict[str, str]:
        """What every process gets, whatever its container says; a way to the Kubernetes API only
        where its pod wants the token of its service account."""
        found = dict(self.environment())
        if (pod_spec or {}).get("automountServiceAccountToken") is False:
            found.pop("KUBECONFIG", None)
        return {**found, "PATH": search_path(found.get("PATH", os.defpath))}

    def refusal(self, pod: Mapping[str, Any], lookup: Lookup) -> str | None:
        """Why a pod can only be recorded here, None if it can run."""
        pod_spec = pod["spec"]
        if reason := unsupported(pod_spec):
            return reason
        for container in (*(pod_spec.get("initContainers") or ()), *pod_spec["containers"]):
            command = self._command(container)
            if not command:
                return f"image {container['image']} is not run here and names no command"
            # Relative, so that no path stays what it is.
            mounted = rewrite(command[0], mounts(container, Path("volumes"))) != command[0]
            if not mounted and not self._executable(command[0]):
                return f"this machine has no {command[0]!r} (image {container['image']})"
            if not self.waits_for_secrets and not self._program(container):
                for name, key in _needed_secrets(container):
                    held = lookup("Secret", name)
                    if held is None or key not in values_of("Secret", held):
                        return self._advice(pod["metadata"]["namespace"], name, key)
        return None

    def _advice(self, namespace: str, name: str, key: str) -> str:
        kubeconfig = shlex.quote(self.environment().get("KUBECONFIG", "kubeconfig"))
        return (
            f"there is no Secret {name} with the key {key}. Make it, and the next Job runs: "
            f"kubectl --kubeconfig {kubeconfig} -n {namespace} create secret generic {name} "
            f"--from-literal={key}=..."
        )

    def argv(
        self, container: Container, env: Mapping[str, str], places: Mapping[str, str]
    ) -> list[str]:
        """The process's arguments, resolved; call only if there is no `refusal`."""
        arguments = [*self._command(container), *(container.get("args") or ())]
        arguments = rewrite_all(expand_all(arguments, env), places)
        return [self._executable(arguments[0]) or arguments[0], *arguments[1:]]

    def folder(self, container: Container, work: Path, places: Mapping[str, str]) -> Path:
        """The working directory: that of the image's program, else one below `work`."""
        wanted = container.get("workingDir")
        if program := self._program(container):
            return program.folder
        if not wanted:
            return work
        moved = rewrite(wanted, places)
        folder = Path(moved) if moved != wanted else work / wanted.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _command(self, container: Container) -> list[str]:
        command = list(container.get("command") or ())
        if not command and (program := self._program(container)):
            return list(program.command)
        return command

    def _program(self, container: Container) -> Program | None:
        return self.programs.get(name_of(container["image"]))

    def _executable(self, command: str) -> str | None:
        if command in ("python", "python3"):
            return sys.executable
        if command.startswith("$("):
            return None
        return shutil.which(command, path=self.base_environment().get("PATH"))


def search_path(path: str) -> str:
    """PATH with the folder of this interpreter first: `python` has the packages that this has."""
    return os.pathsep.join([str(Path(sys.executable).parent), path])


def _needed_secrets(container: Container) -> list[tuple[str, str]]:
    """Name and key of each Secret without which a variable of the container has no value."""
    sources = [one.get("valueFrom") or {} for one in container.get("env") or ()]
    references = [one["secretKeyRef"] for one in sources if "secretKeyRef" in one]
    return [(one["name"], one["key"]) for one in references if not one.get("optional")]


def memory_limit(container: Container) -> int | None:
    """`resources.limits.memory` in bytes.

    >>> memory_limit({"resources": {"limits": {"memory": "2Gi"}}})
    2147483648
    """
    text = str(((container.get("resources") or {}).get("limits") or {}).get("memory") or "")
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9}
    for unit, factor in units.items():
        if text.endswith(unit):
            return int(float(text[: -len(unit)]) * factor)
    return int(float(text)) if text else None
