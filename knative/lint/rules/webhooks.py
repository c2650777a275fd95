"""KN204: is an event of GitHub that a Trigger wants also made good when its delivery is lost?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from knative.lint.finding import Violation, rule
from knative.lint.manifest import Manifest
from knative.lint.matching import PartialEvent, filter_of
from knative.lint.tree import Tree
from knative.local.manifests.fields import POD

_GITHUB = "com.github."
_SETTING = "GITHUB_EVENT_TYPES"
_TARGET = "FUNCTION_TARGET"


@rule(
    "KN204", "warning", "event of GitHub that is not fetched when it is lost",
    why="webhook-receiver fetches what GitHub could not deliver of the types that job-launcher's "
    f"routes take, and of those in {_SETTING}. It has no rights in Kubernetes to read Triggers, as "
    "it is reached from outside.",
    fix=f"Add the type to {_SETTING} of webhook-receiver, with commas; * at the end for any.",
)  # fmt: skip
def not_fetched(tree: Tree) -> Iterator[Violation]:
    receivers = [env for env in map(_env, tree.services) if env.get(_TARGET) == "webhook_receiver"]
    for trigger in tree.triggers if receivers else ():
        subscriber = tree.at(trigger, "spec", "subscriber")
        if subscriber is not None and _env(subscriber).get(_TARGET) == "job_launcher":
            continue  # of what it gets, its routes take their choice
        path = ("spec", "filters") if trigger.items("spec", "filters") else ("spec", "filter")
        for type_ in _types(trigger):
            if not any(_covers(env.get(_SETTING, ""), type_) for env in receivers):
                yield Violation(trigger, path, f"{type_} is not in {_SETTING}")


def _env(service: Manifest) -> Mapping[str, str]:
    """The variables of a Service that are written down."""
    found = [
        service.mapping(*path)
        for one in service.each(*POD, "containers")
        for path in service.each(*one, "env")
    ]
    return {str(one.get("name")): str(one.get("value") or "") for one in found}


def _types(trigger: Manifest) -> Iterator[str]:
    """The types of GitHub that a filter names; `*` at the end for those that begin so."""
    wanted = filter_of(trigger)
    if wanted is None:
        return  # KN403
    atoms = wanted.atoms.of("type")
    for type_ in sorted({*atoms.values, *(f"{prefix}*" for prefix in atoms.prefixes)}):
        if type_.startswith(_GITHUB) and wanted.may_match(PartialEvent({"type": type_})):
            yield type_


def _covers(setting: str, type_: str) -> bool:
    listed = [one.strip() for one in setting.split(",")]
    return type_ in listed or any(
        one.endswith("*") and type_.startswith(one[:-1]) for one in listed
    )
