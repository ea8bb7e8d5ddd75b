"""The only importer of the Kubernetes client: gateway, store, errors."""
