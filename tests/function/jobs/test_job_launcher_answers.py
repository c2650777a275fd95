"""Whatever Kubernetes answers, the request has a defined outcome, in words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import stamina

from functions.job_launcher.main import job_launcher, start
from functions.kit import cloudevents
from functions.kit.context import Context
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.job_world import PYTHON_ROUTES, World, asked, queue_locked
from tests.support.kubernetes_peer import KubePeer, Say, kube_peer

NO_RIGHT = (
    'jobs.batch is forbidden: User "system:serviceaccount:dsm:job-launcher" cannot create '
    'resource "jobs" in API group "batch" in the namespace "agents"'
)
MADE = {"metadata": {"name": "x", "uid": "u"}, "kind": "Job"}
NOTHING: dict[str, Any] = {"items": []}


def files_of(uid: str) -> dict[str, Any]:
    """The ConfigMap of a Job."""
    return {"metadata": {"name": "x", "ownerReferences": [{"uid": uid}]}}


def deploy(cluster: Cluster, database: str, peer: KubePeer, **environ: str) -> World:
    (peer.folder / "routes.yaml").write_text(PYTHON_ROUTES)
    serve(cluster, database, peer, None, **environ)
    return World(cluster, None, cluster.client("unused"))


def serve(
    cluster: Cluster,
    database: str,
    peer: KubePeer,
    now: Callable[[], datetime] | None = None,
    **environ: str,
) -> Context:
    """A process of the launcher, with the routes that are there."""
    return cluster.deploy(
        job_launcher,
        {
            "DATABASE_URL": database,
            "ROUTES_FILE": str(peer.folder / "routes.yaml"),
            "KUBECONFIG": peer.kubeconfig,
            "KUBERNETES_NAMESPACE": "agents",
            "JOB_IMAGE": "anthropic/claude-code",
            "KUBERNETES_TIMEOUT_S": "2",
            **environ,
        },
        now=now,
    )


async def send(cluster: Cluster, message: cloudevents.Message) -> None:
    """Deliver an event, and wait for nothing but its answer."""
    headers, body = cloudevents.encode(message)
    async with httpx.AsyncClient(transport=cluster, base_url="http://job-launcher") as client:
        assert (await client.post("/", headers=headers, content=body)).status_code == 202


async def crash_after_commit(cluster: Cluster, database: str, message: cloudevents.Message) -> None:
    """Deliver an event to a process that dies before it has made a Job of it."""
    async with queue_locked(database) as waiting:
        await send(cluster, message)

        async def looks_at_the_queue() -> bool:
            return await waiting() == 1

        await eventually(looks_at_the_queue)
        await cluster.crash("job-launcher")


@pytest.mark.parametrize(
    ("answers", "state", "reason"),
    [
        pytest.param(
            [Say(403, NO_RIGHT)],
            "queued",
            "service account may not create jobs in agents",
            id="no right",
        ),
        pytest.param(
            [Say(403, 'jobs.batch "x" is forbidden: exceeded quota: jobs')],
            "queued",
            "the quota of namespace agents is used up",
            id="quota",
        ),
        pytest.param(
            [Say(404, 'namespaces "agents" not found')],
            "queued",
            "namespace agents does not exist",
            id="no namespace",
        ),
        pytest.param([Say(401)], "queued", "the token is wrong or has expired", id="expired"),
        pytest.param(
            [Say(429, "slow down", {"Retry-After": "30"})], "queued", "Kubernetes is busy", id="429"
        ),
        pytest.param([Say(503, "later")], "queued", "Kubernetes: 503 later", id="5xx"),
        pytest.param([Say(0)], "queued", "Kubernetes cannot be reached", id="closed"),
        pytest.param(
            [Say(422, 'Job.batch "x" is invalid: spec.template: bad')],
            "failed",
            'Refused: Kubernetes refuses jobs (422): Job.batch "x" is invalid: spec.template',
            id="422",
        ),
        pytest.param([Say(400, "not a Job")], "failed", "Refused: Kubernetes refuses", id="400"),
        pytest.param(
            [Say(409, "already exists"), Say(200, body=MADE)],
            "failed",
            "exists that belongs to another request",
            id="somebody else's",
        ),
        pytest.param(
            [Say(201, body=MADE), Say(409, "already exists"), Say(200, body=files_of("u"))],
            "starting",
            "",
            id="files are there",
        ),
        pytest.param(
            [Say(201, body=MADE), Say(409, "already exists"), Say(200, body=files_of("older"))],
            "queued",
            "already exists",
            id="files of an older Job",
        ),
        pytest.param(
            [Say(201, body=MADE), Say(409, "cannot be fulfilled on resourcequotas"), Say(404)],
            "queued",
            "cannot be fulfilled on resourcequotas",
            id="a busy quota",
        ),
    ],
)
async def test_an_answer_has_an_outcome(
    cluster: Cluster,
    functions_database: str,
    tmp_path: Path,
    answers: list[Say],
    state: str,
    reason: str,
) -> None:
    async with kube_peer(tmp_path, *answers) as peer:
        world = deploy(cluster, functions_database, peer)
        await world.tell(asked("e1"))

        (job,) = await world.jobs()
        assert job["state"] == state
        assert reason in job["reason"]
        # The second fact of a Job leaves once the first one has.
        await world.until(*(["queued", "failed"] if state == "failed" else ["queued"]))


async def test_a_short_trouble_is_tried_again_at_once(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    answers = [Say(503, "once"), Say(0), Say(201, body=MADE)]
    async with kube_peer(tmp_path, *answers) as peer:
        world = deploy(cluster, functions_database, peer)
        with stamina.set_testing(True, attempts=3):
            await world.tell(asked("e1"))

        assert (await world.jobs())[0]["state"] == "starting"


async def test_what_waited_is_launched_by_a_later_sweep(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    nothing = Say(200, body=NOTHING)
    refused = Say(404, 'namespaces "agents" not found')
    async with kube_peer(tmp_path, refused, nothing, nothing, Say(201, body=MADE)) as peer:
        world = deploy(cluster, functions_database, peer)
        await world.tell(asked("e1"))
        later = datetime.now(UTC) + timedelta(seconds=90)
        serve(cluster, functions_database, peer, now=lambda: later)
        await world.sweep()

        assert (await world.jobs())[0]["state"] == "starting"


async def test_a_request_that_waits_too_long_fails_and_says_what_for(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    refused = Say(404, 'namespaces "agents" not found')
    async with kube_peer(tmp_path, refused) as peer:
        world = deploy(cluster, functions_database, peer)
        await world.tell(asked("e1"))
        later = datetime.now(UTC) + timedelta(days=2)
        serve(cluster, functions_database, peer, now=lambda: later)
        await world.sweep()

        (fact,) = world.emitted("failed")
        assert fact["reason"] == "NotLaunched"
        assert fact["message"].endswith("namespace agents does not exist")


@pytest.mark.parametrize("starts", [True, False], ids=["as it starts", "with its sweep"])
async def test_a_crash_between_claim_and_creation_is_finished_by_the_next_process(
    cluster: Cluster, functions_database: str, tmp_path: Path, starts: bool
) -> None:
    async with kube_peer(tmp_path, Say(201, body=MADE)) as peer:
        world = deploy(cluster, functions_database, peer)
        await crash_after_commit(cluster, functions_database, asked("e1"))
        assert (peer.requests, world.types()) == ([], ["queued"])

        ctx = serve(cluster, functions_database, peer)  # another process
        if starts:
            await start(ctx)
            await cluster.relayed()
        else:
            peer.judge = lambda request, _: Say(200, body=NOTHING) if "GET" in request else None
            await world.sweep()

        posts = [request for request in peer.requests if request.endswith("/jobs")]
        assert len(posts) == 1
        assert world.types() == ["queued"]


async def test_what_a_dead_process_was_making_is_made_once_its_lease_ends(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    async with kube_peer(tmp_path, Say(201, body=MADE)) as peer:
        world = deploy(cluster, functions_database, peer)
        await crash_after_commit(cluster, functions_database, asked("e1"))
        lease = "UPDATE job SET launching_until = now() + make_interval(secs => $1)"
        database = await asyncpg.connect(functions_database)
        await database.execute(lease, 2.0)
        await start(serve(cluster, functions_database, peer))
        await cluster.relayed()
        assert (await world.jobs())[0]["state"] == "queued"
        assert peer.requests == []
        await database.close()

        async def is_made() -> bool:
            return bool((await world.jobs())[0]["state"] == "starting")

        await eventually(is_made)


async def test_a_request_that_no_manifest_can_be_made_of_costs_only_itself(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    async with kube_peer(tmp_path, Say(201, body=MADE)) as peer:
        world = deploy(cluster, functions_database, peer)
        async with queue_locked(functions_database):
            await send(cluster, asked("e1", task="bad"))
            await send(cluster, asked("e2", task="good"))
            database = await asyncpg.connect(functions_database)
            await database.execute(
                """UPDATE job SET request = jsonb_set(request, '{files}', '7')
                   WHERE task_id = 'bad'"""
            )
            await database.close()
        await cluster.relayed()

        assert {job["task_id"]: job["state"] for job in await world.jobs()} == {
            "bad": "queued",
            "good": "starting",
        }
        (bad,) = await world.jobs(task="bad")
        assert bad["reason"].startswith(("AttributeError", "TypeError"))


async def test_a_crash_after_creation_ends_in_adoption(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    ours: dict[str, Any] = {
        "metadata": {"name": "x", "uid": "u", "annotations": {"jobs.dsm.io/cause": "/tests#e1"}}
    }
    answers = [Say(409, "already exists"), Say(200, body=ours), Say(201, body=MADE)]
    async with kube_peer(tmp_path, *answers) as peer:
        world = deploy(cluster, functions_database, peer)
        await world.tell(asked("e1"))

        assert (await world.jobs())[0]["state"] == "starting"
        assert [r.split(" ")[0] for r in peer.requests] == ["POST", "GET", "POST"]


LEASED_BY_THE_DEAD = """UPDATE job SET launching_until = now(), granted = '{"usd": 10}'"""
BUDGET = "budgets:\n  - {group: shop, usd: 10}\n"


@pytest.mark.parametrize(
    ("answer", "granted"),
    [
        pytest.param(None, 10.0, id="its process died"),
        pytest.param(Say(0), 10.0, id="the answer was lost"),
        pytest.param(Say(403, "exceeded quota: jobs"), 20.0, id="there is none"),
    ],
)
async def test_a_job_that_may_be_there_keeps_what_it_was_granted(
    cluster: Cluster, functions_database: str, tmp_path: Path, answer: Say | None, granted: float
) -> None:
    """Its environment has the limit of the first time, whatever its group has left since."""
    nothing = Say(200, body=NOTHING)
    async with kube_peer(tmp_path, answer or nothing) as peer:
        world = deploy(cluster, functions_database, peer)
        routes = peer.folder / "routes.yaml"
        routes.write_text(PYTHON_ROUTES + BUDGET)
        if answer is None:
            await crash_after_commit(cluster, functions_database, asked("e1", group="shop"))
            database = await asyncpg.connect(functions_database)
            await database.execute(LEASED_BY_THE_DEAD)
            await database.close()
        else:
            serve(cluster, functions_database, peer)
            await world.tell(asked("e1", group="shop"))
            assert (await world.jobs())[0]["state"] == "queued"
        routes.write_text(PYTHON_ROUTES + BUDGET.replace("10", "20"))
        peer.judge = lambda request, _: nothing if "GET" in request else Say(201, body=MADE)
        later = datetime.now(UTC) + timedelta(seconds=90)
        serve(cluster, functions_database, peer, now=lambda: later)
        await world.sweep()

        (job,) = await world.jobs()
        assert (job["state"], job["granted"]) == ("starting", {"usd": granted})


async def test_many_requests_at_once_never_exceed_the_limit(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    async with kube_peer(tmp_path, Say(201, body=MADE)) as peer:
        world = deploy(cluster, functions_database, peer, JOB_CONCURRENCY="3")
        await asyncio.gather(*(world.tell(asked(f"e{n}", task=str(n))) for n in range(8)))

        states = [job["state"] for job in await world.jobs()]
        assert (states.count("starting"), states.count("queued")) == (3, 5)
        reasons = {job["reason"] for job in await world.jobs(state="queued")}
        assert reasons == {"3 of 3 jobs are active"}
