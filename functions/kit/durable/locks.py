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
    """A kind of advisory lock. `key` narrows it down to one entity."""

    name: str

    def key(self, *entity: str) -> int:
        """The number that PostgreSQL locks, 64 bits with a sign.

        >>> Lock("a").key("b", "c") == Lock("a").key("b", "c") != Lock("a").key("b\\0c", "")
        True
        """
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


# Held by a session.
CLAIM = Lock("claim")  # an event that a process works on: function, source, id
ENTITY = Lock("entity")  # what a function changes elsewhere, one at a time: function, name

# Held by a transaction.
MIGRATION = Lock("migration")  # the schema of a database
JOB_QUEUE = Lock("job queue")  # taking requests from the queue, or replacing one
TASK = Lock("task")  # requests for, and cancellations of, one task of an agent: its id
RELAY = Lock("relay")  # leasing rows of the outbox
EFFECT = Lock("effect")  # what a saga's step does: its effect key
SPRINTS = Lock("sprints")  # starting a sprint: its project
TASK_NUMBERS = Lock("task numbers")  # numbering new tasks: their project
SEED = Lock("seed")  # writing a sample backlog: its project
REGISTRATION = Lock("registration")  # registering an orchestration: its name
ISSUE = Lock("issue")  # storing a delivery that an issue has a label: the state's name
