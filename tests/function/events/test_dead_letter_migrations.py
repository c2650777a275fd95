"""What an older dead-letter has on record is there after the migrations, and there once."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from functions.dead_letter import audit, tables
from functions.kit.durable import Store, migrate
from functions.kit.durable.migrate import KIT, Owner
from functions.kit.settings import DatabaseSettings
from tests.conftest import MakeDatabase

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)


async def test_who_did_what_stands_in_one_table(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = await make_database()
    now = migrate.owners()["dead_letter"]
    for revision in now.migrations.glob("000[1-5]_*.py"):
        shutil.copy(revision, tmp_path)
    await migrate.upgrade(url, KIT)
    await migrate.upgrade(url, Owner(now.name, tmp_path))
    connection = await asyncpg.connect(url)
    await connection.execute(
        """INSERT INTO dead_letter (seen, source, id, dest, type, attributes, data, function,
                                    detail, first_at, last_at, size)
           SELECT nextval('dead_letter_seen'), 's', 'i', 'd', 't', '{}', '', 'f', '', $1, $1, 0""",
        AT,
    )
    await connection.execute(
        "INSERT INTO redrive (dead_letter, who, began_at, edited) VALUES (1, 'ann', $1, true)", AT
    )
    await connection.execute(
        """INSERT INTO audit (dead_letter, at, who, action, reason, source, id, type, dest)
           VALUES (1, $1, 'bob', 'dismissed', 'why', 's', 'i', 't', 'd'),
                  (9, $1, 'dead-letter', 'expired', 'old', 's', 'j', 't', 'd')""",
        AT,
    )
    await connection.execute(
        """INSERT INTO user_action (function, at, who, action, subject, reason)
           VALUES ('dead_letter', $1, 'ann', 'sent again, edited', 'dead letter 1', ''),
                  ('dead_letter', $1, 'bob', 'dismissed', 'dead letter 1', 'why'),
                  ('dead_letter', $1, 'cid', 'sent again', 'dead letter 8', ''),
                  ('scheduler', $1, 'dan', 'paused', 'x', '')""",
        AT,
    )

    await migrate.upgrade(url, now)

    rows = await connection.fetch("SELECT who, action FROM user_action ORDER BY who")
    assert [tuple(row) for row in rows] == [
        ("", "expired"),
        ("ann", "sent again, edited"),
        ("bob", "dismissed"),
        ("cid", "sent again"),
        ("dan", "paused"),
    ]
    await connection.close()
    store = Store(DatabaseSettings.read({"DATABASE_URL": url}))
    async with store.connection() as db:
        [sent] = await tables.redrives(db, 1)
        ends = await audit.newest(db, 10, None)
    await store.close()
    assert (sent["who"], sent["edited"]) == ("ann", True)
    assert [row["dead_letter"] for row in ends] == [9, 1]
