"""What one look at a Model goes by: its spec, which must have a meaning, and what is known of it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from stationkeeper.api.base import faults
from stationkeeper.api.model import ModelSpec
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.status import ModelStatus, RevisionRef
from stationkeeper.control.planning import cron
from stationkeeper.control.planning.drift import PolicyView
from stationkeeper.control.planning.observed import policies, records, rejected
from stationkeeper.control.planning.types import Object, Observed, Settings
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Owner
from stationkeeper.control.resources.templates import MisfitError, WorkloadTemplate, chosen, values_of


class SpecError(Exception):
    """The spec cannot be followed; the message names the field, or the template, and says why."""


@dataclass(frozen=True)
class Given:
    """What is known before anything is planned; every part of the plan may read all of it."""

    observed: Observed
    owner: Owner
    status: ModelStatus  # as it was written last
    records: Sequence[ModelRevisionSpec]  # of what was published, by number
    rejected: Sequence[ModelRevisionSpec]  # of what the gates refused, by number
    policies: Sequence[PolicyView]
    template: WorkloadTemplate | None  # what trains across machines, where the Model names one
    now: datetime
    settings: Settings

    @property
    def spec(self) -> ModelSpec:
        """The Model's spec."""
        return self.owner.spec

    @property
    def generation(self) -> int:
        """The generation of the spec."""
        return generation(self.observed.model)

    @property
    def image(self) -> Image:
        """The image of our own workloads."""
        return Image(self.settings.workloads_image, self.settings.image_pull_policy)

    def record(self, serving: RevisionRef | None) -> ModelRevisionSpec | None:
        """The record of the revision that serves, where it can be read."""
        return next((record for record in self.records if serving and record.number == serving.number), None)


def read(observed: Observed, now: datetime, settings: Settings) -> Given:
    """Read the spec, and what belongs to the Model.

    Raises:
        SpecError: when the spec cannot be followed.
    """
    try:
        owner = owner_of(observed.model)
        _check_schedules(owner.spec, now)
        template = template_of(owner, settings)
    except ValidationError as error:
        raise SpecError(faults(error, "spec")) from error
    except (cron.InvalidCronError, MisfitError) as error:
        raise SpecError(str(error)) from error
    return Given(
        observed=observed,
        owner=owner,
        status=status_of(observed.model),
        records=records(observed, owner),
        rejected=rejected(observed, owner),
        policies=policies(observed, owner),
        template=template,
        now=now,
        settings=settings,
    )


def owner_of(model: Object) -> Owner:
    """The Model as its children know it.

    Raises:
        ValidationError: when its spec cannot be read.
    """
    meta = model["metadata"]
    return Owner(meta["namespace"], meta["name"], meta["uid"], ModelSpec.model_validate(model["spec"]))


def status_of(model: Object) -> ModelStatus:
    """The written status; what another version wrote and we cannot read is derived anew."""
    try:
        return ModelStatus.model_validate(model.get("status") or {})
    except ValidationError:
        return ModelStatus()


def generation(model: Object) -> int:
    """The generation of a Model's spec."""
    return int(model["metadata"].get("generation") or 0)


def template_of(owner: Owner, settings: Settings) -> WorkloadTemplate | None:
    """The template that a Model trains with across machines; None where it trains in one pod, or another pipeline trains it.

    Raises:
        MisfitError: when there is no such template, or a value does not fit.
    """
    wanted = owner.spec.training.workload if owner.spec.training else None
    if wanted is None:
        return None
    template = chosen(settings.workloads, wanted, owner.namespace)
    values_of(template, wanted)
    return template


def workload_of(model: Object, settings: Settings) -> tuple[WorkloadTemplate, str] | None:
    """What trains across machines for the attempt under way, by its template and its name; None where nothing does."""
    if not (model["spec"].get("training") or {}).get("workload"):
        return None
    try:
        owner = owner_of(model)
        template, episode = template_of(owner, settings), status_of(model).episode
    except (ValidationError, MisfitError):
        return None
    if template is None or episode is None or not episode.attempt:
        return None
    return template, names.training_workload(owner.name, owner.uid, episode.id, episode.attempt)


def _check_schedules(spec: ModelSpec, now: datetime) -> None:
    """Raise InvalidCronError, naming the field, for a schedule without a meaning."""
    for field, part in (("training", spec.training), ("source", spec.source)):
        try:
            if part and part.schedule:
                cron.next_after(part.schedule, now)
        except cron.InvalidCronError as error:
            raise cron.InvalidCronError(f"spec.{field}.schedule: {error}") from error
