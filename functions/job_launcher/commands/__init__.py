"""What users and events ask of Jobs: request, cancel, retry, approve."""
