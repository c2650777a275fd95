"""What is in the repository: the deployables by folder, the events, and the YAML."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from _pytest.mark import ParameterSet

import functions.events
from functions.events.base import Event, all_types
from functions.kit.context import Context
from functions.kit.contract.decorator import spec_of
from functions.kit.contract.handle import Rules
from functions.kit.durable import Rule
from functions.kit.process.serve import FUNCTIONS
from knative.local.manifests.patches import json_patch

ROOT = FUNCTIONS.parent
KNATIVE = ROOT / "knative"
GOLDEN = ROOT / "tests" / "golden"
PARTS = ("base", "components", "jobs")
NO_OBJECTS = ("kustomization.yaml", "knative-local.yaml")

Manifest = dict[str, Any]


@cache
def function_folders() -> dict[str, Path]:
    """Target name to folder, of every deployable that brokers speak to, however it is made."""
    found = (path.parent for path in sorted(FUNCTIONS.glob("*/main.py")))
    return {path.name: path for path in found if _declared(path.name).inputs}


@cache
def all_folders() -> dict[str, Path]:
    """Target name to folder, of every deployable."""
    mains = [*FUNCTIONS.glob("*/main.py"), *FUNCTIONS.glob("dsm/*/main.py")]
    return {path.parent.name: path.parent for path in sorted(mains)}


def target(name: str) -> object:
    folder = all_folders()[name].relative_to(ROOT)
    return getattr(importlib.import_module(".".join((*folder.parts, "main"))), name)


def rules_of(name: str, ctx: Context) -> Sequence[Rule]:
    """What a deployable has deleted from its own tables."""
    made = target(name)
    rules: Rules | None = (getattr(made, "api", None) or spec_of(made)).retention
    return rules(ctx) if rules else ()


@dataclass(frozen=True)
class Declared:
    """What a deployable says of itself. `inbox`: its events leave after its answer."""

    about: str
    inputs: tuple[type[Event], ...]
    emits: tuple[type[Event], ...]
    source: str
    inbox: bool
    schedules: tuple[str, ...]


@cache
def spec(name: str) -> Declared:
    """What a function declares: one that consumes no events is a KeyError."""
    function_folders()[name]
    return _declared(name)


@cache
def _declared(name: str) -> Declared:
    made = target(name)
    about = inspect.getdoc(sys.modules[f"functions.{name}.main"]) or ""
    found = getattr(made, "api", None)
    if found is None:
        one = spec_of(made)
        return Declared(about, one.inputs, one.emits, one.source, one.inbox, one.schedules)
    tables = (all_folders()[name] / "migrations").is_dir()
    source = f"/functions/{name.replace('_', '-')}"
    return Declared(about, found.inputs, found.emits, source, tables, found.schedules)


@cache
def event_types() -> list[type[Event]]:
    """Every event class of functions/events."""
    for module in pkgutil.iter_modules(functions.events.__path__):
        importlib.import_module(f"functions.events.{module.name}")
    return [kind for kind in all_types() if kind.__module__.startswith("functions.events.")]


@cache
def manifests() -> list[tuple[Path, Manifest]]:
    """Every object of the base and the components, with its file."""
    found = []
    for part in PARTS:
        for path in sorted((KNATIVE / part).rglob("*.yaml")):
            for document in yaml.safe_load_all(path.read_text()):
                # The map of images beside the base is no object.
                if document and document.get("kind") not in (None, "Kustomization", "Component"):
                    found.append((path, _confined(document)))
    return found


@cache
def _confinement() -> tuple[re.Pattern[str], list[Manifest]]:
    """The Services that the component `confined` patches, and what it adds to each."""
    component = KNATIVE / "components" / "confined" / "kustomization.yaml"
    (patch,) = yaml.safe_load(component.read_text())["patches"]
    return re.compile(patch["target"]["name"]), yaml.safe_load(patch["patch"])


def _confined(manifest: Manifest) -> Manifest:
    names, operations = _confinement()
    served = manifest["apiVersion"].startswith("serving.knative.dev/")
    if served and names.fullmatch(manifest["metadata"]["name"]):
        patched: Manifest = json_patch(manifest, operations)
        return patched
    return manifest


def of_kind(kind: str, group: str) -> list[Manifest]:
    return [m for _, m in manifests() if m["kind"] == kind and m["apiVersion"].startswith(group)]


def services() -> dict[str, Manifest]:
    """The Knative Services by name."""
    return {m["metadata"]["name"]: m for m in of_kind("Service", "serving.knative.dev/")}


def container(service: Manifest) -> Manifest:
    one: Manifest = service["spec"]["template"]["spec"]["containers"][0]
    return one


def environment(service: Manifest) -> dict[str, str]:
    """The variables that have a value in the YAML."""
    return {e["name"]: e["value"] for e in container(service).get("env", []) if "value" in e}


@dataclass(frozen=True)
class Pattern:
    """A type, or a beginning of types, that a Trigger lets through."""

    text: str
    prefix: bool = False

    def fits(self, kind: type[Event]) -> bool:
        """Is what passes an event of this class?"""
        return kind.covers(self.text.rstrip(".") if self.prefix else self.text)


@dataclass(frozen=True)
class Trigger:
    """A Trigger as the contract tests look at it; durations in seconds."""

    name: str
    service: str
    patterns: tuple[Pattern, ...]
    schedules: tuple[Pattern, ...]
    everything: bool
    delivery: Manifest  # its own, or its Broker's: one replaces the other as a whole

    @property
    def pauses_s(self) -> float:
        """How long the broker waits between the attempts, together."""
        delay = seconds(self.delivery["backoffDelay"])
        return sum(delay * 2.0**k for k in range(self.retry))

    @property
    def retry(self) -> int:
        retry: int = self.delivery["retry"]
        return retry

    @property
    def timeout_s(self) -> float:
        return seconds(self.delivery["timeout"])


@cache
def triggers() -> list[Trigger]:
    brokers = {
        broker["metadata"]["name"]: broker["spec"]["delivery"]
        for broker in of_kind("Broker", "eventing.knative.dev/")
    }
    return [
        Trigger(
            name=m["metadata"]["name"],
            service=m["spec"]["subscriber"]["ref"]["name"],
            patterns=tuple(_patterns(m["spec"], "type")),
            schedules=(*_patterns(m["spec"], "schedule"), *_families(m["spec"])),
            everything=not m["spec"].get("filter") and not m["spec"].get("filters"),
            delivery=m["spec"].get("delivery") or brokers[m["spec"]["broker"]],
        )
        for m in of_kind("Trigger", "eventing.knative.dev/")
        if m["spec"]["subscriber"]["ref"]["kind"] == "Service"
    ]


def consumes(trigger: Trigger) -> list[type[Event]]:
    """The event classes that a Trigger lets through to its subscriber."""
    kinds = event_types()
    if trigger.everything:
        return kinds
    return [kind for kind in kinds if any(p.fits(kind) for p in trigger.patterns)]


def listeners(kind: type[Event]) -> list[str]:
    """Who gets an event class: by what a function takes, and by the Triggers that name it."""
    by_type = {n for n in function_folders() if kind in spec(n).inputs}
    named = (t for t in triggers() if not t.everything)
    return sorted(by_type | {t.service.replace("-", "_") for t in named if kind in consumes(t)})


def producers_of(kind: type[Event]) -> list[str]:
    """Who emits an event class: functions that declare it, services that make it."""
    functions = function_folders()
    declared = [name for name in functions if kind in spec(name).emits]
    services = [name for name in all_folders() if name not in functions]
    return declared + [name for name in services if _makes(name, kind)]


def named(manifests: list[Manifest]) -> list[ParameterSet]:
    """Objects as a test's parameters, by their names."""
    return [pytest.param(m, id=m["metadata"]["name"]) for m in manifests]


