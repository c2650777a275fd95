"""Overlays to a cluster, and away from it again."""
