"""What leaves the process while a transaction is open, or a lock over many is held, is found."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress

import pytest

from functions.kit.clients import transaction_guard
from functions.kit.clients.git import git
from functions.kit.context import Context, Resources
from functions.kit.durable.locks import CYCLE, Lock
from tests.conftest import MakeMigrated
from tests.support.repository import ROOT

NOWHERE = "http://127.0.0.1:9"  # the discard port: no server answers
EVERYTHING = Lock("everything")


async def _service(ctx: Context) -> None:
    await ctx.http.get(NOWHERE)


async def _trusted(ctx: Context) -> None:
    await ctx.resources.trusting("/etc/ssl/certs/ca-certificates.crt").get(NOWHERE)


async def _sink(ctx: Context) -> None:
    await ctx.resources.post(NOWHERE, [], b"")


async def _list(ctx: Context) -> None:
    await ctx.cluster.list("v1", "pods")


async def _watch(ctx: Context) -> None:
    async for _ in ctx.cluster.watch("v1", "pods", "", for_s=1):
        pass


async def _git(ctx: Context) -> None:
    git("version")


CALLS: Mapping[str, Callable[[Context], Awaitable[None]]] = {
    f"a call to {NOWHERE}": _service,
    f"a call to {NOWHERE} ": _trusted,
    f" a call to {NOWHERE}": _sink,
    "a call to Kubernetes": _list,
    "a call to Kubernetes ": _watch,
    "a call to git version": _git,
}


async def _statement(ctx: Context) -> None:
    async with ctx.store.connection() as connection:
        await connection.execute("SELECT 1")


async def _transaction(ctx: Context) -> None:
    async with ctx.store.transaction():
        pass


async def _claim(ctx: Context) -> None:
    async with ctx.alone(CYCLE, "project", "sprint"):
        pass


CONNECTIONS = (_statement, _transaction, _claim)


@pytest.fixture
async def ctx(make_migrated: MakeMigrated) -> AsyncIterator[Context]:
    environ = {
        "DATABASE_URL": await make_migrated(),
        "DATABASE_POOL_SIZE": "2",
    }
    resources = Resources(environ)
    yield Context(resources, "worker")
    await resources.close()
    transaction_guard.violations.clear()


@pytest.mark.parametrize("what", CALLS)
async def test_a_call_in_a_transaction_is_found(ctx: Context, what: str) -> None:
    async with ctx.store.transaction():
        with suppress(Exception):
            await CALLS[what](ctx)
    assert transaction_guard.violations[:1] == [f"{what.strip()} while a transaction is open"]


@pytest.mark.parametrize("what", CALLS)
async def test_a_call_under_a_lock_over_many_is_found(ctx: Context, what: str) -> None:
    async with ctx.alone(EVERYTHING):
        with suppress(Exception):
            await CALLS[what](ctx)
    assert transaction_guard.violations[:1] == [
        f"{what.strip()} while the lock 'everything' is held"
    ]


@pytest.mark.parametrize("connect", CONNECTIONS)
async def test_a_second_connection_in_a_transaction_is_found(
    ctx: Context, connect: Callable[[Context], Awaitable[None]]
) -> None:
    async with ctx.store.transaction():
        await connect(ctx)
    assert transaction_guard.violations == ["a second connection while a transaction is open"]


async def test_what_holds_nothing_may_do_all_of_it(ctx: Context) -> None:
    async with ctx.alone(CYCLE, "project", "sprint"):
        for work in (*CALLS.values(), _statement, _transaction):
            with suppress(Exception):
                await work(ctx)
    assert not transaction_guard.violations


# Ways out of a process, and the modules that may open one: each call is reported to the guard there
# or by `Context`, or they serve no request.
WAY_OUT = re.compile(
    r"httpx\.(?:Async)?Client\(|ClientSession\(|asyncpg\.(?:connect|create_pool)\("
    r"|subprocess\.|create_subprocess|urlopen|open_connection|PoolManager\(|create_engine\("
)
KNOWN = {
    *("kit/context.py", "kit/clients/git.py", "kit/clients/sink.py", "kit/clients/kubernetes.py"),
    "kit/durable/database.py",
    # Programs of their own.
    *("kit/durable/migrate.py", "kit/clients/api_command.py", "webhook_receiver/cli/commands.py"),
}


def test_no_other_module_has_a_way_out() -> None:
    folder = ROOT / "functions"
    found = {
        str(file.relative_to(folder))
        for file in folder.rglob("*.py")
        if "agent_pod" not in file.parts and WAY_OUT.search(file.read_text())
    }
    assert found - KNOWN == set()
