"""What goes wrong with one delivery or one issue, which costs no other."""

from __future__ import annotations

import logging
from datetime import timedelta

from functions.kit.clients.github import TokenRefused
from functions.kit.clients.github_limits import RateLimited
from functions.kit.errors import FunctionError, PermanentError, shortened

logger = logging.getLogger(__name__)

SOON = timedelta(minutes=5)
# What GitHub refuses once it mostly refuses again, and each request counts.
LATER = timedelta(hours=1)


def failure_of(error: Exception, name: str) -> tuple[str, timedelta]:
    """Why `name` failed, and after how long it is tried again.

    What every request would meet is raised again: a limit, or credentials that GitHub refuses.
    """
    if isinstance(error, RateLimited | TokenRefused):
        raise error
    if isinstance(error, FunctionError):
        logger.warning("%s: %s", name, error.detail)
        return shortened(error.detail), LATER if isinstance(error, PermanentError) else SOON
    logger.error("%s", name, exc_info=error)
    # GitHub of another version may say things in another shape.
    shape = isinstance(error, KeyError | TypeError | ValueError)
    what = "an answer could not be understood" if shape else "it failed unexpectedly"
    return f"{what} ({type(error).__name__})", SOON
