"""GitHub on the laptop: the tests' stand-in as a process, and the agents' Secrets."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from knative.local.manifests.core import Secret
from knative.local.manifests.load import World
from knative.local.random_secrets import ANNOTATION

REPOSITORY = "acme/shop"
HOOK = f"repos/{REPOSITORY}/hooks/1"
NAME = "github.dsm"  # of the cluster, as --map maps it
ROOT = Path(__file__).resolve().parents[2]
_SECRET, _NAMESPACE = "github", "dsm"
_CREDENTIALS = ("agents", "agent-credentials")


@asynccontextmanager
async def standin(world: World) -> AsyncIterator[str]:
    """Yield its URL; empty where there is none, as in an installed wheel, or no git."""
    if not (ROOT / "tests" / "support" / "github_process.py").is_file():
        yield ""
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.github_process", HOOK),
        cwd=ROOT,
        env={**os.environ, "GITHUB_TOKEN": _files(world).get("token", b"").decode()},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None, "a pipe"
    assert process.stdout is not None, "a pipe"
    try:
        line = await process.stdout.readline()
        yield str(json.loads(line)["url"]) if line else ""
    finally:
        process.stdin.close()
        await process.wait()


def asked(world: World) -> World:
    """The world with a hook that webhook-receiver compares, unless its Secret is a user's own."""
    held = world.get(Secret, _NAMESPACE, _SECRET)
    if held is None or ANNOTATION not in held.metadata.annotations:
        return world
    known = {**held.string_data, "hooks": HOOK, "token": uuid4().hex}
    secret = held.model_copy(update={"string_data": known})
    return replace(world, objects=(*(one for one in world.objects if one is not held), secret))


def with_key(world: World, key: str) -> World:
    """The world with the model's key for agents, unless it has one, or there is no key."""
    if not key or world.get(Secret, *_CREDENTIALS) is not None:
        return world
    namespace, name = _CREDENTIALS
    secret = Secret.model_validate(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": {"anthropic-api-key": key},
        }
    )
    return replace(world, objects=(*world.objects, secret))


def is_asked(world: World) -> bool:
    """Does the receiver compare the stand-in's hook?"""
    return _files(world).get("hooks") == HOOK.encode()


def _files(world: World) -> dict[str, bytes]:
    secret = world.get(Secret, _NAMESPACE, _SECRET)
    return secret.files() if secret else {}
