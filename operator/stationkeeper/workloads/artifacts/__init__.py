"""The store and what is kept in it: blobs, manifests, ownership, and models that can be loaded without running code."""
