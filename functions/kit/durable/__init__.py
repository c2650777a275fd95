"""The durable core: what a function may rely on after a crash, over one PostgreSQL database.

Claim, work, settle, relay: each step of an event's way is one module here."""

import lazy_loader

# Its public names stand in __init__.pyi; a module is imported when a name of it is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
