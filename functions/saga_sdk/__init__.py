"""The SDK of a saga's worker: a decorator for a step's DO and one for its UNDO."""

from functions.saga_sdk.worker import Step as Step
from functions.saga_sdk.worker import Worker as Worker
