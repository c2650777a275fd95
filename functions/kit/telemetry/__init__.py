"""What is logged, counted and traced, and under which correlation."""
