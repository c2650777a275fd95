"""The routes and budgets of a process: its file, read again when it changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from functions.job_launcher.decide.budget import Limits
from functions.job_launcher.routes.route_file import BadRoutes, Route, RoutesFile, load_file
from functions.job_launcher.settings import LauncherSettings
from functions.kit.context import Resources
from functions.kit.settings import BadSetting


@dataclass
class RoutesSource:
    """The routes of a mounted file, read again when it changes.

    An invalid change keeps the routes before it; `refused` is why.
    """

    path: Path
    refused: str = ""

    @cached_property
    def _cache(self) -> dict[str, Any]:
        return {"version": self._file_version(), "file": load_file(self.path)}

    def routes(self) -> tuple[Route, ...]:
        """Return the current routes; `BadRoutes` if the file was never valid."""
        return tuple(self._file().routes)

    def budgets(self) -> list[Limits]:
        """Return the current budgets, in their order."""
        return [one.limits() for one in self._file().budgets]

    def _file(self) -> RoutesFile:
        cache = self._cache
        if (version := self._file_version()) != cache["version"]:
            cache["version"] = version
            try:
                cache["file"], self.refused = load_file(self.path), ""
            except BadRoutes as error:
                self.refused = str(error)
        file: RoutesFile = cache["file"]
        return file

    def _file_version(self) -> tuple[int, int] | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size


def routes_of(resources: Resources) -> RoutesSource:
    """Return the process's routes, which are read again when their file changes."""
    path = resources.settings(LauncherSettings).routes_file
    if not path:
        raise BadSetting("setting ROUTES_FILE is missing: name the file with the routes")
    return RoutesSource(Path(path))
