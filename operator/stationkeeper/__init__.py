"""Stationkeeper: keeps machine-learning models in production on station.

Two planes meet in one contract: :mod:`stationkeeper.control` runs in the operator's pod,
:mod:`stationkeeper.workloads` in the pods of the models, and :mod:`stationkeeper.api` is all that they share.
"""

__version__ = "0.1.0"
