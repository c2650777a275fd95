"""What a function and an HTTP API promise their callers: requests in, answers and events out."""
