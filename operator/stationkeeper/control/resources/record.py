"""The Job that writes down one decision with its evidence, for the operator has no access to storage."""

from stationkeeper.api.jobs import RecordConfig
from stationkeeper.api.meta import COMPONENT_RECORD
from stationkeeper.api.resources import ResourceList, Resources
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Object, Owner
from stationkeeper.control.resources.once import once

RECORD_RESOURCES = Resources(requests=ResourceList(cpu="50m", memory="128Mi"))
DEADLINE_SECONDS = 300
KEEP_SECONDS = 3600  # one that failed goes then, and is made again


def record_job(owner: Owner, config: RecordConfig, image: Image) -> Object:
    """The complete Job of one decision."""
    return once(
        owner,
        config,
        image,
        name=names.record_job(owner.name, owner.uid, config.decision.id),
        component=COMPONENT_RECORD,
        resources=RECORD_RESOURCES,
        deadline=DEADLINE_SECONDS,
        keep=KEEP_SECONDS,
    )
