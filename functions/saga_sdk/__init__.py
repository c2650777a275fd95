"""What a saga's worker is written with: a decorator for a step's DO and one for its UNDO."""

from functions.saga_sdk.worker import Task as Task
from functions.saga_sdk.worker import Worker as Worker
