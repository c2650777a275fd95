"""Who may do what with Kubernetes: the whole list, so that a new right is a new line here."""

from __future__ import annotations

import pytest

from tests.contract.overlays import OVERLAYS, objects, of, title
from tests.contract.repository import Manifest

NAME = "kubernetes.io/metadata.name"
# account -> where and on what -> what
RIGHTS: dict[str, dict[str, set[str]]] = {
    "dsm/job-launcher": {
        "agents: batch/jobs": {"create", "get", "list", "delete"},
        "agents: /configmaps": {"create", "get"},
        "agents: /pods": {"list"},
        "agents: /pods/log": {"get"},
        "agents: /events": {"list"},
    },
    "dsm/console": {
        "dsm: sources.knative.dev/pingsources": {"get", "list"},
    },
    "dsm/scheduler": {
        "dsm: sources.knative.dev/pingsources": {"list"},
    },
    "dsm/project-orchestrator": {
        "dsm: sources.knative.dev/pingsources": {"list", "create", "delete"},
    },
    # Knative's own adapter of the ApiServerSource.
    "agents/job-events": {
        "agents: batch/jobs": {"get", "list", "watch"},
        "agents: /pods": {"get", "list", "watch"},
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


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_these_rights_and_no_others(overlay: str) -> None:
    assert rights(overlay) == RIGHTS


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nobody_has_rights_over_the_whole_cluster(overlay: str) -> None:
    wide = ("ClusterRole", "ClusterRoleBinding")
    assert [title(m) for m in objects(overlay) if m["kind"] in wide] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_token_is_given_to_those_who_have_rights_only(overlay: str) -> None:
    with_token = {
        _place(m)
        for m in of(overlay, "ServiceAccount")
        if m.get("automountServiceAccountToken") is not False
    }
    assert with_token == set(RIGHTS)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_has_an_account_that_exists(overlay: str) -> None:
    accounts = {_place(m) for m in of(overlay, "ServiceAccount")}
    for manifest in objects(overlay):
        pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
        if "containers" in pod:
            namespace = manifest["metadata"]["namespace"]
            assert f"{namespace}/{pod['serviceAccountName']}" in accounts, title(manifest)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_source_that_knative_runs_among_the_agents_may_reach_the_broker(overlay: str) -> None:
    """An agent may reach nothing inside, and the adapter of the source runs beside it."""
    policies = [m for m in of(overlay, "NetworkPolicy") if m["metadata"]["namespace"] == "agents"]
    for source in of(overlay, "ApiServerSource"):
        adapter = {
            "eventing.knative.dev/source": "apiserver-source-controller",
            "eventing.knative.dev/sourceName": source["metadata"]["name"],
        }
        mine = [m["spec"] for m in policies if _selects(m["spec"]["podSelector"], adapter)]
        out = [rule for spec in mine for rule in spec.get("egress", [])]
        spaces = {
            peer.get("namespaceSelector", {}).get("matchLabels", {}).get(NAME)
            for rule in out
            for peer in rule.get("to", [])
        }
        assert {"kube-system", "knative-eventing"} <= spaces
        anywhere = [rule["ports"] for rule in out if "to" not in rule]
        assert {443, 6443} <= {port["port"] for ports in anywhere for port in ports}
    agent = {"app.kubernetes.io/managed-by": "job-launcher"}
    (world,) = (
        m["spec"]
        for m in policies
        if "Egress" in m["spec"]["policyTypes"] and _selects(m["spec"]["podSelector"], agent)
    )
    blocks = [peer.get("ipBlock", {}) for rule in world["egress"] for peer in rule["to"]]
    assert any("10.0.0.0/8" in block.get("except", []) for block in blocks)


def _selects(selector: Manifest, labels: dict[str, str]) -> bool:
    for one in selector.get("matchExpressions", []):
        assert one["operator"] == "NotIn"
        if labels.get(one["key"]) in one["values"]:
            return False
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def _place(manifest: Manifest) -> str:
    return f"{manifest['metadata']['namespace']}/{manifest['metadata']['name']}"
