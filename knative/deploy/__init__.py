"""Deploy an overlay to a cluster, and delete it."""
