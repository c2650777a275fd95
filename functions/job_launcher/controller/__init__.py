"""From queued requests to Jobs that have ended: launch, watch, sweep, reconcile."""