def seconds(duration: str) -> float:
    """An ISO 8601 duration of seconds and minutes, as our YAML has them."""
    match = re.fullmatch(r"PT(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?", duration)
    assert match, f"{duration} is not written as PT1M30S"
    return int(match[1] or 0) * 60 + float(match[2] or 0)


def _patterns(spec: Manifest, attribute: str) -> Iterator[Pattern]:
    if attribute in (exact := spec.get("filter", {}).get("attributes", {})):
        yield Pattern(exact[attribute])
    for item in spec.get("filters", []):
        yield from _in_filter(item, attribute)


def _families(spec: Manifest) -> Iterator[Pattern]:
    """The schedules of a family begin with its name."""
    for family in _patterns(spec, "family"):
        yield Pattern(f"{family.text}-", prefix=True)


def _in_filter(item: Manifest, attribute: str) -> Iterator[Pattern]:
    for dialect, value in item.items():
        if dialect in ("any", "all"):
            for inner in value:
                yield from _in_filter(inner, attribute)
        elif dialect in ("exact", "prefix") and attribute in value:
            yield Pattern(value[attribute], dialect == "prefix")
        elif dialect == "cesql":
            for text in re.findall(rf"\b{attribute} = '([^']+)'", value):
                yield Pattern(text)
            for text in re.findall(rf"\b{attribute} LIKE '([^'%]+)%'", value):
                yield Pattern(text, prefix=True)


def _makes(name: str, kind: type[Event]) -> bool:
    """Does a service build events of this class? A function says so itself, in `emits`."""
    made = re.compile(rf"\b{kind.__name__}(\.model_validate)?\(")
    texts = [path.read_text() for path in all_folders()[name].glob("*.py")]
    return any(f"from {kind.__module__} import" in text and made.search(text) for text in texts)
