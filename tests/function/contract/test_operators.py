"""What changes other users' things is for operators, wherever callers are known."""

from __future__ import annotations

import pytest

from functions.dead_letter.main import dead_letter
from functions.job_launcher.main import job_launcher
from functions.kit.context import Context, Resources
from functions.kit.contract.callers import Caller, Forbidden, check_operator
from functions.scheduler.main import scheduler
from tests.support.cluster import Cluster, assert_problem
from tests.support.issuer import CALLER, ENVIRON, Issuer, bearer

OPERATOR = "system:serviceaccount:dsm:operator"
ASKED = {"by": "somebody", "reason": "why not"}
CHANGES = [
    (dead_letter, "/dead-letters/1/redrive", {}),
    (dead_letter, "/dead-letters/1/dismiss", {"reason": "x"}),
    (dead_letter, "/dead-letters/1/delete", {"reason": "x"}),
    (dead_letter, "/redrive", {"state": "open"}),
    (dead_letter, "/dismiss", {"state": "open", "reason": "x"}),
    (job_launcher, "/jobs/x/cancel", {}),
    (scheduler, "/schedules/sprint-report/pause", ASKED),
    (scheduler, "/schedules/sprint-report/resume", ASKED),
    (scheduler, "/schedules/sprint-report/run", ASKED),
    (scheduler, "/schedules/sprint-report/backfill", ASKED),
    (scheduler, "/backfills/1/cancel", ASKED),
]


@pytest.mark.parametrize(("called", "path", "body"), CHANGES, ids=[path for _, path, _ in CHANGES])
async def test_a_caller_that_is_no_operator_changes_nothing(
    cluster: Cluster, functions_database: str, called: object, path: str, body: object
) -> None:
    issuer = Issuer()
    cluster.add("issuer", issuer.app)
    who = {"OIDC_CALLERS": f"{CALLER},{OPERATOR}", "OIDC_OPERATORS": OPERATOR}
    name = cluster.deploy(called, {"DATABASE_URL": functions_database, **ENVIRON, **who}).function
    async with cluster.client(name.replace("_", "-")) as client:
        claims = {"X-User": "ada"}
        refused = await client.post(path, json=body, headers=claims | bearer(issuer.token()))
        assert refused.status_code == 403
        assert_problem(refused)
        assert "OIDC_OPERATORS" in refused.json()["detail"]
        taken = await client.post(path, json=body, headers=bearer(issuer.token(OPERATOR)))
        assert taken.status_code not in (401, 403), "it goes by the body"


@pytest.mark.parametrize("setting", ["OIDC_AUDIENCE", "OIDC_OPERATORS"])
def test_where_operators_are_named_an_unknown_caller_is_none(setting: str) -> None:
    def asked(environ: dict[str, str], **scope: object) -> None:
        resources = Resources(environ)
        check_operator(scope, Context(resources, "f", resources.now))

    asked({})
    with pytest.raises(Forbidden):
        asked({setting: OPERATOR})
    asked({"OIDC_AUDIENCE": "a", "OIDC_OPERATORS": OPERATOR}, caller=Caller(OPERATOR))
