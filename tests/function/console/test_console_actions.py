"""What can be pressed in the console, with the real functions that do it."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions.console.main import console
from functions.events.agent import AgentDelivered, AgentUsage
from functions.events.approval import ApprovalRequested, ChangedFile
from functions.scheduler.main import scheduler
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.console_browser import LOCAL, REASON, UNHURRIED, browser, press
from tests.support.job_world import PYTHON_ROUTES, job_world, run_python
from tests.support.kube_server import PING_SOURCES, make_kube, serving
from tests.support.kubeconfig import kubeconfig
from tests.support.saga_world import TENANT, SagaWorld

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)


class TestOrchestrations:
    @pytest.fixture
    async def world(self, cluster: Cluster, functions_database: str) -> SagaWorld:
        world = SagaWorld(cluster, functions_database)
        cluster.deploy(console, LOCAL)
        return world

    async def test_a_run_that_waits_says_for_what(self, world: SagaWorld) -> None:
        await world.register("realm-service")
        flow = await world.execute(tenantId="test-tenant", realmName="test-realm")
        async with browser(world.cluster) as client:
            page = (await client.get(f"/orchestrations/tenantCreation/runs/{flow}")).text
            listed = (await client.get("/orchestrations")).text
        assert "no service has registered as worker for step createClient" in page
        assert "tenantCreation" in listed
        assert "1 of 2" in listed

    async def test_an_undo_shows_its_plan_and_then_takes_back(self, world: SagaWorld) -> None:
        await world.register("realm-service", "client-service")
        flow = await world.execute(tenantId="test-tenant", realmName="test-realm")
        await world.until(flow, "COMPLETED")
        at = f"/orchestrations/tenantCreation/runs/{flow}"
        async with browser(world.cluster) as client:
            plan = (await client.get(f"{at}/undo")).text
            answer = await press(client, f"{at}/undo", reason="wrong tenant")
            await world.until(flow, "UNDONE")
            page = (await client.get(at)).text
        assert plan.index("<li>client-service is asked to undo createClient, with its") < (
            plan.index("<li>realm-service is asked to undo createRealm, with its")
        )
        assert '<button class="primary danger">Undo</button>' in plan
        assert answer.headers["location"] == at
        assert "by local" in page
        assert "wrong tenant" in page

    async def test_an_undo_to_a_step_shows_that_plan_and_keeps_the_step(
        self, world: SagaWorld
    ) -> None:
        await world.register("realm-service", "client-service")
        flow = await world.execute(tenantId="test-tenant", realmName="test-realm")
        await world.until(flow, "COMPLETED")
        at = f"/orchestrations/tenantCreation/runs/{flow}/undo?to=createRealm"
        async with browser(world.cluster) as client:
            page = (await client.get(at)).text
            assert page.count("<li>client-service is asked to undo createClient") == 1
            assert "undo createRealm" not in page
            assert re.search(r"stays as it is</dt><dd>createRealm<", page)
            assert (await press(client, at, to="createRealm")).status_code == 303

        async def taken_back() -> bool:
            await world.carry()
            steps = {s["name"]: s["status"] for s in (await world.run(flow))["steps"]}
            return steps == {"createRealm": "DO_SUCCESS", "createClient": "UNDO_SUCCESS"}

        assert await eventually(taken_back)

    async def test_a_run_that_is_none_is_a_page_that_says_so(self, world: SagaWorld) -> None:
        await world.register()
        none = "00000000-0000-7000-8000-000000000000"
        async with browser(world.cluster) as client:
            for path in ("/orchestrations/none", f"/orchestrations/tenantCreation/runs/{none}"):
                answer = await client.get(path)
                assert (answer.status_code, "Not found" in answer.text) == (404, True)

    async def test_a_run_can_be_paused_and_resumed(self, world: SagaWorld) -> None:
        await world.register("realm-service")
        flow = await world.execute(tenantId="test-tenant", realmName="test-realm")
        at = f"/orchestrations/tenantCreation/runs/{flow}"
        async with browser(world.cluster) as client:
            assert (await press(client, f"{at}/pause")).status_code == 303
            assert "paused by local" in (await client.get(at)).text
            assert (await press(client, f"{at}/resume")).status_code == 303
            assert "paused by local" not in (await client.get(at)).text

    async def test_an_action_that_makes_no_sense_is_refused_with_a_reason(
        self, world: SagaWorld
    ) -> None:
        await world.register("realm-service", "client-service")
        flow = await world.execute(tenantId="test-tenant", realmName="test-realm")
        await world.until(flow, "COMPLETED")
        async with browser(world.cluster) as client:
            answer = await press(client, f"/orchestrations/tenantCreation/runs/{flow}/retry")
        assert answer.status_code == 409
        assert "nothing to retry" in answer.text

    async def test_a_retry_shows_the_payload_that_goes_again_before_it_does(
        self, world: SagaWorld
    ) -> None:
        await world.register("realm-service", "client-service")
        flow = await world.execute(relmName="misspelt")
        await world.until(flow, "FAILED")
        at = f"/orchestrations/tenantCreation/runs/{flow}"
        async with browser(world.cluster) as client:
            page = (await client.get(at)).text
            asked = (await client.get(f"{at}/retry")).text
            bulk = f"/bulk/runs?action=retry&item=tenantCreation/{flow}"
            several = (await client.get(bulk)).text
        assert "<details open><summary>Payload</summary>" in page
        for shown in (page, asked):
            assert "&#34;relmName&#34;: &#34;misspelt&#34;" in shown
        assert "refused this payload for good" in asked
        assert "The same payload goes to its services again" in several
        for shown in (asked, several):
            assert "payload.tenantId: is missing" in shown

    async def test_a_run_that_was_refused_for_good_leads_to_another_with_its_payload_edited(
        self, world: SagaWorld
    ) -> None:
        await world.register("realm-service", "client-service")
        flow = await world.execute(relmName="misspelt")
        await world.until(flow, "FAILED")
        at = f"/orchestrations/tenantCreation/runs/{flow}"
        async with browser(world.cluster) as client:
            for page in ((await client.get(at)).text, (await client.get(f"{at}/retry")).text):
                assert "will most likely fail again" in page
                assert re.search(r'class="button primary"[^>]*href="[^"]*/another"', page)
            assert '<button class="quiet">Retry</button>' in page
            form = (await client.get(f"{at}/another")).text
            assert "&#34;relmName&#34;: &#34;misspelt&#34;" in form
            key = re.findall(r'name="key" value="([^"]+)"', form)[0]
            wrong = await press(client, f"{at}/another", payload="{", key=key)
            assert (wrong.status_code, "no valid JSON" in wrong.text) == (422, True)
            payload = json.dumps({"tenantId": "test-tenant", "realmName": "test-realm"})
            sent = [
                await press(client, f"{at}/another", payload=payload, key=key, reason="mistyped")
                for _ in range(2)
            ]
            other = sent[0].headers["location"]
            assert [answer.headers["location"] for answer in sent] == [other] * 2
            assert other != at
            await world.until(other.rpartition("/")[2], "COMPLETED")
            timeline = (await client.get(f"{other}/panels/timeline")).text
        assert re.search(r"orchestration started</b>: mistyped <span[^>]*>by local<", timeline)

    async def test_a_step_that_was_not_reached_is_named_so_in_both_its_places(
        self, world: SagaWorld
    ) -> None:
        await world.register("realm-service", "client-service")
        flow = await world.execute(relmName="misspelt")
        await world.until(flow, "FAILED")
        at = f"/orchestrations/tenantCreation/runs/{flow}/panels"
        async with browser(world.cluster) as client:
            for panel in ("run", "timeline"):
                page = (await client.get(f"{at}/{panel}")).text
                assert "not reached<" in page
                assert "pending<" not in page

    async def test_a_step_without_a_worker_names_who_does_it_for_others(
        self, world: SagaWorld
    ) -> None:
        await world.register("realm-service", "client-service")
        other = TENANT | {"orchName": "other"}
        await world.post("register", json=other, headers={"X-Service-Name": "tenant-service"})
        flow = (await world.post("execute/other", json={}))["flowId"]
        async with browser(world.cluster) as client:
            page = (await client.get(f"/orchestrations/other/runs/{flow}")).text
            listed = (await client.get("/orchestrations")).text
        assert "<b>createRealm</b>: realm-service does a step of that name" in page
        assert "<dt>Waiting for</dt>" in page
        assert '<span class="chip wait">lacks workers</span>' in listed

    async def test_runs_are_found_across_orchestrations_by_name_state_and_day(
        self, world: SagaWorld
    ) -> None:
        await world.register("realm-service")
        flow = await world.execute(tenantId="test-tenant", realmName="test-realm")
        today = datetime.now(UTC).date()
        async with browser(world.cluster) as client:

            async def found(query: str) -> bool:
                page = await client.get(f"/orchestrations/panels/all_runs?{query}")
                return f"runs/{flow}" in page.text

            assert await found("name=tenant")
            assert not await found("name=other")
            assert await found("status=WAITING")
            assert not await found("status=COMPLETED")
            assert await found("stuck=true")
            assert await found(f"fromDate={today}&toDate={today}")
            assert not await found(f"toDate={today - timedelta(days=1)}")
            own = f"/orchestrations/tenantCreation/panels/runs?fromDate={today}&toDate={today}"
            assert f"runs/{flow}" in (await client.get(own)).text

    async def test_the_steps_of_a_definition_have_no_states(self, world: SagaWorld) -> None:
        await world.register("realm-service")
        flow = await world.execute(tenantId="test-tenant", realmName="test-realm")
        async with browser(world.cluster) as client:
            defined = (await client.get("/orchestrations/tenantCreation/panels/definition")).text
            at = f"/orchestrations/tenantCreation/runs/{flow}/panels/run"
            ran = (await client.get(at)).text
        assert re.findall(r'<g class="node (\w+) ', defined) == ["calm", "calm"]
        assert "createRealm: realm-service" in defined
        assert "createClient: no worker yet" in defined
        assert "<title>createRealm: pending</title>" in ran


class TestSchedules:
    async def test_each_is_shown_in_its_zone_and_run_now_sends_its_tick(
        self, cluster: Cluster, tmp_path: Path, functions_database: str
    ) -> None:
        source = {
            "apiVersion": "sources.knative.dev/v1",
            "kind": "PingSource",
            "metadata": {"name": "sprint-report", "namespace": "dsm"},
            "spec": {
                "schedule": "30 8 * * *",
                "timezone": "America/Chicago",
                "contentType": "application/json",
                "data": "{}",
                "ceOverrides": {"extensions": {"schedule": "sprint-report"}},
                "sink": {"uri": "http://example.org"},
            },
        }
        async with serving(make_kube(tmp_path / "kube")) as url:
            async with httpx.AsyncClient(base_url=url, timeout=60) as kube:
                assert (await kube.post(PING_SOURCES, json=source)).status_code == 201
            environ = {"KUBECONFIG": kubeconfig(tmp_path, url), "KUBERNETES_NAMESPACE": "dsm"}
            cluster.deploy(console, LOCAL | environ, now=lambda: NOW)
            database = {"DATABASE_URL": functions_database}
            cluster.deploy(scheduler, environ | database, now=lambda: NOW)
            async with browser(cluster) as client:
                page = (await client.get("/schedules/panels/schedules")).text
                answer = await press(client, "/schedules/sprint-report/run")
            async with cluster.client("scheduler") as asked:
                (action,) = (await asked.get("/actions")).json()["actions"]
        assert (action["who"], action["action"]) == ("local", "run")
        assert "Tue 3 Mar 2026, 08:30" in page
        assert "2026-03-03T14:30:00" in page
        assert answer.status_code == 303
        (tick,) = cluster.sink.messages
        assert tick.type == "dev.knative.sources.ping"
        assert tick.source == "/apis/v1/namespaces/dsm/pingsources/sprint-report"
        assert tick.extensions["schedule"] == "sprint-report"
        assert tick.extensions["requestedby"] == "local"
        assert tick.time == "2026-03-02T15:00:00Z"

    async def test_without_a_way_to_kubernetes_the_page_says_so(self, cluster: Cluster) -> None:
        cluster.deploy(console, LOCAL)
        async with browser(cluster) as client:
            page = (await client.get("/schedules/panels/schedules")).text
        assert "Unavailable" in page


async def sent_as(cluster: Cluster, type: str) -> list[Any]:
    """The data of what was sent of a type."""
    return [json.loads(one.data) for one in cluster.sink.messages if one.type == type]


class TestJobs:
    async def test_a_job_shows_its_log_and_can_be_stopped_by_name(
        self, cluster: Cluster, functions_database: str, tmp_path: Path
    ) -> None:
        async with job_world(cluster, functions_database, tmp_path) as world:
            cluster.deploy(console, LOCAL)
            await world.tell(run_python("import time; time.sleep(60)"))
            (job,) = await world.jobs()
            at = f"/jobs/{job['job_id']}"
            async with browser(cluster) as client:
                assert job["job_id"] in (await client.get("/jobs/panels/jobs")).text
                assert (await press(client, f"{at}/cancel")).status_code == 303

            sent = await eventually(partial(sent_as, cluster, "io.dsm.job.cancel.requested.v1"))
        assert sent == [{"job": job["job_id"], "reason": f"stopped by local: {REASON}"}]

    async def test_what_waits_for_approval_is_shown_and_decided_with_a_reason(
        self, cluster: Cluster, functions_database: str, tmp_path: Path
    ) -> None:
        routes = PYTHON_ROUTES.replace(
            "      files:", "      approval: {before: start}\n      files:"
        )
        async with job_world(cluster, functions_database, tmp_path, routes=routes) as world:
            cluster.deploy(console, LOCAL)
            await world.tell(run_python("print(1)"))
            await world.tell(run_python("print(2)", task="u"))
            second, first = [f"/jobs/{job['job_id']}" for job in await world.jobs()]
            async with browser(cluster) as client:
                assert "eeds approval" in (await client.get("/jobs/panels/jobs")).text
                panel = (await client.get(f"{first}/panels/job")).text
                assert f'href="{first}/approve"' in panel
                assert "it waits for approval, until" in panel
                assert (await press(client, f"{first}/approve")).status_code == 303
                assert (await press(client, f"{second}/reject")).status_code == 303
                await world.cluster.relayed()
                panel = (await client.get(f"{second}/panels/job")).text
                assert "Start rejected by <b>local</b>" in panel
                assert "/approve" not in panel
                assert (await client.get(f"{second}/approve")).status_code == 409
                assert f"start of job {first[6:]}" in (await client.get("/actions")).text
            decided = {one["job_id"]: one for one in world.emitted("decided")}
            assert decided[first[6:]]["by"] == "local"
            assert decided[first[6:]]["reason"] == REASON
            states = {job["job_id"]: job["state"] for job in await world.jobs()}
            assert states[second[6:]] == "cancelled"
            assert states[first[6:]] in ("starting", "running", "succeeded")

    async def test_one_that_ended_has_its_exit_code_and_is_found_by_the_status_it_shows(
        self, cluster: Cluster, functions_database: str, tmp_path: Path
    ) -> None:
        async with job_world(cluster, functions_database, tmp_path) as world:
            cluster.deploy(console, LOCAL)
            await world.tell(run_python("print(1)"))
            await world.until("queued", "started", "succeeded")
            (job,) = await world.jobs()
            async with browser(cluster) as client:
                panel = (await client.get(f"/jobs/{job['job_id']}/panels/job")).text
                page = (await client.get("/jobs?state=succeeded")).text
        assert "Ended: exit code 0" in panel
        assert "<dt>Exit code</dt><dd>0</dd>" in panel
        assert '<option value="succeeded" selected>ended, exit code 0</option>' in page
        assert f'href="/jobs/{job["job_id"]}"' in page
        assert '<span class="chip calm">ended</span>' in page

    async def test_budgets_and_costs_are_shown(
        self, cluster: Cluster, functions_database: str, tmp_path: Path
    ) -> None:
        routes = PYTHON_ROUTES + "budgets: [{group: shop, usd: 2, minutes: 60}]\n"
        async with job_world(cluster, functions_database, tmp_path, routes=routes) as world:
            cluster.deploy(console, LOCAL)
            await world.tell(run_python("print(1)", task="acme/t", group="shop"))
            await world.until("queued", "started", "succeeded")
            (job,) = await world.jobs()
            usage = AgentUsage(cost_usd=2.5, input_tokens=1200)
            place = {"job_id": job["job_id"], "task_id": "acme/t", "route": "run"}
            await world.tell(AgentDelivered(**place, settled_at=NOW, usage=usage))
            async with browser(cluster) as client:
                budgets = (await client.get("/agents/panels/budgets")).text
                costs = (await client.get("/agents/panels/costs")).text
        assert "$2.50 of $2.00" in budgets
        assert "of 60 minutes" in budgets
        assert "none until then" in budgets
        assert "acme/t" in costs
        assert "$2.50" in costs
        assert "1,200" in costs

    async def test_outputs_that_wait_are_shown_with_their_diffstat(
        self, cluster: Cluster, functions_database: str, tmp_path: Path
    ) -> None:
        async with job_world(cluster, functions_database, tmp_path) as world:
            cluster.deploy(console, LOCAL)
            await world.tell(run_python("print(1)"))
            (job,) = await world.jobs()
            waits = ApprovalRequested(
                job_id=job["job_id"],
                task_id="t",
                route="run",
                before="outputs",
                expires_at=NOW,
                wants=["a draft pull request: Keep it"],
                commits=1,
                file_count=1,
                files=[ChangedFile(path="src/a.py", additions=3, deletions=1)],
            )
            await world.tell(waits)
            async with browser(cluster) as client:
                attention = (await client.get("/panels/attention")).text
                page = (await client.get(f"/jobs/{job['job_id']}/approve")).text
                listed = (await client.get("/jobs/panels/jobs?approval=outputs")).text
        assert "work that needs approval" in attention
        assert "a draft pull request: Keep it" in page
        assert "src/a.py +3 -1" in page
        assert job["job_id"] in listed

    async def test_one_that_has_ended_can_be_retried(
        self, cluster: Cluster, functions_database: str, tmp_path: Path
    ) -> None:
        async with job_world(cluster, functions_database, tmp_path) as world:
            cluster.deploy(console, LOCAL)
            await world.tell(run_python("print('done')"))
            await world.until("queued", "started", "succeeded")
            (job,) = await world.jobs()
            at = f"/jobs/{job['job_id']}"
            async with browser(cluster) as client:
                shown = html.unescape((await client.get(f"{at}/panels/job")).text)
                assert f'href="{at}/retry"' in shown
                assert f'data-copy="curl -X POST "$JOB_LAUNCHER_URL{at}/retry""' in shown
                assert (await press(client, f"{at}/retry")).status_code == 303

            sent = await eventually(partial(sent_as, cluster, "io.dsm.job.retry.requested.v1"))
        assert sent == [{"job": job["job_id"], "reason": f"retried by local: {REASON}"}]

    @pytest.mark.parametrize(
        ("outcome", "result", "shown"),
        [
            ("recorded", None, "recorded only"),
            ("completed", None, "ended"),
            ("pending", None, "applying"),
            ("undelivered", {"reason": "no_commits", "details": ["none"]}, "undelivered"),
        ],
    )
    async def test_one_with_nothing_to_show_is_no_success(
        self, cluster: Cluster, outcome: str, result: dict[str, Any] | None, shown: str
    ) -> None:
        job: dict[str, Any] = {
            **dict.fromkeys(("reason", "route", "image", "started_at", "ended_at"), ""),
            "job_id": "j1",
            "state": "recorded" if outcome == "recorded" else "succeeded",
            "outcome": outcome,
            "result": result,
            "kind": "execute",
            "task_id": "T",
            "service": "S",
            "queued_at": "2026-03-02T15:00:00Z",
            "exit_code": 0,
            "cause": {"id": "c"},
            "last_lines": [],
            "approvals": [],
        }

        async def listed(request: Request) -> Response:
            return JSONResponse({"jobs": [dict(job)], "next": None, "total": 1})

        async def one(request: Request) -> Response:
            return JSONResponse(job)

        routes = [Route("/jobs", listed), Route("/jobs/j1", one)]
        cluster.add("job-launcher", Starlette(routes=routes))
        cluster.deploy(console, LOCAL)
        async with browser(cluster) as client:
            for path in ("/jobs/panels/jobs", "/jobs/j1/panels/job"):
                page = (await client.get(path)).text
                assert shown[1:] in page
                assert ">succeeded<" not in page
                assert '"chip good"' not in page
                assert "verdict good" not in page


EVENTS = [
    {
        "seq": seq,
        "broker": "default",
        "arrived": 1_772_463_600.0 + seq,
        "attributes": {"id": id, "type": kind, "source": source, **more},
        "data": {},
        "deliveries": [
            {
                "id": seq * 10,
                "trigger": "dsm/sprint-report-due",
                "state": "delivered",
                "attempts": [
                    {
                        "number": 1,
                        "url": "http://sprint-report.dsm.svc.cluster.local",
                        "at": 1_772_463_600.0 + seq,
                        "took_s": 0.25,
                        "status": 202,
                        "reason": None,
                        "answer": "",
                    }
                ],
            }
        ]
        if seq == 1
        else [],
    }
    for seq, id, kind, source, more in (
        (1, "a", "dev.knative.sources.ping", "/apis/ping", {}),
        (
            2,
            "b",
            "io.dsm.sprints.reported.v1",
            "/functions/sprint-report",
            {"correlationid": "a", "causationid": "a", "subject": "sprints"},
        ),
    )
]


class TestEvents:
    @pytest.fixture
    def asked(self, cluster: Cluster) -> list[dict[str, str]]:
        """A broker that tells its events; what it was asked."""
        asked: list[dict[str, str]] = []

        async def search(request: Request) -> Response:
            asked.append(dict(request.query_params))
            return JSONResponse(EVENTS[::-1])

        cluster.add("events", Starlette(routes=[Route("/_knative/events/search", search)]))
        cluster.deploy(
            console, UNHURRIED | {"EVENTS_URL": "http://events.local/_knative/events/search"}
        )
        return asked

    async def test_the_stream_passes_its_filters_to_the_broker(
        self, cluster: Cluster, asked: list[dict[str, str]]
    ) -> None:
        async with browser(cluster) as client:
            page = (await client.get("/events/panels/stream?type=sprints&subject=sprints")).text
        assert asked == [{"type": "sprints", "subject": "sprints", "limit": "80"}]
        assert "sprints.reported" in page

    async def test_a_chain_is_a_graph_and_a_table(
        self, cluster: Cluster, asked: list[dict[str, str]]
    ) -> None:
        async with browser(cluster) as client:
            page = (await client.get("/events/trace/panels/trace?correlation=a")).text
        assert page.count('class="edge"') == 2
        assert 'id="event-2"' in page
        assert "250 ms: 202" in page
        assert "<title>sprint-report-due: 202 after 250 ms</title>" in page
        assert page.count("No subscriber") == 1

    @pytest.mark.parametrize(
        ("answer", "text"),
        [(202, "handed to the dead-letter sink"), (503, "the dead-letter sink did not take it")],
    )
    async def test_what_goes_to_the_dead_letter_sink_is_no_attempt(
        self, cluster: Cluster, answer: int, text: str
    ) -> None:
        refused, handed = (
            {"at": 1.5 + n, "took_s": 0.1, "status": status, "reason": None, "answer": ""}
            | {"number": n + 1, "url": "http://x.dsm", "sink": n == 1}
            for n, status in enumerate((422, answer))
        )
        delivery = {"id": 1, "trigger": "dsm/x", "state": "dead-lettered"}
        event = EVENTS[0] | {"deliveries": [delivery | {"attempts": [refused, handed]}]}

        async def search(request: Request) -> Response:
            return JSONResponse([event])

        cluster.add("events", Starlette(routes=[Route("/search", search)]))
        cluster.deploy(console, UNHURRIED | {"EVENTS_URL": "http://events.local/search"})
        async with browser(cluster) as client:
            page = (await client.get("/events/trace/panels/trace?correlation=a")).text
            listed = (await client.get("/events/panels/stream?ticks=show")).text
        assert "1 event, 1 attempt<" in page
        assert f"<li>{text.capitalize()}" in page
        assert f"x: {text}, {answer} after 100 ms" in page
        assert ">dead-lettered<" in listed

    async def test_where_no_broker_tells_its_events_the_page_says_what_would(
        self, cluster: Cluster
    ) -> None:
        cluster.deploy(console, LOCAL)
        async with browser(cluster) as client:
            page = (await client.get("/events/panels/stream")).text
        assert "Not available here" in page
        assert "EVENTS_URL" in page
