"""The embedded PostgreSQL that stands in for the StatefulSet of the same name.

It outlives a SIGKILL of the runtime, and the next start attaches to it again; when it dies itself,
it is started again.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from knative.local.errors import StartError
from knative.local.manifests.core import ConfigMap, Secret, Service, StatefulSet
from knative.local.manifests.load import World
from knative.local.postgres_server import READY_WITHIN_S, PostgresServer

# What its clients see while the server ends, and while it recovers from a crash.
_AWAY = (OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)
_INIT = "/docker-entrypoint-initdb.d"
_CREATE_DATABASE = re.compile(r'^\s*CREATE\s+DATABASE\s+"?(\w+)"?', re.IGNORECASE)


class Postgres:
    """One server, started by `start`, kept by `run` until cancelled, stopped by `stop`."""

    def __init__(self, item: StatefulSet, world: World, data: Path) -> None:
        self._item = item
        self._world = world
        self.server = PostgresServer(data / "postgres")

    def hosts(self) -> dict[str, Path]:
        """Every host name that a pod would reach this server by, and the socket's directory."""
        labels = self._item.spec.template.metadata.labels
        names = {}
        for service in self._world.all(Service):
            selector = service.spec.selector
            if service.namespace == self._item.namespace and selector.items() <= labels.items():
                short = f"{service.name}.{service.namespace}"
                for host in (f"{short}.svc.cluster.local", f"{short}.svc", short, service.name):
                    names[host] = self.server.directory
        return names

    def start(self) -> None:
        """Start the server, or attach to one that runs; blocks, a second the first time."""
        self.server.start()

    async def run(self) -> None:
        """Until cancelled: start the server again whenever it has ended."""
        await self.server.watch()

    def describe(self) -> dict[str, object]:
        """State, pid and counts, as of a Service."""
        return {
            "name": self._item.name,
            "namespace": self._item.namespace,
            "state": self.server.state,
            "pid": self.server.pid,
            "starts": self.server.starts,
            "crashes": self.server.crashes,
            "requests": 0,
            "in_flight": 0,
            "reason": self.server.reason,
            "log": str(self.server.log),
        }

    async def prepare(self) -> None:
        """Create the user and the databases that the manifests ask for, if they are missing.

        Begins anew while the server recovers from a crash, for `READY_WITHIN_S` seconds at most.
        """
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                return await self._prepare()
            except _AWAY as error:
                if time.monotonic() > deadline:
                    raise StartError(f"PostgreSQL does not answer: {error}") from None
                await asyncio.sleep(0.1)

    async def _prepare(self) -> None:
        env = self._environment()
        user = env.get("POSTGRES_USER", "postgres")
        connection = await self._connect("postgres", "postgres")
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", user):
                await connection.execute(f'CREATE ROLE "{user}" SUPERUSER LOGIN')
            await self._create(connection, env.get("POSTGRES_DB", user), user)
            for _, script in sorted(self._scripts().items()):
                for statement in _statements(script):
                    created = _CREATE_DATABASE.match(statement)
                    if created:
                        await self._create(connection, created[1], user)
                    else:
                        await self._run(env.get("POSTGRES_DB", user), user, statement)
        finally:
            await connection.close()

    async def _create(self, connection: asyncpg.Connection, name: str, owner: str) -> None:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await connection.execute(f'CREATE DATABASE "{name}" OWNER "{owner}"')

    async def _run(self, database: str, user: str, statement: str) -> None:
        connection = await self._connect(database, user)
        try:
            await connection.execute(statement)
        except asyncpg.DuplicateObjectError:
            pass  # a script of /docker-entrypoint-initdb.d runs once; ours runs at each start
        except asyncpg.PostgresError as error:
            raise StartError(f"StatefulSet {self._item.name}: {_INIT}: {error}") from None
        finally:
            await connection.close()

    async def _connect(self, database: str, user: str) -> asyncpg.Connection:
        return await asyncpg.connect(host=str(self.server.directory), user=user, database=database)

    def _environment(self) -> Mapping[str, str]:
        container = self._item.spec.template.spec.containers[0]
        env = {}
        for variable in container.env:
            value = variable.value
            if variable.value_from and (key := variable.value_from.config_map_key_ref):
                config = self._world.get(ConfigMap, self._item.namespace, key.name)
                value = config.files()[key.key].decode() if config else None
            if variable.value_from and (key := variable.value_from.secret_key_ref):
                secret = self._world.get(Secret, self._item.namespace, key.name)
                value = secret.files()[key.key].decode() if secret else None
            if value is not None:
                env[variable.name] = value
        return env

    def _scripts(self) -> dict[str, str]:
        pod = self._item.spec.template.spec
        mounted = {mount.name for mount in self._item.mounts if mount.mount_path == _INIT}
        scripts = {}
        for volume in pod.volumes:
            if volume.name in mounted and volume.config_map:
                config = self._world.get(ConfigMap, self._item.namespace, volume.config_map.name)
                for name, content in (config.files() if config else {}).items():
                    if not name.endswith(".sql"):
                        raise StartError(f"ConfigMap {volume.config_map.name}: {name}: only *.sql")
                    scripts[name] = content.decode()
        return scripts

    def stop(self) -> None:
        """Stop the server and wait for it."""
        self.server.stop()


def _statements(script: str) -> list[str]:
    """The statements of a plain SQL script (no semicolons in literals)."""
    lines = [line for line in script.splitlines() if not line.lstrip().startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]


def stop_left(data: Path) -> bool:
    """Stop the server that a killed runtime left on `data`; True when there was one."""
    server = PostgresServer(data.resolve() / "postgres")
    if not server.attach():
        return False
    server.stop()
    return True
