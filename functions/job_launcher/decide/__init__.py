"""The launcher's decisions: what a Job is, which is due, and how one ended. Pure."""
