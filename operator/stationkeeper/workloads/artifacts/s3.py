"""The store on an S3 server. The only importer of boto3; its errors end here."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC
from pathlib import Path
from typing import Any, Final, Self

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ResponseStreamingError,
)
from botocore.exceptions import ConnectionError as ConnectError
from botocore.exceptions import HTTPClientError as TransportError
from urllib3.exceptions import HTTPError

from stationkeeper.api.meta import ENV_ACCESS_KEY, ENV_SECRET_KEY
from stationkeeper.api.storage import Storage
from stationkeeper.workloads.artifacts.errors import (
    BucketMissing,
    MalformedArtifact,
    NotFound,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from stationkeeper.workloads.artifacts.store import MAX_OBJECT_BYTES, ObjectInfo

log = logging.getLogger(__name__)

_CHUNK: Final = 1 << 20
_BODY_TRIES: Final = 3  # botocore retries the request, not a body that breaks off halfway
_DENIED: Final = {
    "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AccountProblem",
    "AllAccessDisabled", "PermanentRedirect", "AuthorizationHeaderMalformed", "InvalidBucketName", "NotImplemented",
    "RequestTimeTooSkewed", "401", "403", "301",
}  # fmt: skip
_BUSY: Final = {"SlowDown", "RequestTimeout", "ThrottlingException", "Throttling", "TooManyRequests", "429"}


class S3Store:
    """A `Store` under one prefix of one bucket."""

    def __init__(self, client: Any, bucket: str, prefix: str, endpoint: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix  # empty, or ending in a slash
        self._endpoint = endpoint

    @classmethod
    def open(cls, storage: Storage, uri: str | None = None) -> Self:
        """Connect to the server of `storage`; credentials come from the environment.

        `uri` opens another bucket or prefix with the same server and credentials, as for training data.
        """
        bucket, _, path = (uri or storage.uri).removeprefix("s3://").partition("/")
        prefix = f"{path.strip('/')}/" if path.strip("/") else ""
        try:
            client = boto3.session.Session().client(
                "s3", endpoint_url=storage.endpoint_url, region_name=storage.region, config=_config(storage)
            )
        except (BotoCoreError, ValueError) as error:
            raise StoreDenied(f"cannot set up the S3 client for {storage.endpoint_url or 'AWS'}: {error}") from error
        return cls(client, bucket, prefix, storage.endpoint_url or "AWS S3")

    def get(self, key: str, *, max_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        """See `Store.get`."""
        for attempt in range(1, _BODY_TRIES + 1):
            try:
                return self._get_once(key, max_bytes)
            except StoreUnavailable:
                if attempt == _BODY_TRIES:
                    raise
                log.warning("reading %s broke off, trying again", self.uri(key))
        raise AssertionError("unreachable")

    def _get_once(self, key: str, max_bytes: int) -> bytes:
        with self._errors("read", key):
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"]
            with body:
                data: bytes = body.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise MalformedArtifact(f"{self.uri(key)} is larger than the {max_bytes} bytes that it may have")
        return data

    def put(self, key: str, data: bytes) -> None:
        """See `Store.put`."""
        with self._errors("write", key):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data)

    def create(self, key: str, data: bytes) -> bool:
        """See `Store.create`. A write whose answer was lost is settled by reading what is there."""
        try:
            with self._errors("write", key):
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data, IfNoneMatch="*")
        except _Exists as found:
            # Our own first try may have arrived before botocore repeated it: then the existing object is ours.
            return found.after_retry and self.get(key) == data
        except StoreUnavailable as lost:
            return self._settle(key, data, lost)
        return True

    def _settle(self, key: str, data: bytes, lost: StoreUnavailable) -> bool:
        try:
            return self.get(key, max_bytes=max(len(data), MAX_OBJECT_BYTES)) == data
        except NotFound:
            raise lost from None

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        with suppress(NotFound), self._errors("delete", key):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        options = {"StartAfter": self._prefix + start_after} if start_after else {}
        pages = iter(
            self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix + prefix, **options)
        )
        while True:
            with self._errors("list", prefix):
                page = next(pages, None)
            if page is None:
                return
            for item in page.get("Contents", ()):
                yield ObjectInfo(
                    key=item["Key"].removeprefix(self._prefix),
                    size=int(item["Size"]),
                    etag=str(item.get("ETag", "")).strip('"'),
                    modified=item["LastModified"].astimezone(UTC),
                )

    def exists(self, key: str) -> bool:
        """See `Store.exists`."""
        try:
            with self._errors("look for", key):
                self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
        except NotFound:
            return False
        return True

    def uri(self, key: str) -> str:
        """See `Store.uri`."""
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def download(self, key: str, path: Path) -> None:
        """See `Store.download`."""
        part = path.with_name(path.name + ".part")
        for attempt in range(1, _BODY_TRIES + 1):
            try:
                with self._errors("read", key), part.open("wb") as file:
                    body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"]
                    for chunk in body.iter_chunks(_CHUNK):
                        file.write(chunk)
                part.replace(path)
            except StoreUnavailable:
                part.unlink(missing_ok=True)
                if attempt == _BODY_TRIES:
                    raise
            else:
                return

    @contextmanager
    def _errors(self, verb: str, key: str) -> Iterator[None]:
        where = f"cannot {verb} {self.uri(key)} at {self._endpoint}"
        try:
            yield
        except ClientError as error:
            raise _translate(error, where, self._bucket) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise StoreDenied(
                f"{where}: no credentials; name a Secret with {ENV_ACCESS_KEY} and {ENV_SECRET_KEY} in spec.storage.secretName"
            ) from error
        except (ConnectError, TransportError, IncompleteReadError, ResponseStreamingError, HTTPError, OSError) as error:
            if isinstance(error, OSError) and error.filename is not None:
                raise  # a local file, not the server
            raise StoreUnavailable(f"{where}: {error}; check spec.storage.endpointURL and that the server runs") from error
        except BotoCoreError as error:
            raise StoreDenied(f"{where}: {error}") from error


class _Exists(StoreError):  # noqa: N818 - never leaves this module
    """The condition `If-None-Match: *` did not hold."""

    after_retry = False


def _config(storage: Storage) -> Config:
    return Config(
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "max_attempts": 5},
        s3={"addressing_style": "path" if storage.endpoint_url else "auto"},
        # Newer botocore adds CRC trailers that VersityGW and older servers do not understand.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def _translate(error: ClientError, where: str, bucket: str) -> StoreError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    meta = error.response.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode", 0))
    if code in ("PreconditionFailed", "412"):
        exists = _Exists(f"{where}: it exists already")
        exists.after_retry = int(meta.get("RetryAttempts", 0)) > 0
        return exists
    if code == "NoSuchBucket":
        return BucketMissing(f"{where}: the bucket {bucket} does not exist; create it or correct spec.storage.uri")
    if code in ("NoSuchKey", "NotFound", "404"):
        return NotFound(f"{where}: there is no such object")
    if code in _BUSY or code == "ConditionalRequestConflict" or (status >= 500 and code != "NotImplemented"):
        return StoreUnavailable(f"{where}: {error}")
    hint = "check the Secret in spec.storage.secretName, its permissions, and spec.storage.region"
    return StoreDenied(f"{where}: {error}; {hint}" if code in _DENIED or status in (401, 403) else f"{where}: {error}")
