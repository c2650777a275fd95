"""What is selected in a list is acted on at once, with a result for each."""

from __future__ import annotations

import re
from pathlib import Path

from functions.console.main import console
from tests.support.cluster import Cluster
from tests.support.console_browser import LOCAL, UNHURRIED, browser, press
from tests.support.job_world import job_world, run_python
from tests.support.saga_world import SagaWorld


def results(page: str, id: str = "") -> dict[str, str]:
    """The outcome of each item; `id` is what the links' ids begin with, where they have any."""
    link = rf'<a id="{id}-[^"]+" href="[^"]+">' if id else r'<a href="[^"]+">'
    rows = re.findall(
        link + r"([^<]+)</a>(?:<small>[^<]*</small>)?</th>"
        r'<td data-label="Outcome"><span class="[^"]+">([^<]+)<',
        page,
    )
    return dict(rows)


async def test_selected_dead_letters_are_dismissed_for_a_reason(dead_letters: Cluster) -> None:
    dead_letters.deploy(console, LOCAL)
    async with browser(dead_letters) as client:
        listed = (await client.get("/dead-letters/panels/dead_letters")).text
        asked = "/bulk/dead-letters?item=1&item=2&action=dismiss"
        page = (await client.get(asked)).text
        answer = await press(client, asked, items="1\n2\n999", reason="a test of the sender")
        done = (await client.get(answer.headers["location"])).text
        again = await press(client, asked, items="1", reason="once more")
        one = (await client.get("/dead-letters/1/panels/dead_letter")).text
        actions = (await client.get("/actions/panels/actions")).text
    assert 'name="item" form="select-dead-letters"' in listed
    assert "Dismiss 2 dead letters?" in page
    assert answer.status_code == 303, "a reload does nothing again"
    assert "2 dead letters dismissed; 1 not dismissed; 999: " in done
    assert results(done, "sent") == {"1": "dismissed", "2": "dismissed", "999": "not found"}
    assert results(again.text) == {"1": "failed"}
    assert "a test of the sender" in one
    assert actions.count("a test of the sender") == 2
    assert re.search(r'dismissed <a [^>]+href="/dead-letters/2">dead letter 2</a><small>', actions)
    assert 'href="/dead-letters" aria-current="page"' in page
    assert 'data-copy="lost-1"' in page
    assert "scheduler is unavailable" in actions


async def test_what_is_sent_again_is_named_before_and_after(dead_letters: Cluster) -> None:
    dead_letters.deploy(console, LOCAL)
    async with browser(dead_letters) as client:
        asked = "/bulk/dead-letters?item=1&item=2&action=redrive"
        page = (await client.get(asked)).text
        single = (await client.get("/dead-letters/1/redrive")).text
        answer = await press(client, asked, items="1\n2")
        done = await client.get(answer.headers["location"])
    named = "cycle.requested · &lt;b&gt;NOBODY&lt;/b&gt;"
    assert page.count(f"</code> {named} <button") == 2
    assert page.count("<small>cycle-trigger refused it for good") == 2
    assert page.count("It was refused for good: it likely will be again") == 2
    assert "unless it is edited" in single
    assert done.text.count(f"<small>{named}</small>") == 2
    assert 'data-part="redriven"' in done.text


async def test_selected_runs_are_cancelled(cluster: Cluster, functions_database: str) -> None:
    world = SagaWorld(cluster, functions_database)
    cluster.deploy(console, LOCAL)
    await world.register()
    flows = [await world.execute(tenantId="t", realmName=f"r{number}") for number in range(2)]
    items = [f"tenantCreation/{flow}" for flow in flows]
    async with browser(cluster) as client:
        listed = (await client.get("/orchestrations/panels/all_runs")).text
        asked = f"/bulk/runs?action=cancel&item={items[0]}"
        done = await press(client, asked, items="\n".join(items))
        wrong = await press(client, f"/bulk/runs?action=retry&item={items[0]}", items=items[0])
    assert all(f'value="{item}"' in listed for item in items)
    assert len(results(done.text)) == 2
    assert "failed" not in results(done.text).values()
    assert results(wrong.text).keys() == {items[0]}


async def test_selected_jobs_are_stopped(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    async with job_world(cluster, functions_database, tmp_path) as world:
        cluster.deploy(console, LOCAL)
        await world.tell(run_python("import time; time.sleep(60)"))
        (job,) = await world.jobs()
        async with browser(cluster) as client:
            listed = (await client.get("/jobs/panels/jobs")).text
            asked = f"/bulk/jobs?action=cancel&item={job['job_id']}"
            confirm = (await client.get(asked)).text
            done = await press(client, asked, items=job["job_id"])
            actions = (await client.get("/actions/panels/actions")).text
            agents = (await client.get("/agents/panels/agents")).text
    assert f"</code> {job['task_id']} <button" in confirm
    assert "No agent yet" not in agents
    assert "1 Job without one" in agents
    assert f'href="/jobs/{job["job_id"]}">job {job["job_id"]}</a>' in actions
    assert f'value="{job["job_id"]}"' in listed
    assert results(done.text) == {job["job_id"]: "asked to stop"}


async def test_nothing_selected_and_no_such_action_are_refused(dead_letters: Cluster) -> None:
    dead_letters.deploy(console, LOCAL)
    async with browser(dead_letters) as client:
        nothing = await client.get("/bulk/dead-letters?action=dismiss")
        unknown = await client.get("/bulk/dead-letters?action=paint&item=1")
    assert (nothing.status_code, unknown.status_code) == (422, 404)
    assert "Nothing is selected" in nothing.text
    assert '<a class="button quiet" href="/dead-letters">Back</a>' in nothing.text
    assert "Dismiss 0" not in nothing.text


async def test_who_may_not_act_selects_nothing(dead_letters: Cluster) -> None:
    dead_letters.deploy(console, UNHURRIED)
    async with browser(dead_letters) as client:
        page = (await client.get("/dead-letters/panels/dead_letters")).text
        refused = await press(client, "/bulk/dead-letters?item=1&action=redrive", items="1")
    assert "checkbox" not in page
    assert refused.status_code == 403
