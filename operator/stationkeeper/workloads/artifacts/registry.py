# ruff: noqa: N818 - the names say what is so, as in `except ImageMissing`
"""What the tag of an image stands for now: its digest, asked of the registry without pulling anything.

    RegistryError
    ├── RegistryUnavailable    the registry did not answer, or not now, or nothing that can be understood: worth another try
    ├── RegistryDenied         it wants credentials, or refuses those that there are
    └── ImageMissing           it has no such image, or no such tag

Protocol: the OCI distribution specification; tokens as in the Docker registry's "token authentication".
"""

import base64
import binascii
import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit
from urllib.request import parse_http_list, parse_keqv_list

import urllib3

log = logging.getLogger(__name__)

_ACCEPT: Final = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)
_MAX_MANIFEST: Final = 4 * 2**20  # bytes; the specification's
_MAX_TOKEN: Final = 2**20
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")  # what a header may hold


class RegistryError(Exception):
    """The registry did not tell the digest. The message names the image and says what to do."""


class RegistryUnavailable(RegistryError):
    """It did not answer, or not now. Retriable."""


class RegistryDenied(RegistryError):
    """It refused. Terminal until a person changes something."""


class ImageMissing(RegistryError):
    """There is no such image."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An image by its tag."""

    host: str  # with a port, where the reference has one
    name: str
    tag: str

    @classmethod
    def of(cls, text: str) -> "Reference":
        """Of `host/name:tag`, as `api.base.ImageTag` has it."""
        name, _, tag = text.rpartition(":")
        host, _, path = name.partition("/")
        return cls(host, path, tag)

    def __str__(self) -> str:
        return f"{self.host}/{self.name}:{self.tag}"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: urllib3.HTTPHeaderDict
    data: bytes


@dataclass(frozen=True, slots=True)
class Registry:
    """The registry of one image.

    Parameters:
        image: whose digest is asked for.
        insecure: whether it speaks plain HTTP.
        basic: `user:password` in base64; None asks anonymously.
    """

    image: Reference
    insecure: bool = False
    basic: str | None = None

    def digest(self) -> str:
        """What the tag stands for now: of an image for several platforms, the digest of its index.

        Raises:
            RegistryError: when the registry does not tell.
        """
        http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=10, read=30), retries=False)
        headers = {"Accept": _ACCEPT}
        answer = self._ask(http, "HEAD", self._manifest, headers)
        if answer.status == 401:
            headers["Authorization"] = self._authorization(http, answer)
            answer = self._ask(http, "HEAD", self._manifest, headers)
        told = answer.headers.get("Docker-Content-Digest", "")
        if answer.status == 405 or (answer.status == 200 and not told):
            answer = self._ask(http, "GET", self._manifest, headers)
            told = answer.headers.get("Docker-Content-Digest") or f"sha256:{hashlib.sha256(answer.data).hexdigest()}"
        self._check(answer)
        if not _DIGEST.fullmatch(told):
            raise RegistryUnavailable(f"the registry of {self.image} tells no SHA-256 digest: {told[:100]!r}")
        return told

    @property
    def _manifest(self) -> str:
        scheme = "http" if self.insecure else "https"
        return f"{scheme}://{self.image.host}/v2/{self.image.name}/manifests/{self.image.tag}"

    def _ask(self, http: urllib3.PoolManager, method: str, url: str, headers: Mapping[str, str]) -> _Answer:
        """One request, and as much of its answer as is looked at. Credentials follow no redirect, so there is none."""
        try:
            answer = http.request(method, url, headers=headers, redirect=False, preload_content=False)
            try:
                data = answer.read(_MAX_MANIFEST + 1)
            finally:
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise RegistryUnavailable(
                f"the registry of {self.image} does not answer at {urlsplit(url).netloc}: {_line(error)}"
            ) from error
        if len(data) > _MAX_MANIFEST:
            raise RegistryUnavailable(f"the registry of {self.image} answers with more than {_MAX_MANIFEST} bytes")
        return _Answer(answer.status, answer.headers, data)

    def _check(self, answer: _Answer) -> None:
        match answer.status:
            case 200:
                return
            case 401 | 403:
                raise RegistryDenied(f"the registry refuses {self.image} ({answer.status}): {self._advice}")
            case 404:
                raise ImageMissing(f"there is no image {self.image}; push it, or correct training.watch.image")
            case status:
                raise RegistryUnavailable(f"the registry of {self.image} answers {status}")

    @property
    def _advice(self) -> str:
        return "correct the secret of watch.pullSecretName" if self.basic else "name a secret in watch.pullSecretName"

    def _authorization(self, http: urllib3.PoolManager, answer: _Answer) -> str:
        """What the registry's challenge asks for: a token, which may be had anonymously, or the password itself."""
        for challenge in answer.headers.getlist("WWW-Authenticate"):
            scheme, _, rest = challenge.partition(" ")
            if scheme.lower() == "bearer":
                return f"Bearer {self._token(http, parse_keqv_list(_pairs(rest)))}"
            if scheme.lower() == "basic" and self.basic:
                return f"Basic {self.basic}"
        raise RegistryDenied(f"the registry refuses {self.image}: {self._advice}")

    def _token(self, http: urllib3.PoolManager, challenge: Mapping[str, str]) -> str:
        realm = challenge.get("realm", "")
        if urlsplit(realm).scheme not in (("http", "https") if self.insecure else ("https",)):
            raise RegistryDenied(f"the registry of {self.image} sends for a token to {realm[:200]!r}, which is not https")
        asked = {"service": challenge.get("service"), "scope": challenge.get("scope", f"repository:{self.image.name}:pull")}
        query = urlencode({name: value for name, value in asked.items() if value})
        headers = {"Authorization": f"Basic {self.basic}"} if self.basic else {}
        answer = self._ask(http, "GET", f"{realm}{'&' if urlsplit(realm).query else '?'}{query}", headers)
        self._check(answer)
        token = _token_in(answer.data)
        if token is None:
            raise RegistryUnavailable(f"{urlsplit(realm).netloc} answers with no token for {self.image}")
        return token


