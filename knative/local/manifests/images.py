"""Which program an image is on this machine: `knative-local.yaml`, or annotations of a Service.

The file stands in a folder that is run, or in a kustomization that one of those takes in:

    images:
      ghcr.io/acme/orders:          # without a tag
        command: [node, server.js]  # what its ENTRYPOINT and CMD are; a container may name another
        workingDir: orders          # relative to this file, which is also the default
        watch: [server.js, lib]     # what `up --watch` follows; default: the folder
        fork:                       # of a Python program: starts are forks of a process that has
          call: orders.main:main    # the imports, and call this in place of the command (Linux)
          preload: [httpx]          # what else it imports
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import StringConstraints, ValidationError

from knative.local.manifests.kustomize import PROGRAMS_FILE as FILE
from knative.local.manifests.kustomize import Built
from knative.local.manifests.meta import Strict
from knative.local.manifests.problems import ManifestError, Problem, faults
from knative.local.manifests.resource import Resource
from knative.local.manifests.yaml_lines import Document, read_documents

COMMAND, WORKING_DIR = "knative-local/command", "knative-local/working-dir"
_IMAGE = ("spec", "template", "spec", "containers", 0, "image")


@dataclass(frozen=True)
class Fork:
    """What a fork of a server calls, `module:function`, and what else the server has imported."""

    call: str
    preload: tuple[str, ...] = ()


@dataclass(frozen=True)
class Program:
    """A command, and the folder that it starts in. `forced`: whatever a container says.

    `watch`: what it is made of, relative to the folder, with the container's `$(NAME)`.
    """

    command: tuple[str, ...]
    folder: Path
    forced: bool = False
    watch: tuple[str, ...] = (".",)
    fork: Fork | None = None


class _Fork(Strict):
    call: Annotated[str, StringConstraints(pattern=r"^[\w.]+:\w+$")]
    preload: list[str] = []


class _Image(Strict):
    command: list[str] = []
    working_dir: str = "."
    watch: list[str] = ["."]
    fork: _Fork | None = None


class _File(Strict):
    images: dict[str, _Image]


def name_of(image: str) -> str:
    """An image's name without tag and digest.

    >>> name_of("localhost:5000/acme/orders:v1@sha256:ab")
    'localhost:5000/acme/orders'
    """
    return re.sub(r"(:[^/:@]+)?(@.+)?$", "", image, count=1)


def read_programs(built: Built) -> tuple[dict[str, Program], list[Problem]]:
    """The program of each image by its name; of two folders the outer one decides."""
    programs: dict[str, Program] = {}
    problems: list[Problem] = []
    for folder in built.folders:
        file = folder / FILE
        if not file.is_file():
            continue
        try:
            for document in read_documents(file):
                problems += _read(document, programs)
        except ManifestError as error:
            problems += error.problems
    for new, old in built.renamed.items():
        if old in programs:
            programs.setdefault(new, programs[old])
    return programs, problems


def _read(document: Document, programs: dict[str, Program]) -> Iterable[Problem]:
    file = document.file
    try:
        images = _File.model_validate(document.body).images
    except ValidationError as error:
        for path, message in faults(error):
            dotted = ".".join(map(str, path))
            yield Problem(file, document.line_of(path), "", dotted, message)
        return
    for name, image in images.items():
        folder = (file.parent / image.working_dir).resolve()
        if not folder.is_dir():
            line = document.line_of(("images", name, "workingDir"))
            yield Problem(file, line, name, "workingDir", f"{folder} is no folder")
        fork = Fork(image.fork.call, tuple(image.fork.preload)) if image.fork else None
        program = replace(_program(image.command, folder), watch=tuple(image.watch), fork=fork)
        programs.setdefault(name, program)


def annotated(resource: Resource) -> Program | None:
    """The program that a Service names itself; ValueError with the reason it cannot."""
    template = (resource.body.get("spec") or {}).get("template") or {}
    given: dict[str, Any] = {
        **(resource.metadata.get("annotations") or {}),
        **((template.get("metadata") or {}).get("annotations") or {}),
    }
    if COMMAND not in given:
        if WORKING_DIR in given:
            raise ValueError(f"the annotation {WORKING_DIR} needs {COMMAND} beside it")
        return None
    folder = (resource.source.file.parent / str(given.get(WORKING_DIR, "."))).resolve()
    if not folder.is_dir():
        raise ValueError(f"the annotation {WORKING_DIR}: {folder} is no folder")
    command = shlex.split(str(given[COMMAND]))
    if not command:
        raise ValueError(f"the annotation {COMMAND} is empty")
    return _program(command, folder, forced=True)


def _program(command: list[str], folder: Path, *, forced: bool = False) -> Program:
    """A path in the command is relative to the folder, as for a shell that is there."""
    if command and "/" in command[0]:
        command = [str(folder / command[0]), *command[1:]]
    return Program(tuple(command), folder, forced)


def missing_program(
    resource: Resource, programs: Mapping[str, Program], folder: Path
) -> Problem | None:
    """Why nothing can be run for a Service's image, with the lines to add; None if it can."""
    container = resource.body["spec"]["template"]["spec"]["containers"][0]
    name = name_of(str(container["image"]))
    program = programs.get(name)
    if program is not None and (program.command or container.get("command")):
        return None
    lines = f"images:\n  {name}:\n    command: [python, main.py]\n    workingDir: ."
    message = f"which program is {name} on this machine? Say it in {folder / FILE}, for instance"
    return resource.problem(_IMAGE, f"{message}:\n{lines}")
