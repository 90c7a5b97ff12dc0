"""The cluster, through the Kubernetes API."""
