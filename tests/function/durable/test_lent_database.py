"""A database that a test has used is as new for the next one."""

from __future__ import annotations

import asyncpg
import pytest

from tests.support.databases import Databases

ROWS = """INSERT INTO inbox (function, source, id, type) VALUES ('f', 's', 'i', 't');
    INSERT INTO dead_letter
        (seen, source, id, dest, type, attributes, data, first_at, last_at, size)
    VALUES (nextval('dead_letter_seen'), 's', 'i', '', 't', '', '', now(), now(), 0)"""


async def test_its_rows_are_gone_and_its_numbers_begin_anew(databases: Databases) -> None:
    url = await databases.lend("dead_letter")
    left = await asyncpg.connect(url)
    await left.execute(ROWS)
    databases.give_back(url, "dead_letter")

    again = await databases.lend("dead_letter")

    assert "/lent_" in again, "it is no new copy"
    assert left.is_closed(), "what still used it is ended"
    connection = await asyncpg.connect(again)
    assert not await connection.fetchval("SELECT count(*) FROM inbox")
    await connection.execute(ROWS)
    assert await connection.fetchval("SELECT number FROM dead_letter") == 1
    await connection.close()


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE redrive",
        "ALTER TABLE dead_letter RENAME COLUMN detail TO reason",
        "ALTER TABLE dead_letter ADD CHECK (size > 1)",
        "UPDATE dead_letter_version SET version_num = '9999'",
        "REVOKE SELECT ON dead_letter FROM postgres",
    ],
)
async def test_one_that_is_another_is_not_lent(databases: Databases, change: str) -> None:
    url = await databases.lend("dead_letter")
    connection = await asyncpg.connect(url)
    await connection.execute(change)
    await connection.close()
    databases.give_back(url, "dead_letter")

    again = await databases.lend("dead_letter")

    assert "/copy_" in again, "it is a copy of the template"
    databases.give_back(again, "dead_letter")
