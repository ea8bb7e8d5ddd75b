"""Decisions, pure: observed state and now go in, a plan comes out. No I/O, no clock, no randomness."""

from stationkeeper.control.planning.given import workload_of
from stationkeeper.control.planning.model import plan_model
from stationkeeper.control.planning.policy import plan_policy, selects
from stationkeeper.control.planning.types import Event, Observed, Plan, Ref, Settings

__all__ = ["Event", "Observed", "Plan", "Ref", "Settings", "plan_model", "plan_policy", "selects", "workload_of"]
