"""A policy replayed over history: which windows breach, what training along the way would have brought."""