def _pairs(text: str) -> list[str]:
    return [part for part in parse_http_list(text) if "=" in part]


def _token_in(data: bytes) -> str | None:
    try:
        said = json.loads(data[:_MAX_TOKEN])
    except ValueError:
        return None
    token = (said.get("token") or said.get("access_token")) if isinstance(said, dict) else None
    return token if isinstance(token, str) and _TOKEN.fullmatch(token) else None


def credentials(path: Path, image: Reference) -> str | None:
    """`user:password` in base64 for an image from a pull secret; None where the pod has none.

    As the kubelet does, of several entries that fit the longest counts.

    Raises:
        RegistryDenied: when the secret is not one, or knows nothing of this registry.
    """
    if not path.is_file():
        return None
    try:
        known = json.loads(path.read_bytes())["auths"]
        found = {key: entry for key, entry in known.items() if _fits(key, image)}
        if not found:
            raise RegistryDenied(f"the secret of watch.pullSecretName has no entry for {image.host}: {', '.join(known)[:200]}")
        return _basic(found[max(found, key=len)])
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise RegistryDenied(
            "the secret of watch.pullSecretName is no docker configuration with a user and a password; "
            "make it by: kubectl create secret docker-registry"
        ) from error


def _fits(key: str, image: Reference) -> bool:
    address = re.sub(r"^https?://", "", key).rstrip("/").removesuffix("/v1").removesuffix("/v2")
    return f"{image.host}/{image.name}/".startswith(f"{address}/")


def _basic(entry: Mapping[str, Any]) -> str:
    if entry.get("auth"):
        text = base64.b64decode(str(entry["auth"]), validate=True).decode()
    else:
        text = f"{entry['username']}:{entry['password']}"
    if ":" not in text:
        raise ValueError("no user")
    return base64.b64encode(text.encode()).decode()


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
