"""Projects whose ids differ in case alone: Kubernetes has one name for both, and each its own."""

from __future__ import annotations

import httpx
import pytest

from functions.dsm.project_orchestrator.decide import schedule_manifest, schedule_name
from tests.dsm.conftest import Dsm
from tests.support.kube_server import PING_SOURCES

CAPITALS, SMALL = "GEM-001", "gem-001"
PLAIN = "run-dailyscrum-gem-001-gem-001-s01"


async def made_by_an_earlier_release(dsm: Dsm) -> None:
    """The schedule of the small one's first sprint under the name that it had."""
    manifest = schedule_manifest(SMALL, f"{SMALL}-S01", "0 14 * * 1-5", "default")
    manifest["metadata"]["name"] = PLAIN
    async with httpx.AsyncClient(base_url=dsm.kubernetes, trust_env=False) as client:
        assert (await client.post(PING_SOURCES, json=manifest)).status_code == 201


async def test_each_has_a_schedule_and_loses_its_own_alone(dsm: Dsm) -> None:
    names = {}
    for project in (CAPITALS, SMALL):
        await dsm.sprint(project)
        names[project] = (await dsm.orchestrate(project))["cronjob_name"]
    assert names[CAPITALS] == PLAIN
    assert set(await dsm.schedules()) == set(names.values())
    assert len(set(names.values())) == 2

    await dsm.finish(f"{SMALL}-S01")
    closed = await dsm.orchestrate(SMALL)
    assert f"Deleted cronjob {names[SMALL]}" in closed["actions_taken"]
    assert list(await dsm.schedules()) == [PLAIN]


async def test_a_schedule_of_an_earlier_release_stays_until_its_sprint_ends(dsm: Dsm) -> None:
    sprint = await dsm.sprint(SMALL)
    await made_by_an_earlier_release(dsm)
    assert (await dsm.orchestrate(SMALL))["actions_taken"] == []
    assert list(await dsm.schedules()) == [PLAIN]

    await dsm.finish(sprint)
    await dsm.orchestrate(SMALL)
    assert await dsm.schedules() == {}
    await dsm.backlog(SMALL)
    await dsm.orchestrate(SMALL)
    assert list(await dsm.schedules()) == [schedule_name(SMALL, f"{SMALL}-S02")]


async def test_a_name_that_is_anothers_is_neither_taken_nor_deleted(dsm: Dsm) -> None:
    await made_by_an_earlier_release(dsm)
    sprint = await dsm.sprint(CAPITALS)
    answer = await dsm.orchestrate(CAPITALS)
    assert (answer["cronjob_name"], answer["actions_taken"]) == (None, [])
    [warning] = answer["decisions"]["warnings"]
    assert PLAIN in warning
    assert f"dsm.io/project: {CAPITALS}" in warning

    await dsm.finish(sprint)
    closed = await dsm.orchestrate(CAPITALS)
    assert not closed["decisions"]["cronjob_deleted"]
    assert list(await dsm.schedules()) == [PLAIN]


@pytest.mark.parametrize("sign", ["\u212a", "k"])  # KELVIN SIGN, in lower case k
def test_capitals_of_other_alphabets_are_not_those_of_names(sign: str) -> None:
    assert schedule_name(sign, f"{sign}-S01") != schedule_name("K", "K-S01")
