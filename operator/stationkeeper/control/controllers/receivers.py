"""Who can be told: the receivers that the operator's administrator has named, and how each is spoken to."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import aiohttp
import apprise
import yaml
from pydantic import Field, ValidationError, model_validator

from stationkeeper.api.base import ApiModel, format_time
from stationkeeper.api.status import Notice

_SECONDS = 15.0  # that a receiver may take
_CLOUD_EVENT = {"Content-Type": "application/cloudevents+json"}


class DeliveryError(Exception):
    """A receiver did not take a message; trying again may help."""


class ReceiversError(Exception):
    """The file of receivers cannot be read; the message names the entry and the field."""


class Receiver(ApiModel):
    """One receiver. Exactly one of the three addresses is given."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    url: str | None = None  # any address of Apprise: slack://..., msteams://..., mailtos://..., pagerduty://..., json://...
    cloud_events: str | None = None  # HTTP address that takes CloudEvents 1.0 in JSON
    alertmanager: str | None = None  # base address of a Prometheus Alertmanager
    severity: Literal["Info", "Warning"] = "Info"  # and above
    per_hour: Annotated[int, Field(ge=1, le=10_000)] = 30  # messages; more wait

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if sum(address is not None for address in (self.url, self.cloud_events, self.alertmanager)) != 1:
            raise ValueError("give exactly one of url, cloudEvents and alertmanager")
        if self.url is not None and not apprise.Apprise().add(self.url):
            raise ValueError("url is no address that Apprise knows; see its list of services")
        return self


@dataclass(frozen=True)
class Message:
    """A notice of one Model."""

    namespace: str
    model: str
    uid: str
    notice: Notice

    @property
    def title(self) -> str:
        """One line that says what it is about."""
        return f"{self.namespace}/{self.model}: {self.notice.reason}"

    @property
    def text(self) -> str:
        """What happened, and where to look."""
        return f"{self.notice.message}\n\nkubectl -n {self.namespace} describe model {self.model}"


def read_receivers(path: str) -> dict[str, Receiver]:
    """The receivers of a YAML file `receivers: [{name, url | cloudEvents | alertmanager, severity, perHour}]`.

    Raises:
        ReceiversError: when the file cannot be read; addresses, which may hold secrets, are not in the message.
    """
    try:
        entries = (yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}).get("receivers") or []
        found = [Receiver.model_validate(entry) for entry in entries]
    except (OSError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise ReceiversError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ReceiversError(f"{path}: receiver field {'.'.join(map(str, first['loc'])) or 'address'}: {first['msg']}") from None
    if len({receiver.name for receiver in found}) != len(found):
        raise ReceiversError(f"{path}: a receiver's name appears twice")
    return {receiver.name: receiver for receiver in found}


async def send(receiver: Receiver, message: Message) -> None:
    """Tell one receiver.

    Raises:
        DeliveryError: when it did not take the message in time.
    """
    try:
        async with asyncio.timeout(_SECONDS):
            if receiver.url:
                await _apprise(receiver.url, message)
            elif receiver.cloud_events:
                await _post(receiver.cloud_events, cloud_event(message), _CLOUD_EVENT)
            else:
                await _post(f"{receiver.alertmanager}/api/v2/alerts", [alert(message)], {"Content-Type": "application/json"})
    except TimeoutError as error:
        raise DeliveryError(f"no answer within {_SECONDS:.0f} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise DeliveryError(f"{type(error).__name__}") from error  # its text may hold the address, and that a secret


async def _apprise(url: str, message: Message) -> None:
    service = apprise.Apprise()
    service.add(url)
    kind = apprise.NotifyType.WARNING if message.notice.severity == "Warning" else apprise.NotifyType.INFO
    if not await service.async_notify(body=message.text, title=message.title, notify_type=kind):
        raise DeliveryError("the service did not take the message")


async def _post(url: str, body: Any, headers: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as session, session.post(url, data=json.dumps(body), headers=headers) as answer:
        if answer.status >= 300:
            raise DeliveryError(f"it answered {answer.status}")


def cloud_event(message: Message) -> dict[str, Any]:
    """The notice as a CloudEvent 1.0. The same notice has the same id, so that a receiver can tell a repetition."""
    notice = message.notice
    return {
        "specversion": "1.0",
        "id": notice.id,
        "source": f"/stationkeeper/namespaces/{message.namespace}/models/{message.model}",
        "type": f"dev.stationkeeper.model.{notice.reason}",
        "subject": f"{message.namespace}/{message.model}",
        "time": format_time(notice.at),
        "datacontenttype": "application/json",
        "data": {"severity": notice.severity, "reason": notice.reason, "message": notice.message, "uid": message.uid},
    }


def alert(message: Message) -> dict[str, Any]:
    """The notice as an alert of Alertmanager's API v2."""
    notice = message.notice
    labels = {
        "alertname": f"Stationkeeper{notice.reason}",
        "namespace": message.namespace,
        "model": message.model,
        "severity": notice.severity.lower(),
    }
    annotations = {"summary": message.title, "description": notice.message}
    return {"labels": labels, "annotations": annotations, "startsAt": format_time(notice.at)}
