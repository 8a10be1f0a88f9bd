"""Kubernetes: configuration and credentials, requests, the informer, and the mapping to and from its objects."""
