"""The engine of runs: batches of inputs, timers, stored runs."""
