"""A module whose import holds the event loop longer than any turn may."""

import time

_BEGAN = time.thread_time()
while time.thread_time() - _BEGAN < 0.22:
    pass
