"""Under which name the orchestrator's events stand in the inbox."""

from functions.kit.durable.inbox import Claim as Claim

FUNCTION = "orchestrator"
