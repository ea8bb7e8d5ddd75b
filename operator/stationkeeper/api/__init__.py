"""The contract: custom resources, job configuration, manifests, reports. Imports nothing of ours."""
