"""What becomes of each nominal time of a schedule, and why."""
