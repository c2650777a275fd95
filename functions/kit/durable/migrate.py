"""Bring databases up to the schema that this code needs: `python -m functions.kit.durable.migrate`.

A folder with `migrations/` owns the tables in it. The files are Alembic revisions named
`0001_what.py`, whose revision id is the number. Each owner has a version table of its own, and
all of it waits in line on one lock, so any number of processes may start it at once. A schema that
is newer than the code is left alone: migrations only add, so a rolled back image works with it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from functions.kit.durable.locks import MIGRATION
from functions.kit.settings import BadSetting, DatabaseSettings, ProcessSettings
from functions.kit.telemetry import log

if TYPE_CHECKING:
    from sqlalchemy import Connection

logger = logging.getLogger(__name__)

HERE = Path(__file__).resolve().parent
FUNCTIONS = HERE.parents[1]


@dataclass(frozen=True)
class Owner:
    """An owner of tables: the folder of its migrations, and the newest revision."""

    name: str
    migrations: Path

    @property
    def version_table(self) -> str:
        return f"{self.name}_version"

    @property
    def head(self) -> str:
        return max(p.name.partition("_")[0] for p in self.migrations.glob("[0-9]*_*.py"))


KIT = Owner("kit", HERE / "migrations")


def owner_of(folder: Path) -> Owner | None:
    """The owner that a function's folder is, if it has tables."""
    migrations = folder / "migrations"
    return Owner(folder.name, migrations) if migrations.is_dir() else None


def owners(parent: Path = FUNCTIONS) -> dict[str, Owner]:
    """The owners among the functions of a folder, by name."""
    folders = sorted(p.parent for p in parent.glob("*/main.py"))
    return {o.name: o for o in map(owner_of, folders) if o is not None}


async def upgrade(url: str, *which: Owner) -> None:
    """Upgrade the tables of the kit and of `which` in the database at `url`."""
    if await _current(url, KIT, *which):
        return
    import asyncpg
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    # SQLAlchemy's URLs know no socket directories as asyncpg's do; asyncpg connects itself.
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url), poolclass=NullPool
    )
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION.key()})")
        for owner in (KIT, *which):
            await connection.run_sync(_upgrade, owner)
    await engine.dispose()


async def _current(url: str, *which: Owner) -> bool:
    """Is nothing to be done? Asked first, as Alembic takes half a second to come."""
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        for owner in which:
            at = await connection.fetchval(f"SELECT max(version_num) FROM {owner.version_table}")
            if not _is_there(owner, at):
                return False
    except asyncpg.UndefinedTableError:
        return False
    finally:
        await connection.close()
    return True


def _is_there(owner: Owner, at: str | None) -> bool:
    """Is the schema the one that this code needs, or newer? Revisions are numbers in order."""
    if at is not None and at > owner.head:
        logger.info(
            "schema of %s is at %s, newer than %s of this code: nothing to do",
            *(owner.name, at, owner.head),
        )
    return at is not None and at >= owner.head


async def await_server(url: str, timeout_s: float) -> None:
    """Wait until the server answers, which may start meanwhile; raises its last error."""
    import asyncpg
    import stamina

    not_yet = (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError)
    attempts = stamina.retry_context(
        on=not_yet, attempts=None, timeout=timeout_s, wait_initial=0.2, wait_max=5.0
    )
    async for attempt in attempts:
        with attempt:
            await (await asyncpg.connect(url, timeout=10)).close()


async def create_database(url: str, name: str) -> str:
    """Create a database at the server of `url` if it is missing; return its URL."""
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        pass
    finally:
        await connection.close()
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _upgrade(connection: Connection, owner: Owner) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext

    # Asked under the lock: a newer image may have migrated while this one waited.
    table = MigrationContext.configure(connection, opts={"version_table": owner.version_table})
    if _is_there(owner, table.get_current_revision()):
        return
    config = Config()
    for option, path in (
        ("script_location", HERE / "alembic"),
        ("version_locations", owner.migrations),
    ):
        config.set_main_option(option, str(path).replace("%", "%%"))  # as ConfigParser escapes it
    config.set_main_option("path_separator", "newline")
    config.attributes |= {"connection": connection, "version_table": owner.version_table}
    command.upgrade(config, "head")


async def _main(arguments: argparse.Namespace) -> None:
    url = DatabaseSettings.read().url
    if not url:
        raise BadSetting("setting DATABASE_URL is missing")
    known = owners() | owners(FUNCTIONS / "dsm")
    unknown = set(arguments.owner) - set(known)
    if unknown:
        raise BadSetting(
            f"no such owner: {', '.join(sorted(unknown))}; there are {', '.join(known)}"
        )
    chosen = [known[name] for name in arguments.owner] or list(owners().values())
    if arguments.within:
        await await_server(url, arguments.within)
    if not arguments.database_each:
        await upgrade(url, *chosen)
        return
    for owner in chosen:
        await upgrade(await create_database(url, owner.name), owner)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m functions.kit.durable.migrate", description=__doc__
    )
    parser.add_argument("owner", nargs="*", help="whose tables; none means every function's")
    parser.add_argument(
        "--database-each",
        action="store_true",
        help="each owner has a database of its own name, which is created if it is missing",
    )
    parser.add_argument(
        "--within", type=float, default=0, metavar="S", help="wait so long for the server, seconds"
    )
    log.configure(ProcessSettings.read().log_level)
    try:
        asyncio.run(_main(parser.parse_args()))
    except (BadSetting, OSError) as error:
        print(f"cannot migrate: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
