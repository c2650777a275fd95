"""The durable core: what a function may rely on after a crash, over one PostgreSQL database.

Claim, work, settle, relay: each step of an event's way is one module here.
"""
