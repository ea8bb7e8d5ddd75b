"""The running operator: watches, work queue, reconcilers, leader election. The only importer of kopf."""
