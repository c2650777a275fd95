"""The objects: in memory for reading, in SQLite so that they outlive the process.

One counter gives every write its resourceVersion. Objects that the store hands out are read only;
whoever changes one copies it first. Everything happens on one event loop thread, so each method is
atomic. SQLite runs with WAL and synchronous=NORMAL: what was written survives `kill -9`; a power
cut may cost the last moments, which the Job controller makes good like a lost node.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

logger = logging.getLogger(__name__)

Object = dict[str, Any]
ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
HISTORY = 10_000
VERSION = 1  # 0: a file from before versions were kept, otherwise the same

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    kind TEXT, namespace TEXT, name TEXT, body TEXT NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER);
INSERT OR IGNORE INTO counter VALUES (1, 1);
"""


@dataclass(frozen=True)
class Key:
    """Where an object is; `namespace` is empty for what has none."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Change:
    """One write: `object` after it (for DELETED: the last state), `previous` before it."""

    version: int
    type: ChangeType
    key: Key
    object: Object
    previous: Object | None


class Store:
    """All objects of the API under `path`, with the changes since the process started.

    Raises ValueError when another version wrote the file, sqlite3.Error when it is none.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)  # Secrets are in there
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            raise ValueError(f"{path} has schema {version}, expected {VERSION}")
        self._db.executescript(f"{_SCHEMA}PRAGMA user_version = {VERSION};")
        self.version = int(self._db.execute("SELECT version FROM counter").fetchone()[0])
        self._objects: dict[str, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._uids: dict[str, Key] = {}
        self._dependents: dict[str, set[Key]] = defaultdict(set)
        self._depth = 0
        for kind, namespace, name, body in self._db.execute(
            "SELECT kind, namespace, name, body FROM objects ORDER BY kind, namespace, name"
        ):
            self._index(Key(kind, namespace, name), json.loads(body))
        self.history: deque[Change] = deque(maxlen=HISTORY)
        self._started_at: int = self.version
        self._untold: deque[Change] = deque()
        self._listeners: list[Callable[[Change], None]] = []

    def close(self) -> None:
        self._db.close()

    @property
    def oldest(self) -> int:
        """The oldest resourceVersion from which a watch can go on."""
        if len(self.history) == HISTORY:
            return self.history[0].version - 1
        return self._started_at

    def listen(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener` after every write; the answer takes it off again."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def get(self, key: Key) -> Object | None:
        return self._objects[key.kind].get((key.namespace, key.name))

    def select(self, kind: str, namespace: str | None = None) -> list[Object]:
        """Objects of a kind, of one namespace or (None) of all, in order of their names."""
        found = self._objects[kind].items()
        return [body for place, body in sorted(found) if namespace in (None, place[0])]

    def by_uid(self, uid: str) -> Key | None:
        return self._uids.get(uid)

    def dependents(self, uid: str) -> list[Key]:
        """Objects whose ownerReferences name this uid."""
        return sorted(self._dependents.get(uid, ()), key=lambda key: (key.kind, key.name))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Writes inside become durable as one.

        Where an error ends them early, those that were made stay, as memory has them already.
        """
        if self._depth == 0:
            self._db.execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("COMMIT")

    def put(self, key: Key, body: Object) -> Object:
        """Write an object with a new resourceVersion; unchanged content keeps the old one."""
        previous = self.get(key)
        if previous is not None and _same(previous, body):
            return previous
        self.version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.version)}
        body = {**body, "metadata": metadata}
        with self.together():
            self._db.execute(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)",
                (key.kind, key.namespace, key.name, json.dumps(body, separators=(",", ":"))),
            )
            self._db.execute("UPDATE counter SET version = ?", (self.version,))
        if previous is not None:
            self._unindex(key, previous)
        self._index(key, body)
        self._notify(Change(self.version, "MODIFIED" if previous else "ADDED", key, body, previous))
        return body

    def remove(self, key: Key) -> Object | None:
        """Take an object away; None if it is not there."""
        previous = self.get(key)
        if previous is None:
            return None
        self.version += 1
        with self.together():
            self._db.execute(
                "DELETE FROM objects WHERE kind = ? AND namespace = ? AND name = ?",
                (key.kind, key.namespace, key.name),
            )
            self._db.execute("UPDATE counter SET version = ?", (self.version,))
        self._unindex(key, previous)
        last = {
            **previous,
            "metadata": {**previous["metadata"], "resourceVersion": str(self.version)},
        }
        self._notify(Change(self.version, "DELETED", key, last, previous))
        return last

    def _index(self, key: Key, body: Object) -> None:
        self._objects[key.kind][key.namespace, key.name] = body
        self._uids[body["metadata"]["uid"]] = key
        for owner in body["metadata"].get("ownerReferences", ()):
            self._dependents[owner["uid"]].add(key)

    def _unindex(self, key: Key, body: Object) -> None:
        del self._objects[key.kind][key.namespace, key.name]
        del self._uids[body["metadata"]["uid"]]
        for owner in body["metadata"].get("ownerReferences", ()):
            self._dependents[owner["uid"]].discard(key)
            if not self._dependents[owner["uid"]]:
                del self._dependents[owner["uid"]]

    def _notify(self, change: Change) -> None:
        # A listener may write: its change waits, so that every listener gets them in order.
        self.history.append(change)
        self._untold.append(change)
        if len(self._untold) > 1:
            return
        while self._untold:
            for listener in tuple(self._listeners):
                try:
                    listener(self._untold[0])
                except Exception:  # what was written stays written, and the others hear of it
                    logger.exception("a listener failed at %s", self._untold[0].key)
            self._untold.popleft()


def _same(before: Object, after: Object) -> bool:
    def content(body: Object) -> Object:
        metadata = {k: v for k, v in body["metadata"].items() if k != "resourceVersion"}
        return {**body, "metadata": metadata}

    return content(before) == content(after)
