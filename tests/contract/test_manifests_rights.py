"""Who may do what with Kubernetes: the whole list, so that a new right is a new line here."""

from __future__ import annotations

import pytest

from tests.contract.overlays import OVERLAYS, objects, of, title
from tests.support.repository import Manifest

# account -> where and on what -> what
RIGHTS: dict[str, dict[str, set[str]]] = {
    "dsm/job-launcher": {
        "agents: batch/jobs": {"create", "get", "list", "watch", "delete"},
        "agents: /configmaps": {"create", "get"},
        "agents: /secrets": {"create"},
        "agents: /pods": {"delete", "list", "watch"},
        "agents: /pods/log": {"get"},
        "agents: /events": {"list"},
    },
    "dsm/console": {
        "dsm: sources.knative.dev/pingsources": {"list"},
        "dsm: serving.knative.dev/services": {"list"},
        "dsm: serving.knative.dev/revisions": {"list"},
        "dsm: /pods": {"list"},
    },
    "dsm/scheduler": {
        "dsm: sources.knative.dev/pingsources": {"list"},
    },
    "dsm/project-orchestrator": {
        "dsm: sources.knative.dev/pingsources": {"list", "create", "delete"},
    },
}


def rights(overlay: str) -> dict[str, dict[str, set[str]]]:
    """What the RoleBindings of an overlay give to whom."""
    roles = {_place(m): m for m in of(overlay, "Role")}
    found: dict[str, dict[str, set[str]]] = {}
    for binding in of(overlay, "RoleBinding"):
        assert binding["roleRef"]["kind"] == "Role", f"{title(binding)} gives rights everywhere"
        namespace = binding["metadata"]["namespace"]
        role = roles[f"{namespace}/{binding['roleRef']['name']}"]
        for subject in binding["subjects"]:
            assert subject["kind"] == "ServiceAccount"
            mine = found.setdefault(f"{subject['namespace']}/{subject['name']}", {})
            for rule in role["rules"]:
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        verbs = mine.setdefault(f"{namespace}: {group}/{resource}", set())
                        verbs.update(rule["verbs"])
    return found


def expected(overlay: str) -> dict[str, dict[str, set[str]]]:
    """Where the DSM services are elsewhere, so is the one of them that has rights."""
    elsewhere = {"dsm/project-orchestrator"} if overlay == "existing-services" else set()
    return {name: verbs for name, verbs in RIGHTS.items() if name not in elsewhere}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_these_rights_and_no_others(overlay: str) -> None:
    assert rights(overlay) == expected(overlay)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_account_has_rights_over_the_whole_cluster(overlay: str) -> None:
    wide = ("ClusterRole", "ClusterRoleBinding")
    assert [title(m) for m in objects(overlay) if m["kind"] in wide] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_token_is_given_to_those_who_have_rights_only(overlay: str) -> None:
    with_token = {
        _place(m)
        for m in of(overlay, "ServiceAccount")
        if m.get("automountServiceAccountToken") is not False
    }
    assert with_token == set(expected(overlay))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_has_an_account_that_exists(overlay: str) -> None:
    accounts = {_place(m) for m in of(overlay, "ServiceAccount")}
    for manifest in objects(overlay):
        pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
        if "containers" in pod:
            namespace = manifest["metadata"]["namespace"]
            assert f"{namespace}/{pod['serviceAccountName']}" in accounts, title(manifest)


def _place(manifest: Manifest) -> str:
    return f"{manifest['metadata']['namespace']}/{manifest['metadata']['name']}"
