"""Advisory locks: the one registry of their names.

PostgreSQL's advisory locks are numbers that all users of a database share. Here each number is a
digest of a name and of what is locked, so that no two modules can mean different things by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from functions.kit.durable.database import Connection


@dataclass(frozen=True)
class Lock:
    """A kind of advisory lock over one entity, which `of` describes; without it, over many.

    While a lock over many is held no call leaves the process: `clients.transaction_guard`.
    """

    name: str
    of: str | None = None

    @property
    def is_wide(self) -> bool:
        return self.of is None

    def key(self, *entity: str) -> int:
        """The number that PostgreSQL locks, 64 bits with a sign.

        >>> a = Lock("a", of="b, c")
        >>> a.key("b", "c") == a.key("b", "c") != a.key("b\\0c", "")
        True
        """
        if bool(entity) == self.is_wide:
            raise TypeError(f"lock {self.name!r} is over {self.of or 'all'}, not over {entity}")
        digest = blake2b(digest_size=8)
        for part in (self.name, *entity):
            encoded = part.encode(errors="surrogatepass")
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        return int.from_bytes(digest.digest(), "big", signed=True)

    def statement(self, *entity: str) -> str:
        """SQL that waits for the lock and holds it until the transaction ends."""
        return f"SELECT pg_advisory_xact_lock({self.key(*entity)})"

    async def hold(self, tx: Connection, *entity: str, timeout_s: float | None = None) -> None:
        """Wait for the lock and hold it until the transaction ends."""
        await tx.execute("SELECT pg_advisory_xact_lock($1)", self.key(*entity), timeout=timeout_s)

    async def try_hold(self, tx: Connection, *entity: str) -> bool:
        """Hold the lock until the transaction ends, if it is free.

        The server ends a session that is idle in the transaction for 15 s, as a frozen process is.
        """
        return bool(
            await tx.fetchval(
                """SELECT pg_try_advisory_xact_lock($1)
                   FROM set_config('idle_in_transaction_session_timeout', '15s', true)""",
                self.key(*entity),
            )
        )


# Held by a session, while services are called.
CLAIM = Lock("claim", of="function, source, id of an event")
CYCLE = Lock("cycle", of="project and finished sprint")
ORCHESTRATION = Lock("orchestration", of="project")
DAILY_SCRUM = Lock("daily scrum", of="sprint")
SIMULATION = Lock("simulation", of="sprint and day")

# Held by a transaction.
MIGRATION = Lock("migration")  # the schema of a database
JOB_QUEUE = Lock("job queue")  # taking requests from the queue, or replacing one
RELAY = Lock("relay")  # leasing rows of the outbox
TASK = Lock("task", of="id of an agent's task")  # requests for it, and its cancellations
EFFECT = Lock("effect", of="effect key of a saga's step")
SPRINTS = Lock("sprints", of="project")  # starting a sprint
TASK_NUMBERS = Lock("task numbers", of="project")
SEED = Lock("seed", of="project")  # writing a sample backlog
REGISTRATION = Lock("registration", of="name of an orchestration")
ISSUE = Lock("issue", of="state of an issue")  # storing a delivery that says so
