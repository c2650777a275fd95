"""The ten tasks that a project's next cycle begins with."""

from __future__ import annotations

TITLES = (
    "Setup development environment",
    "Design database schema",
    "Implement user authentication",
    "Build UI for dashboard",
    "Develop API for task management",
    "Write unit tests for backend",
    "Deploy to staging environment",
    "Conduct user acceptance testing",
    "Prepare documentation",
    "Refactor legacy code",
)
