"""The tag of an image is asked of a registry, over HTTP on loopback; nothing is pulled."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stationkeeper.api.base import ImageTag
from stationkeeper.api.jobs import WatchConfig
from stationkeeper.api.meta import ENV_CONFIG
from stationkeeper.api.summary import FailureSummary, WatchSummary
from stationkeeper.workloads.artifacts.registry import (
    ImageMissing,
    Reference,
    Registry,
    RegistryDenied,
    RegistryUnavailable,
    credentials,
)
from stationkeeper.workloads.jobs import watch as job
from tests.support.registry import TOKEN, FakeRegistry, serving

USER = "robot:s3cr:t"
BASIC = base64.b64encode(USER.encode()).decode()


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with serving() as fake:
        yield fake


def look(registry: FakeRegistry, secret: dict[str, Any] | None = None, folder: Path | None = None) -> str:
    """The whole look, as the pod does it; returns the digest."""
    path = None
    if secret is not None:
        assert folder is not None
        path = folder / "config.json"
        path.write_text(json.dumps(secret), encoding="utf-8")
    image = f"{registry.host}/ops/trainer:stable"
    summary, code = job.watch(config(image), secret=path)
    assert (code, summary.uri) == (0, image)
    return summary.digest


def config(image: str) -> WatchConfig:
    known = {"model": {"namespace": "ops", "name": "m", "uid": "u"}, "storage": {"uri": "s3://models/m"}}
    return WatchConfig.model_validate(known | {"image": image, "insecure": True})


def pull_secret(host: str, **entry: str) -> dict[str, Any]:
    return {"auths": {host: entry}}


def test_the_digest_is_that_of_the_manifest_and_follows_the_tag(registry: FakeRegistry) -> None:
    first = registry.push("ops/trainer:stable", b"{one}")
    assert look(registry) == first
    assert look(registry) == first
    registry.push("ops/trainer:other", b"{three}")
    assert look(registry) == first, "another tag is another image"
    assert look(registry) != registry.push("ops/trainer:stable", b"{two}") == look(registry)
    assert {method for method, _, _ in registry.log} == {"HEAD"}, "nothing is pulled, not even the manifest"


@pytest.mark.parametrize(("knows_head", "tells_digest"), [(False, True), (True, False), (False, False)])
def test_an_old_registry_is_asked_for_the_manifest_itself(registry: FakeRegistry, knows_head: bool, tells_digest: bool) -> None:
    registry.knows_head, registry.tells_digest = knows_head, tells_digest
    assert registry.push("ops/trainer:stable", b"{one}") == look(registry)


def test_a_token_is_had_anonymously(registry: FakeRegistry) -> None:
    registry.auth = "bearer"
    assert registry.push("ops/trainer:stable", b"{one}") == look(registry)
    assert [(method, path.partition("?")[0], said) for method, path, said in registry.log] == [
        ("HEAD", "/v2/ops/trainer/manifests/stable", None),
        ("GET", "/token", None),
        ("HEAD", "/v2/ops/trainer/manifests/stable", f"Bearer {TOKEN}"),
    ]


@pytest.mark.parametrize("auth", ["bearer", "basic"])
@pytest.mark.parametrize("entry", [{"auth": BASIC}, {"username": "robot", "password": "s3cr:t"}])
def test_a_pull_secret_opens_what_is_closed(registry: FakeRegistry, tmp_path: Path, auth: str, entry: dict[str, str]) -> None:
    registry.auth, registry.user = auth, USER
    wanted = registry.push("ops/trainer:stable", b"{one}")
    with pytest.raises(RegistryDenied, match="name a secret in watch"):
        look(registry)
    assert look(registry, pull_secret(registry.host, **entry), tmp_path) == wanted
    with pytest.raises(RegistryDenied, match="correct the secret of watch"):
        look(registry, pull_secret(registry.host, username="robot", password="old"), tmp_path)


def test_the_password_goes_to_the_token_service_and_the_token_to_the_registry(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.auth, registry.user = "bearer", USER
    registry.push("ops/trainer:stable", b"{one}")
    look(registry, pull_secret(registry.host, auth=BASIC), tmp_path)
    assert [said for _, _, said in registry.log] == [None, f"Basic {BASIC}", f"Bearer {TOKEN}"]


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ({"auths": {"registry.example.com": {"auth": BASIC}}}, "no entry for 127.0.0.1:"),
        ({"auths": {}}, "no entry for 127.0.0.1:"),
        ({}, "is no docker configuration"),
        ([], "is no docker configuration"),
        ({"auths": {"HOST": {}}}, "is no docker configuration"),
        ({"auths": {"HOST": {"auth": "***"}}}, "is no docker configuration"),
        ({"auths": {"HOST": {"auth": base64.b64encode(b"nobody").decode()}}}, "is no docker configuration"),
    ],
)
def test_a_secret_that_is_none_is_told_and_not_shown(registry: FakeRegistry, tmp_path: Path, secret: Any, said: str) -> None:
    written = json.loads(json.dumps(secret).replace("HOST", registry.host))
    with pytest.raises(RegistryDenied, match=re.escape(said)) as caught:
        look(registry, written, tmp_path)
    assert BASIC not in str(caught.value)
    assert registry.log == []


@pytest.mark.parametrize(
    ("key", "fits"),
    [
        ("registry.example.com", True),
        ("https://registry.example.com/v1/", True),
        ("https://registry.example.com/v2", True),
        ("registry.example.com/ops", True),
        ("registry.example.com/ops/trainer", True),
        ("registry.example.com/op", False),
        ("registry.example.com:5000", False),
        ("example.com", False),
        ("registry.example.com.evil.org", False),
    ],
)
def test_an_entry_is_for_its_registry_or_a_path_of_it(tmp_path: Path, key: str, fits: bool) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(pull_secret(key, auth=BASIC)), encoding="utf-8")
    image = Reference.of("registry.example.com/ops/trainer:stable")
    if fits:
        assert credentials(path, image) == BASIC
    else:
        with pytest.raises(RegistryDenied, match="no entry for"):
            credentials(path, image)


def test_the_longest_entry_counts(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    other = base64.b64encode(b"other:x").decode()
    secret = {"auths": {"registry.example.com": {"auth": other}, "registry.example.com/ops": {"auth": BASIC}}}
    path.write_text(json.dumps(secret), encoding="utf-8")
    assert credentials(path, Reference.of("registry.example.com/ops/trainer:1")) == BASIC
    assert credentials(path, Reference.of("registry.example.com/web/site:1")) == other


def test_what_is_not_there_is_missing_and_no_change(registry: FakeRegistry) -> None:
    with pytest.raises(ImageMissing, match=r"there is no image 127.0.0.1:\d+/ops/trainer:stable; push it"):
        look(registry)


@pytest.mark.parametrize("status", [301, 429, 500, 503])
def test_a_registry_that_is_busy_or_sends_elsewhere_is_asked_again_later(registry: FakeRegistry, status: int) -> None:
    registry.failing = status
    with pytest.raises(RegistryUnavailable, match=f"answers {status}"):
        look(registry)
    assert len(registry.log) == 1, "a redirect is not followed: it could carry a password away"


def test_nobody_there() -> None:
    with pytest.raises(RegistryUnavailable, match=r"does not answer at 127\.0\.0\.1:1"):
        job.watch(config("127.0.0.1:1/ops/trainer:stable"))


def test_plain_http_is_not_spoken_unless_it_is_asked_for(registry: FakeRegistry) -> None:
    registry.push("ops/trainer:stable", b"{one}")
    with pytest.raises(RegistryUnavailable, match="does not answer"):
        Registry(Reference.of(f"{registry.host}/ops/trainer:stable")).digest()
    assert registry.log == []


@pytest.mark.parametrize("realm", ["ftp://127.0.0.1/token", "file:///etc/passwd", ""])
def test_a_token_is_not_fetched_from_anywhere(registry: FakeRegistry, realm: str) -> None:
    registry.push("ops/trainer:stable", b"{one}")
    registry.auth, registry.realm = "bearer", realm or "nowhere"
    with pytest.raises(RegistryDenied, match="which is not https"):
        look(registry)


@pytest.mark.parametrize("token", [None, 7, "", "two words", "line\r\nX-Evil: 1"])
def test_a_token_that_is_none_is_not_sent(registry: FakeRegistry, token: object) -> None:
    registry.push("ops/trainer:stable", b"{one}")
    registry.auth, registry.token = "bearer", token
    with pytest.raises(RegistryUnavailable, match="answers with no token"):
        look(registry)
    assert [method for method, _, _ in registry.log] == ["HEAD", "GET"]


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("registry.example.com/ops/trainer:1.4", ("registry.example.com", "ops/trainer", "1.4")),
        ("registry.example.com:5000/trainer:stable", ("registry.example.com:5000", "trainer", "stable")),
        ("registry:5000/a/b__c/d-e:T_1.x-y", ("registry:5000", "a/b__c/d-e", "T_1.x-y")),
        ("localhost/trainer:1", ("localhost", "trainer", "1")),
        ("trainer:1", None),
        ("ops/trainer:1", None),
        ("registry.example.com/trainer", None),
        ("registry.example.com/Trainer:1", None),
        ("registry.example.com/../trainer:1", None),
        ("registry.example.com/trainer@sha256:" + "0" * 64, None),
        ("user@registry.example.com/trainer:1", None),
        ("registry.example.com/trainer:1?x", None),
    ],
)
def test_an_image_is_named_with_its_registry_and_its_tag(image: str, parts: tuple[str, str, str] | None) -> None:
    pattern = next(found.pattern for found in ImageTag.__metadata__[0].metadata if hasattr(found, "pattern"))
    assert bool(re.search(pattern, image)) == (parts is not None)
    if parts:
        assert Reference.of(image) == Reference(*parts)
        assert str(Reference.of(image)) == image


@pytest.mark.parametrize(("pushed", "code"), [(True, 0), (False, 3)])
def test_the_pod_as_it_runs(registry: FakeRegistry, tmp_path: Path, pushed: bool, code: int) -> None:
    """In a process of its own, with what the operator gives it: the termination message is what the operator hears."""
    if pushed:
        registry.push("ops/trainer:stable", b"{one}")
    told = config(f"{registry.host}/ops/trainer:stable").model_dump_json(by_alias=True, exclude_none=True)
    environment = {
        ENV_CONFIG: told,
        "STATIONKEEPER_TERMINATION_LOG": str(tmp_path / "said"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run([sys.executable, "-m", job.__name__], env=environment, capture_output=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr.decode()
    said = (tmp_path / "said").read_bytes()
    if pushed:
        assert WatchSummary.model_validate_json(said).digest == registry.push("ops/trainer:stable", b"{one}")
    else:
        assert FailureSummary.model_validate_json(said).reason == "ImageMissing"
