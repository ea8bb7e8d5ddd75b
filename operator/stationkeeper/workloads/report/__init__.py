"""The drift report as a page for people."""
