"""The daily functions answer whatever is sent to them: in few words, and never with 500."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.backlog_setup.main import backlog_setup
from functions.cycle_trigger.main import cycle_trigger
from functions.kit.durable import migrate
from functions.scrum_report.main import scrum_report
from functions.scrum_simulate.main import scrum_simulate
from functions.sprint_report.main import sprint_report
from tests.conftest import MakeMigrated
from tests.support.cluster import Cluster
from tests.support.dsm_services import World

TARGETS = (sprint_report, cycle_trigger, scrum_simulate, scrum_report, backlog_setup)
FIELDS = ("project_id", "sprint_id", "scrum_date", "tasks", "stories", "total_tasks", "schedule")
VALUES: tuple[Any, ...] = (
    *(None, "", " ", "x" * 300, "x" * 100_000, "ÜBER-漢🎉", "a\0b", "\ud800", "\n\u202e"),
    *(0, -1, 10**400, 1.5, float("nan"), True, [], {}, [None], [{}], [{"id": "a"}] * 2),
)
RAW = (
    *(b"", b"{", b"null", b"[]", b'"text"', b"7", b"\xff\xfe", b"\xef\xbb\xbf{}", b"{" * 5000),
    b'{"project_id": ' + b"[" * 100_000,
    b'{"project_id": "P", "project_id": "Q"}',
    b"project_id: &a [*a]\n",
    b"project_id: !!python/object/apply:os.system ['true']\n",
    b"- a\n- b\n",
)
TYPES = ("application/json", "application/yaml", "text/plain", "application/xml", "", "a;b=\xe9")
TICK = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/x",
    "ce-type": "dev.knative.sources.ping",
    "ce-time": "2026-03-02T14:00:00Z",
}


@pytest.fixture
async def odd(cluster: Cluster, world: World, make_migrated: MakeMigrated) -> Cluster:
    url = await make_migrated(*migrate.owners(), "backlog_service")
    for target in TARGETS:
        cluster.deploy(target, {"DATABASE_URL": url})
    return cluster


@pytest.mark.parametrize("name", [t.__dict__["spec"].name.replace("_", "-") for t in TARGETS])
async def test_whatever_is_sent_is_answered_in_short(odd: Cluster, name: str) -> None:
    bodies = [json.dumps({field: value}).encode() for field in FIELDS for value in VALUES]
    asked = [(body, {"content-type": "application/json"}) for body in (*RAW, *bodies)]
    asked += [(body, {"content-type": kind}) for body in RAW for kind in TYPES]
    for schedule in (name, "run-dailyscrum-x", "cycle-sweep", "x" * 5000, "", "\u00fc"):
        head = TICK | {"ce-schedule": schedule, "content-type": "application/json"}
        asked += [(body, head) for body in (*RAW, *bodies)][:: 1 if schedule == name else 9]
    wrong = []
    async with odd.client(name) as client:
        for body, headers in asked:
            answer = await client.post(
                "/", content=body, headers=[(n.encode(), v.encode()) for n, v in headers.items()]
            )
            if answer.status_code >= 500 and answer.status_code != 503:
                wrong.append((body[:80], headers, answer.status_code, answer.text))
            if answer.status_code >= 400 and len(answer.content) > 512:
                wrong.append((body[:80], headers, answer.status_code, "long"))
        for method in ("HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"):
            for path in ("/", "/runs", "/health", "/none"):
                answer = await client.request(method, path)
                if answer.status_code not in (200, 404, 405):
                    wrong.append((method.encode(), {}, answer.status_code, path))
    assert wrong == []
