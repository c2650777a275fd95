"""Registrations of orchestrations and workers."""
