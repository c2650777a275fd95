"""From a kustomization directory to a World of typed, checked objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from knative.local.manifests import admission, core, eventing, serving, sources
from knative.local.manifests.images import (
    Program,
    annotated,
    missing_program,
    name_of,
    read_programs,
)
from knative.local.manifests.kustomize import build_all
from knative.local.manifests.meta import Manifest
from knative.local.manifests.problems import ManifestError, Problem, faults
from knative.local.manifests.references import check_references, warnings
from knative.local.manifests.resource import Resource
from knative.local.manifests.stand_ins import CLUSTER_ONLY, stand_in
from knative.local.manifests.yaml_lines import FieldPath

KINDS: dict[tuple[str, str], type[Manifest]] = {
    ("v1", "Namespace"): core.Namespace,
    ("v1", "ConfigMap"): core.ConfigMap,
    ("v1", "Secret"): core.Secret,
    ("v1", "ServiceAccount"): core.ServiceAccount,
    ("v1", "Service"): core.Service,
    ("discovery.k8s.io/v1", "EndpointSlice"): core.EndpointSlice,
    ("rbac.authorization.k8s.io/v1", "Role"): core.Role,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): core.RoleBinding,
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): core.ClusterRole,
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): core.ClusterRoleBinding,
    ("networking.k8s.io/v1", "NetworkPolicy"): core.NetworkPolicy,
    ("policy/v1", "PodDisruptionBudget"): core.PodDisruptionBudget,
    ("apps/v1", "StatefulSet"): core.StatefulSet,
    ("batch/v1", "Job"): core.Job,
    ("serving.knative.dev/v1", "Service"): serving.KnativeService,
    ("eventing.knative.dev/v1", "Broker"): eventing.Broker,
    ("eventing.knative.dev/v1", "Trigger"): eventing.Trigger,
    ("eventing.knative.dev/v1beta2", "EventType"): eventing.EventType,
    ("eventing.knative.dev/v1beta3", "EventType"): eventing.EventType,
    ("sources.knative.dev/v1", "PingSource"): sources.PingSource,
    ("sources.knative.dev/v1", "SinkBinding"): sources.SinkBinding,
    ("sources.knative.dev/v1", "ApiServerSource"): sources.ApiServerSource,
}

# Taken as they are: nothing enforces them on a laptop.
UNENFORCED = (
    core.ServiceAccount,
    core.Role,
    core.RoleBinding,
    core.ClusterRole,
    core.ClusterRoleBinding,
    core.NetworkPolicy,
    core.PodDisruptionBudget,
    eventing.EventType,
)

# What the API server writes into metadata.
_SERVERS = {
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation",
    "managedFields", "resourceVersion", "selfLink", "uid",
}  # fmt: skip

M = TypeVar("M", bound=Manifest)


@dataclass(frozen=True)
class World:
    """Everything that the overlay declares."""

    objects: tuple[Manifest, ...]
    notes: tuple[str, ...] = ()  # what was changed for a laptop's sake, and warnings, in words
    programs: Mapping[str, Program] = field(default_factory=dict)  # by the name of an image
    annotated: Mapping[tuple[str, str], Program] = field(default_factory=dict)  # by Service
    unmapped: tuple[Problem, ...] = ()  # Services for which there is no program
    folders: tuple[Path, ...] = ()  # where the YAML is

    def all(self, kind: type[M]) -> list[M]:
        """The objects of one kind, in the order of the YAML."""
        return [item for item in self.objects if isinstance(item, kind)]

    def get(self, kind: type[M], namespace: str, name: str) -> M | None:
        """One object, or None."""
        found = (o for o in self.all(kind) if (o.namespace, o.name) == (namespace, name))
        return next(found, None)

    def program(self, service: serving.KnativeService) -> Program | None:
        """What a Service's process runs; None if `unmapped` says why not."""
        own = self.annotated.get((service.namespace, service.name))
        return own or self.programs.get(name_of(service.container.image))


def load(*targets: Path, stand_ins: bool = False) -> World:
    """The world that kustomizations, folders of YAML or single files declare.

    With `stand_ins`, what only a cluster has is replaced by the laptop's own, or left out.

    Raises ManifestError with every problem at once: YAML, kustomize, unknown kinds and
    fields, what an admission webhook would refuse, and references that lead nowhere.
    """
    built = build_all(targets)
    resources = built.resources
    problems: list[Problem] = []
    notes = stand_in(resources) if stand_ins else []
    objects: list[tuple[Manifest, Resource]] = []
    for resource in resources:
        try:
            objects.append((parse(resource.body), resource))
            problems += (resource.problem(*fault) for fault in refusals(resource.body))
        except UnknownKindError as error:
            problems.append(resource.problem(("kind",), str(error)))
        except ValidationError as error:
            problems += (resource.problem(*fault) for fault in faults(error))
    programs, faulty = read_programs(built)
    problems += faulty
    annotations: dict[tuple[str, str], Program] = {}
    unmapped: list[Problem] = []
    for item, resource in objects:
        if isinstance(item, serving.KnativeService):
            try:
                own = annotated(resource)
            except ValueError as error:
                problems.append(resource.problem(("metadata", "annotations"), str(error)))
                continue
            if own is not None:
                annotations[item.namespace, item.name] = own
            elif fault := missing_program(resource, programs, built.folders[0]):
                unmapped.append(fault)
    if not problems:
        problems += check_references(objects)
    if problems:
        raise ManifestError(problems)
    notes += [f"Warning: {warning}" for warning in warnings(objects)]
    return World(
        tuple(item for item, _ in objects),
        tuple(notes),
        programs,
        annotations,
        tuple(unmapped),
        tuple(folder.resolve() for folder in built.folders),
    )


class UnknownKindError(ValueError):
    """The local Knative has no such kind."""


def refusals(body: dict[str, Any]) -> Iterator[tuple[FieldPath, str]]:
    """What a cluster refuses of an object that the local Knative can run."""
    yield from admission.refusals(body)
    name = str(body["metadata"]["name"])
    if body["kind"] in ("Broker", "Trigger") and (fault := admission.label_fault(name)):
        yield ("metadata", "name"), fault


def parse(body: dict[str, Any]) -> Manifest:
    """One object as its typed model; raises UnknownKindError or pydantic's ValidationError.

    `null` is unset, and what only an API server writes is left out, as when it is applied.
    """
    body = written(body)
    key = (str(body.get("apiVersion")), str(body.get("kind")))
    if key in CLUSTER_ONLY:
        raise UnknownKindError(f"a {key[1]} needs a cluster; --stand-ins goes without it")
    if key not in KINDS:
        raise UnknownKindError(f"{key[0]} {key[1]} is not supported by the local Knative")
    return KINDS[key].model_validate(body)


def written(body: dict[str, Any]) -> dict[str, Any]:
    """What an author says of an object, of which an export has more.

    >>> written({"kind": "A", "metadata": {"creationTimestamp": None, "uid": "1"}, "status": {}})
    {'kind': 'A', 'metadata': {}}
    """
    kept = {key: value for key, value in body.items() if key != "status"}
    if isinstance(kept.get("metadata"), dict):
        own = kept["metadata"].items()
        kept["metadata"] = {key: value for key, value in own if key not in _SERVERS}
    return {key: _without_null(value) for key, value in kept.items() if value is not None}


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    return [_without_null(item) for item in value] if isinstance(value, list) else value
