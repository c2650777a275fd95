"""Jobs as Kubernetes objects, and the calls that create and delete them."""
