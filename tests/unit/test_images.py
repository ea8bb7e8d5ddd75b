"""`python -m hack.images`: a cluster has what was built last."""

from pathlib import Path

import pytest

from hack.cluster import existing, node
from hack.images.__main__ import load

OLD, NEW, OTHER = (Path(name) for name in ("operator-dev-0aa.tar", "operator-dev-1bb.tar", "workloads-dev-2cc.tar"))


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(existing, "wanted", lambda: False)
    monkeypatch.setattr(node, "load", lambda directory, archives: names.extend(archive.name for archive in archives))
    return names


def test_what_has_not_changed_is_loaded_once(loaded, tmp_path):
    for _ in range(2):
        load([OLD, OTHER], tmp_path)
    assert loaded == [OLD.name, OTHER.name]


def test_a_state_that_comes_back_is_loaded_again_for_its_tag_names_another_by_now(loaded, tmp_path):
    for archive in (OLD, NEW, OLD):
        load([archive, OTHER], tmp_path)
    assert loaded == [OLD.name, OTHER.name, NEW.name, OLD.name]
