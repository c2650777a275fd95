"""The REST API: commands, queries, their parameters and answers."""
