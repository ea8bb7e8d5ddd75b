"""The project's images: built with whatever engine is there, loaded into the cluster or pushed to a registry."""
