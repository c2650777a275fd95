"""Today: did the morning run, what came of it, and what needs attention."""
