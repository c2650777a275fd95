"""Sprints and projects: burndown, forecast, and what needs attention."""
