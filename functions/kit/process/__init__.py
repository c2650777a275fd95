"""One process: how it starts, what it reports of its health and numbers, how it drains."""
