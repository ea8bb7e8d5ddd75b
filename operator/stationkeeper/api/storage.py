"""Where everything of a model is kept."""

from typing import Annotated

from pydantic import ConfigDict, Field

from stationkeeper.api.base import ApiModel, S3Uri, rules


class Storage(ApiModel):
    """Where every artifact, capture and report of the model lives."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.uri == oldSelf.uri", "storage.uri cannot change: the model's revisions live there; make a new Model instead"),
        )
    )

    uri: Annotated[S3Uri, Field(description="Prefix in S3-compatible storage that belongs to this model alone.")]
    endpoint_url: Annotated[
        str | None,
        Field(
            alias="endpointURL",
            pattern=r"^https?://[A-Za-z0-9.:\[\]_-]+(/.*)?$",
            max_length=256,
            description="Address of the S3 server; leave it out for AWS.",
        ),
    ] = None
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=32, description="Region of the S3 server.")] = "us-east-1"
    adopt: Annotated[
        bool,
        Field(
            description="Take the prefix over from the Model that owned it, of another cluster or deleted, with the revisions that it "
            "left. Read once, before the first training. The other one must not run any more."
        ),
    ] = False
    secret_name: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            max_length=253,
            description="Secret of this namespace with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Only workloads "
            "receive them; the operator never reads it. Leave it out where pods have an identity of their own.",
        ),
    ] = None
