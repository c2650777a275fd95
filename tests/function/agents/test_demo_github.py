"""What `make run` starts of GitHub: the tests' stand-in, whose hook loses a delivery."""

from __future__ import annotations

import asyncio

import httpx

from knative.demo.__main__ import OVERLAY
from knative.demo.github import HOOK, REPOSITORY, asked, is_asked, standin, with_key
from knative.local.manifests.core import Secret
from knative.local.manifests.load import load


async def test_a_delivery_is_lost_and_in_the_list_of_the_hook_that_the_receiver_compares() -> None:
    world = asked(await asyncio.to_thread(load, OVERLAY))
    assert is_asked(world)
    secret = world.get(Secret, "dsm", "github")
    assert secret is not None
    settings = {key: value.decode() for key, value in secret.files().items()}
    assert (settings["hooks"], settings["api-url"]) == (HOOK, "http://github.dsm.svc.cluster.local")
    issue = {
        **{"secret": "s", "proxy": "http://127.0.0.1:9", "url": "http://receiver.example"},
        **{"repository": REPOSITORY, "files": {"a": "b"}, "number": 7, "title": "t", "body": "b"},
        **{"label": "agent", "fate": "lost"},
    }
    token = {"Authorization": f"Bearer {settings['token']}"}
    async with (
        standin(world) as url,
        httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as github,
    ):
        opened = (await github.post("/_world/issue", json=issue)).json()
        assert opened["number"] == 7
        assert (await github.get(f"/{HOOK}/deliveries")).status_code == 401
        [made] = (await github.get(f"/{HOOK}/deliveries", headers=token)).json()
        assert (made["event"], made["action"], made["status_code"]) == ("issues", "labeled", 502)
        again = (await github.post("/_world/issue", json=issue | {"number": 0})).json()
        assert again["number"] == 8
        newest, _ = (await github.get(f"/{HOOK}/deliveries", headers=token)).json()
        assert newest["id"] > made["id"] > 1_700_000_000_000, "later than those of earlier runs"


async def test_a_key_for_agents_is_a_secret_of_theirs_unless_there_is_one() -> None:
    world = await asyncio.to_thread(load, OVERLAY)
    assert with_key(world, "") is world
    with_one = with_key(world, "sk-1")
    secret = with_one.get(Secret, "agents", "agent-credentials")
    assert secret is not None
    assert secret.files() == {"anthropic-api-key": b"sk-1"}
    assert with_key(with_one, "sk-2") is with_one
