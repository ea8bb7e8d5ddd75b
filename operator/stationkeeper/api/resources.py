"""CPU and memory of pods."""

from typing import Annotated

from pydantic import Field

from stationkeeper.api.base import ApiModel


class ResourceList(ApiModel):
    cpu: Annotated[str | None, Field(pattern=r"^[0-9]+(\.[0-9]+)?m?$", max_length=16, description="CPU, as in `500m`.")] = None
    memory: Annotated[
        str | None,
        Field(pattern=r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$", max_length=16, description="Memory, as in `512Mi`."),
    ] = None


class Resources(ApiModel):
    requests: Annotated[ResourceList | None, Field(description="What the scheduler reserves.")] = None
    limits: Annotated[ResourceList | None, Field(description="What the container may not exceed.")] = None
