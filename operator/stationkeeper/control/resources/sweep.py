"""The Job that deletes from storage what `spec.retention` lets go."""

from datetime import datetime

from stationkeeper.api.base import format_time
from stationkeeper.api.jobs import SweepConfig
from stationkeeper.api.meta import COMPONENT_SWEEP
from stationkeeper.api.resources import ResourceList, Resources
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Object, Owner
from stationkeeper.control.resources.once import once

SWEEP_RESOURCES = Resources(requests=ResourceList(cpu="50m", memory="256Mi"))
DEADLINE_SECONDS = 1800  # trainings wait so long at the most
KEEP_SECONDS = 24 * 3600


def sweep_job(owner: Owner, config: SweepConfig, at: datetime, image: Image) -> Object:
    """The complete Job of the sweep that was begun at this moment."""
    return once(
        owner,
        config,
        image,
        name=names.sweep_job(owner.name, owner.uid, format_time(at)),
        component=COMPONENT_SWEEP,
        resources=SWEEP_RESOURCES,
        deadline=DEADLINE_SECONDS,
        keep=KEEP_SECONDS,
    )
