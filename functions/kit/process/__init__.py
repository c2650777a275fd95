"""One process: how it starts, what it says of its health and numbers, how it drains."""
