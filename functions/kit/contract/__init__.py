"""What a function and an HTTP API promise their callers: requests in, answers and events out."""

import lazy_loader

# Its public names stand in __init__.pyi; a module is imported when a name of it is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
