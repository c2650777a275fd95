"""A task of the command line becomes a draft pull request, and the command says what came of it."""

from __future__ import annotations

import asyncio
import io

import httpx
import pytest

from functions.webhook_receiver.cli import commands as cli
from knative.demo.github import REPOSITORY
from tests.support import eventually
from tests.support.agent_story import ASKED, Story

pytestmark = [pytest.mark.slow]


class Inside(httpx.HTTPTransport):
    """The gateway, asked for the receiver by its host name in the cluster."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["host"] = "webhook-receiver.dsm.svc.cluster.local"
        request.headers["authorization"] = f"Bearer {self._token}"
        return super().handle_request(request)


async def dsm(story: Story, *arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    environ = {
        "WEBHOOK_URL": story.knative.url,
        "WEBHOOK_SECRET": story.knative.secret("dsm/webhook-secrets", "cli"),
    }
    transport = Inside(story.knative.token)
    code = await asyncio.to_thread(
        cli.main, arguments, environ=environ, transport=transport, out=out
    )
    return code, out.getvalue()


async def test_the_story_of_a_task(story: Story) -> None:
    create = ("task", "create", "Keep the last item", "--service", "shop", "--wait", "60")
    code, output = await dsm(
        story, *create, "--id", "T-1", "--repository", REPOSITORY, "--description", ASKED
    )
    assert code == 0, output
    [pull] = story.github.pulls[REPOSITORY].values()
    *_, delivered, link, summary = output.splitlines()
    assert delivered == "T-1 delivered"
    assert f"/pull/{pull.number}: 1 commit(s) to src/basket.py" in link
    assert summary == "  Replaced what the issue names in `src/basket.py`."
    assert (pull.draft, pull.head.startswith("agent/t-1-")) == (True, True)
    assert "Closes #" not in pull.body

    code, output = await dsm(story, *create, "--id", "T-2", "--description", ASKED)
    assert (code, output.splitlines()[-2:]) == (
        0,
        [
            "T-2 done: there was nothing to do",
            "  This agent replaces text in files, and the task names no repository.",
        ],
    )
    assert len(story.github.pulls[REPOSITORY]) == 1
    await eventually(story.knative.settled)
    assert await story.knative.given_up() == []
