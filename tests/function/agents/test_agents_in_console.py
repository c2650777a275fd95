"""The console shows what agents left, what it cost and where it is, by issue."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions.console.main import console
from tests.support.agent_world import WANTED, AgentWorld
from tests.support.cluster import Cluster
from tests.support.console_browser import LOCAL, browser


async def test_an_issue_has_its_cost_over_all_its_jobs_and_its_pull_request(
    agents: AgentWorld,
) -> None:
    for job, cost, turns in (("job-1", 0.25, 3), ("job-2", 0.5, 4)):
        usage = {"cost_usd": cost, "turns": turns}
        text = f"turn {turns}\n"
        await (await agents.pod(job)).run({"src/basket.py": text}, WANTED | {"usage": usage})
    agents.cluster.deploy(console, LOCAL)
    async with browser(agents.cluster) as client:
        page = (await client.get("/agents/panels/agents")).text
    assert "1 issue, $0.750 in all" in page
    assert page.count("acme/shop#1</a>") == 1
    assert 'data-label="Cost">$0.750<' in page
    assert 'data-label="Turns">7<' in page
    assert f">pull request #{agents.pulls[0].number}</a>" in page
    # The launcher is away: what the others answered is here all the same.
    assert "job-launcher is unavailable" in page


async def test_a_job_has_what_its_agent_left(agents: AgentWorld) -> None:
    usage = {"cost_usd": 0.25, "turns": 3, "input_tokens": 12_000, "output_tokens": 800}
    await (await agents.pod()).run(outputs=WANTED | {"usage": usage, "summary": "Kept it."})
    pod = await agents.pod("job-2", branch="agent/2")
    await pod.prepare()
    pod.says({"nothing_to_do": "It works as it is."})
    await pod.collect()
    agents.cluster.deploy(console, LOCAL)
    async with browser(agents.cluster) as client:
        one, two, none = [
            (await client.get(f"/jobs/{job}/panels/outputs")).text
            for job in ("job-1", "job-2", "job-3")
        ]
    assert ">delivered<" in one
    assert "Kept it." in one
    assert "12,000, 800" in one
    assert "src/basket.py" in one
    assert ">undelivered<" in two
    assert "It works as it is." in two
    assert "No outputs" in none


async def test_what_the_network_refused_an_agent_is_shown(cluster: Cluster) -> None:
    job = {
        **dict.fromkeys(("reason", "kind", "service", "group", "image", "outcome"), ""),
        **dict.fromkeys(("queued_at", "started_at", "ended_at", "exit_code", "result"), None),
        "job_id": "job-1",
        "task_id": "acme/shop#1",
        "repository": "acme/shop",
        "route": "issue-labelled-agent",
        "state": "failed",
        "cause": {"id": "1"},
        "approval": None,
        "approvals": [],
        "blocked": ["evil.example:443 (2 times)"],
    }

    async def jobs(request: Request) -> Response:
        return JSONResponse({"jobs": [job], "next": None, "total": 1})

    async def one(request: Request) -> Response:
        return JSONResponse(job)

    launcher = Starlette(routes=[Route("/jobs", jobs), Route("/jobs/job-1", one)])
    cluster.add("job-launcher", launcher)
    cluster.deploy(console, LOCAL)
    async with browser(cluster) as client:
        listed = (await client.get("/agents/panels/agents")).text
        page = (await client.get("/jobs/job-1/panels/job")).text
    assert "refused by its network: evil.example:443 (2 times)" in listed
    assert "Its network refused evil.example:443 (2 times)." in page
