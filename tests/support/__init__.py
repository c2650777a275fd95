"""Stand-ins for peers and what several tests need: each once."""

from tests.support.waiting import eventually as eventually
from tests.support.waiting import named_by_parts as named_by_parts
