"""A Kubernetes cluster for this project: the one the user names, or a single node on this Linux machine."""
