"""A route that names `each` makes one Job for each task of what matches in the event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.job_launcher.decide.job_request import JobRequest
from functions.job_launcher.routes.check import main
from functions.job_launcher.routes.match import choose
from functions.job_launcher.routes.render import render_requests
from functions.job_launcher.routes.route_file import BadRoutes, parse
from tests.support.job_events import FUNCTIONS, IMAGE, LAUNCHER, event
from tests.support.job_world import shipped_routes

SHIPPED = parse(shipped_routes())
FIRING = "com.grafana.alert.firing"


def alert(status: str = "firing", **labels: str) -> dict[str, Any]:
    return {"status": status, "labels": {"alertname": "slow", **labels}}


def notified(*alerts: object) -> dict[str, Any]:
    return {"status": "firing", "groupKey": "{}", "alerts": list(alerts), "commonLabels": {}}


def jobs(*alerts: object) -> list[JobRequest]:
    asked = event(FIRING, notified(*alerts))
    choice = choose(SHIPPED, asked)
    return render_requests(choice, asked, LAUNCHER) if choice.route else []


def alerts_of(request: JobRequest) -> list[Any]:
    found: list[Any] = json.loads(request.files["alerts.json"])
    return found


def test_each_task_of_a_notification_has_its_own_job() -> None:
    one, other = jobs(
        alert(task_id="T-1", service="shop", severity="critical"),
        alert(task_id="T-2", severity="low"),
    )
    assert (one.task_id, one.service, one.env) == ("T-1", "shop", {"SEVERITY": "critical"})
    assert (other.task_id, other.service, other.env) == ("T-2", "grafana", {"SEVERITY": "low"})
    assert one.job_id != other.job_id
    assert [a["labels"]["task_id"] for a in alerts_of(one)] == ["T-1"]


@pytest.mark.parametrize(
    "unwanted",
    [
        pytest.param(alert("resolved", task_id="T-2"), id="resolved"),
        pytest.param(alert(service="shop"), id="no task"),
        pytest.param(alert(task_id=""), id="an empty label is none"),
        pytest.param({"status": "firing"}, id="no labels"),
        pytest.param({"status": "firing", "labels": ["task_id"]}, id="odd labels"),
        pytest.param("no object", id="no object"),
    ],
)
def test_only_alerts_that_fire_and_name_a_task_count(unwanted: object) -> None:
    assert [job.task_id for job in jobs(unwanted, alert(task_id="T-1"))] == ["T-1"]
    assert jobs(unwanted) == []


def test_alerts_of_one_task_share_a_job_that_has_them_all() -> None:
    (job,) = jobs(alert(task_id="T-1", zone="a"), alert(task_id="T-1", zone="b"))
    assert [a["labels"]["zone"] for a in alerts_of(job)] == ["a", "b"]


@given(st.permutations(["T-1", "T-2", "T-3", "T-4"]), st.integers(0, 4))
def test_a_job_is_named_by_its_task_wherever_it_stands(tasks: list[str], more: int) -> None:
    others = [alert("resolved")] * more
    names = {job.task_id: job.job_id for job in jobs(*others, *(alert(task_id=t) for t in tasks))}
    first = {job.task_id: job.job_id for job in jobs(*(alert(task_id=t) for t in sorted(tasks)))}
    assert names == first
    assert len(set(names.values())) == len(tasks)


def test_other_routes_say_why_no_item_matches() -> None:
    none = choose(SHIPPED, event(FIRING, notified()))
    assert none.mismatches["alert-of-a-task"] == "data.alerts holds no item"
    some = choose(SHIPPED, event(FIRING, notified(alert(), alert())))
    message = "none of 2 in data.alerts matches, in the last one label is alertname, alertname=slow"
    assert some.mismatches["alert-of-a-task"].startswith(message)


def test_an_event_whose_route_ignores_has_no_each() -> None:
    with pytest.raises(BadRoutes, match="each requires job"):
        parse("routes:\n  - {name: a, match: {type: x}, each: data.y, ignore: z}")


def test_check_shows_each_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOB_IMAGE", IMAGE)
    monkeypatch.setenv("WORKSPACE_IMAGE", FUNCTIONS)
    asked = notified(alert(task_id="T-1"), alert(task_id="T-2"))
    document = {"specversion": "1.0", "id": "1", "source": "/s", "type": FIRING, "data": asked}
    (tmp_path / "event.json").write_text(json.dumps(document))
    (tmp_path / "routes.yaml").write_text(shipped_routes())
    given = ["check", str(tmp_path / "routes.yaml"), "--event", str(tmp_path / "event.json")]

    assert main(given) == 0
    received = capsys.readouterr().out
    assert "route alert-of-a-task makes 2 Jobs:" in received
    assert received.count("job_id     assist-grafana-t-") == 2
    assert main([*given, "--json"]) == 0
    assert [job["task_id"] for job in json.loads(capsys.readouterr().out)["jobs"]] == ["T-1", "T-2"]


ROUTE = """
routes:
  - name: per-item
    match: {type: test.run}
    each: data.items
    job:
      kind: assist
      task_id: "{{ item.task }}"
      service: "{{ item.service }}"
      command: [agent, "{{ item.what }}"]
"""


@pytest.mark.parametrize(
    ("bad", "lacks"),
    [
        pytest.param({"service": "s", "what": "w"}, "item.task", id="no task"),
        pytest.param({"task": "bad", "what": "w"}, "item.service", id="no service"),
        pytest.param({"task": "bad", "service": "s"}, "item.what", id="no argument"),
        pytest.param({"task": "x" * 201, "service": "s", "what": "w"}, "201", id="too long"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_item_that_lacks_something_costs_only_itself(
    bad: dict[str, str], lacks: str, place: int
) -> None:
    items = [{"task": name, "service": "s", "what": "w"} for name in ("one", "two")]
    items.insert(place, bad)
    asked = event("test.run", {"items": items})

    found = render_requests(choose(parse(ROUTE), asked), asked, LAUNCHER)

    assert {job.task_id for job in found if not job.refusal} == {"one", "two"}
    (refused,) = (job for job in found if job.refusal)
    assert refused.refusal.startswith("route per-item: ")
    assert lacks in refused.refusal
    assert len({job.job_id for job in found}) == 3
    again = render_requests(choose(parse(ROUTE), asked), asked, LAUNCHER)
    assert [job.job_id for job in again] == [job.job_id for job in found]
