"""What users change from the console, one or many at once."""
