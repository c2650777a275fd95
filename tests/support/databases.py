"""Databases with tables: copies of a template, and emptied ones, which cost a tenth of a copy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from functions.kit.durable import migrate

# All that a test may have changed beside rows.
_SHAPE = """md5(concat(
    (SELECT string_agg(concat(relname, relkind, relnatts, relacl, reloptions), ',' ORDER BY relname)
     FROM pg_class WHERE relnamespace = 'public'::regnamespace),
    (SELECT concat(count(*), max(xmin::text::bigint)) FROM pg_attribute),
    (SELECT concat(count(*), max(xmin::text::bigint)) FROM pg_constraint),
    (SELECT concat(count(*), max(xmin::text::bigint)) FROM pg_trigger),
    (SELECT concat(count(*), max(xmin::text::bigint)) FROM pg_proc),
    (SELECT count(*) FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.oid = s.setdatabase
     WHERE datname = current_database())))"""
_TABLES = """SELECT quote_ident(relname) FROM pg_class WHERE relkind IN ('r', 'p')
    AND NOT relispartition AND relnamespace = 'public'::regnamespace"""
_RESTART = """SELECT setval(quote_ident(sequencename)::regclass, start_value, false)
    FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL"""
# While each process of the tests makes its server, a machine of two cores may need a minute.
CONNECT_S = 180.0
# Of a larger one the planner may remember what was in it.
_MAX_GROWTH_BYTES = 4 << 20


@dataclass
class _Template:
    """The database that is copied, its tables with rows, its size, and copies to be emptied."""

    name: str
    filled: list[str]
    shape: str
    size: int
    returned: list[str] = field(default_factory=list)


class Databases:
    """The databases of one server."""

    def __init__(self, url: str, admin: asyncpg.Connection[asyncpg.Record]) -> None:
        self._url = url
        self._admin = admin
        self._numbers = itertools.count()
        self._templates: dict[tuple[str, ...], _Template] = {}
        self._owners = migrate.owners() | migrate.owners(migrate.FUNCTIONS / "dsm")

    async def make(self) -> str:
        """The URL of a fresh, empty one."""
        name = self._name("test")
        await self._admin.execute(f"CREATE DATABASE {name}")
        return self._url_of(name)

    async def copy(self, *owners: str) -> str:
        """The URL of a fresh one with the tables of these owners."""
        template = await self._template(owners)
        name = self._name("copy")
        await self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {template.name}")
        return self._url_of(name)

    async def lend(self, *owners: str) -> str:
        """The same, or an emptied one under a new name."""
        template = await self._template(owners)
        while template.returned:
            name, old = self._name("lent"), template.returned.pop()
            # What was used a moment ago may have connected again meanwhile: another one will do.
            with suppress(asyncpg.ObjectInUseError):
                if await self._is_emptied(old, template):
                    await self._end_sessions(old)
                    await self._admin.execute(f"ALTER DATABASE {old} RENAME TO {name}")
                    return self._url_of(name)
            await self._admin.execute(f"DROP DATABASE {old} WITH (FORCE)")
        return await self.copy(*owners)

    def give_back(self, url: str, *owners: str) -> None:
        """Let another test have it; what still uses it is ended when one does."""
        self._templates[owners].returned.append(_name_in(url))

    async def _is_emptied(self, name: str, template: _Template) -> bool:
        await self._end_sessions(name)
        connection = await asyncpg.connect(self._url_of(name), timeout=CONNECT_S)
        try:
            size = await connection.fetchval("SELECT pg_database_size(current_database())")
            if size > template.size + _MAX_GROWTH_BYTES:
                return False
            if await _shape(connection, template.filled) != template.shape:
                return False
            if filled := set(await _filled(connection)) - set(template.filled):
                await connection.execute(f"TRUNCATE {', '.join(filled)} CASCADE")
            await connection.execute(_RESTART)
        finally:
            await connection.close()
        return True

    async def _end_sessions(self, name: str) -> None:
        await self._admin.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1", name
        )

    async def _template(self, owners: tuple[str, ...]) -> _Template:
        if owners not in self._templates:
            url = await self.make()
            await migrate.upgrade(url, *(self._owners[name] for name in owners))
            connection = await asyncpg.connect(url, timeout=CONNECT_S)
            filled = await _filled(connection)
            shape = await _shape(connection, filled)
            size = await connection.fetchval("SELECT pg_database_size(current_database())")
            await connection.close()
            self._templates[owners] = _Template(_name_in(url), filled, shape, size)
        return self._templates[owners]

    def _name(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers)}"

    def _url_of(self, name: str) -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))


async def _filled(connection: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    """The tables that have rows."""
    names = [row[0] for row in await connection.fetch(_TABLES)]
    looks = (f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})" for name in names)
    return [row[0] for row in await connection.fetch(" UNION ALL ".join(looks))]


async def _shape(connection: asyncpg.Connection[asyncpg.Record], filled: Sequence[str]) -> str:
    """A text that is another once something but rows has changed, or a row of a migration."""
    rows = " UNION ALL ".join(f"SELECT t::text FROM {name} AS t" for name in filled)
    found = await connection.fetch(
        f"SELECT {_SHAPE} UNION ALL {rows}" if filled else f"SELECT {_SHAPE}"
    )
    return str(sorted(row[0] for row in found))


def _name_in(url: str) -> str:
    return urlsplit(url).path.strip("/")
