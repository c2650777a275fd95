"""What one part takes, the next takes too; and an agent reaches nothing inside."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import yaml

from functions.events.webhook import MAX_DESCRIPTION, TaskRequested
from functions.job_launcher.routes.render import MAX_FILE_BYTES
from functions.kit.settings import ProcessSettings
from functions.webhook_receiver.settings import ReceiverSettings
from tests.contract.overlays import objects
from tests.support.repository import ROOT, environment, services

HEADERS = 64 * 1024  # an event's attributes, beside its data


def test_kafka_takes_the_largest_delivery() -> None:
    text = (ROOT / "knative/components/kafka/broker.yaml").read_text()
    config = next(d for d in yaml.safe_load_all(text) if d["kind"] == "ConfigMap")["data"]
    highest = ReceiverSettings.read(environment(services()["webhook-receiver"])).max_body_bytes
    size = config["default.topic.config.max.message.bytes"]
    assert int(size) >= highest + HEADERS
    assert f"max.request.size={size}" in (ROOT / "knative/DEPLOY.md").read_text()


def test_a_function_takes_the_largest_delivery() -> None:
    highest = ReceiverSettings.read(environment(services()["webhook-receiver"])).max_body_bytes
    for name in ("job-launcher", "dead-letter"):
        taken = ProcessSettings.read(environment(services()[name])).max_event_bytes
        assert taken >= highest + HEADERS, name


def test_the_longest_task_fits_into_its_files() -> None:
    task = TaskRequested(
        task_id="t",
        service="s",
        title="\U0001f40c" * 1000,
        description="\U0001f40c" * MAX_DESCRIPTION,
        acceptance_criteria=["\U0001f40c" * 1000] * 50,
    )
    assert len(task.model_dump_json().encode()) < MAX_FILE_BYTES


def test_an_agent_reaches_the_world_and_nothing_inside() -> None:
    policies = [
        found
        for found in objects("production")
        if found["kind"] == "NetworkPolicy" and found["metadata"].get("namespace") == "agents"
    ]
    rules = [rule for p in policies for rule in p["spec"].get("egress", [])]
    blocks = [to["ipBlock"] for rule in rules for to in rule.get("to", []) if "ipBlock" in to]
    (block,) = [one for one in blocks if "except" in one]  # the others are a name server's

    def reached(address: str) -> bool:
        inside = any(ip_address(address) in ip_network(one) for one in block["except"])
        return ip_address(address) in ip_network(block["cidr"]) and not inside

    assert reached("140.82.112.3")
    for inside in ("10.96.0.1", "172.20.1.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"):
        assert not reached(inside)
