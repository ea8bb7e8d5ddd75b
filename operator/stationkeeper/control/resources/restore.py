"""The Job that takes a prefix over and tells what it holds."""

from stationkeeper.api.jobs import RestoreConfig
from stationkeeper.api.meta import COMPONENT_RESTORE
from stationkeeper.api.resources import ResourceList, Resources
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Object, Owner
from stationkeeper.control.resources.once import once

RESTORE_RESOURCES = Resources(requests=ResourceList(cpu="50m", memory="256Mi"))
DEADLINE_SECONDS = 1800
KEEP_SECONDS = 600  # one that failed goes then, and is made again


def restore_job(owner: Owner, config: RestoreConfig, image: Image) -> Object:
    """The complete Job."""
    return once(
        owner,
        config,
        image,
        name=names.restore_job(owner.name, owner.uid),
        component=COMPONENT_RESTORE,
        resources=RESTORE_RESOURCES,
        deadline=DEADLINE_SECONDS,
        keep=KEEP_SECONDS,
    )
