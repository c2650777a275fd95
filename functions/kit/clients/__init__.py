"""How the outside is called: HTTP services, the event sink, the Kubernetes API."""
