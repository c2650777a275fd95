"""The proxy of agents: its lists are the same in its configuration, policies and settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from functions.job_launcher.kubernetes import egress
from functions.job_launcher.settings import LauncherSettings
from tests.contract.overlays import OVERLAYS, built
from tests.support.egress_standin import COMPONENT, lists
from tests.support.repository import Manifest

CONFIG = (COMPONENT / "squid.conf").read_text()
PORTS = {name: int(port) for port, name in re.findall(r"http_port (\d+) name=(\w+)", CONFIG)}


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Manifest]:
    """An overlay with the component, by kind and name."""
    folder: Path = tmp_path_factory.mktemp("egress")
    body = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(OVERLAYS["production"])],
        "components": [str(COMPONENT)],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(body))
    return {(m["kind"], m["metadata"]["name"]): m for m in built(folder)}


def by_name(ports: list[dict[str, Any]], field: str) -> dict[str, int]:
    return {one["name"]: one[field] for one in ports}


def test_a_list_has_one_port_everywhere(manifests: dict[tuple[str, str], Manifest]) -> None:
    [squid] = manifests["Deployment", "egress-proxy"]["spec"]["template"]["spec"]["containers"]
    service = manifests["Service", egress.SERVICE]["spec"]
    rules = manifests["NetworkPolicy", "by-list"]["spec"]["ingress"]
    policies = {
        rule["from"][0]["podSelector"]["matchLabels"][egress.LABEL]: rule["ports"][0]["port"]
        for rule in rules
    }
    launcher = manifests["Service", "job-launcher"]["spec"]["template"]["spec"]["containers"][0]
    environ = {one["name"]: one.get("value", "") for one in launcher["env"]}
    assert by_name(squid["ports"], "containerPort") == PORTS
    assert by_name(service["ports"], "port") == PORTS
    assert policies == PORTS
    assert LauncherSettings.read(environ).egress_ports == PORTS
    assert LauncherSettings.read(environ).job_egress in PORTS


def test_every_list_has_the_model_and_the_place_of_repositories() -> None:
    assert set(lists()) == set(PORTS)
    code = lists()["code"]
    assert {"api.anthropic.com", "github.com"} <= code
    for name, hosts in lists().items():
        assert hosts >= code, name
        assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]+\.[a-z]+", host) for host in hosts), name
    assert not {"api.github.com", "gist.github.com"} & set().union(*lists().values())


def test_with_the_proxy_no_policy_lets_an_agent_past_it(
    manifests: dict[tuple[str, str], Manifest],
) -> None:
    policies = [m for (kind, _), m in manifests.items() if kind == "NetworkPolicy"]
    agents = [m for m in policies if m["metadata"]["namespace"] == "agents"]
    ways = {
        m["metadata"]["name"]
        for m in agents
        for rule in m["spec"].get("egress", [])
        for peer in rule["to"]
        if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0"
    }
    assert ways == {"proxy-to-the-world"}
    [world] = [m for m in agents if m["metadata"]["name"] == "proxy-to-the-world"]
    label = manifests["Deployment", "egress-proxy"]["spec"]["template"]["metadata"]["labels"]
    assert world["spec"]["podSelector"]["matchLabels"].items() <= label.items()


def test_its_pod_is_confined_pinned_and_valid(manifests: dict[tuple[str, str], Manifest]) -> None:
    deployment = manifests["Deployment", "egress-proxy"]
    kubernetes_validate.validate(deployment, "1.34", strict=True)
    pod = deployment["spec"]["template"]["spec"]
    [squid] = pod["containers"]
    assert re.fullmatch(r"ubuntu/squid@sha256:[0-9a-f]{64}", squid["image"])
    assert pod["securityContext"]["runAsNonRoot"]
    assert squid["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    maps = {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
    assert {("ConfigMap", name) for name in maps} <= manifests.keys()


def test_its_log_is_what_the_launcher_reads() -> None:
    assert "logformat refused refused %ts.%03tu %>a %>lp %>rd:%>rP" in CONFIG
    line = "refused 1796062267.991 10.1.2.3 3128 evil.example:443"
    assert egress.refusals([line], {"10.1.2.3": 0}) == ["evil.example:443"]
