"""Labels given as text, as what a model may have answered."""

from typing import Final

import polars as pl

from stationkeeper.api.manifest import Manifest, Task
from stationkeeper.workloads.artifacts.errors import MalformedArtifact

WHOLE: Final = r"^([+-]?[0-9]+)\.0*$"  # 1.0, as 1 is called where a column has gaps
_SHOWN: Final = 40  # characters of an example
_BOOLEANS: Final = {"true": "true", "false": "false", "1": "true", "0": "false"}


class MalformedLabels(MalformedArtifact):
    """Labels cannot be read as what the Model says of them; the message names the object and what to do."""


def truth_of(labels: pl.Series, manifest: Manifest, name: str) -> pl.Series:
    """The classes of the manifest, or numbers, both as text; null where there is none: empty text, or NaN.

    Raises:
        MalformedLabels: when one cannot be meant for this model; `name` says where it was found.
    """
    if manifest.task is Task.REGRESSION:
        return _numbers(labels, name)
    if manifest.class_kind == "string":
        return labels if "" in manifest.classes else labels.replace("", None)
    text = _plain(labels).str.replace(WHOLE, "${1}")
    if manifest.class_kind == "boolean":
        values = text.replace_strict(_BOOLEANS, default=None, return_dtype=pl.String)
        refuse(text, values, f"{name}: the label %s is neither true nor false")
        return values
    text = text.replace(["true", "false"], ["1", "0"])
    whole = text.cast(pl.Int64, strict=False)
    refuse(text, whole, f"{name}: the label %s is no whole number, as this model's classes are")
    return whole.cast(pl.String)


def _numbers(labels: pl.Series, name: str) -> pl.Series:
    text = _plain(labels).replace(["true", "false"], ["1", "0"])
    values = text.cast(pl.Float64, strict=False)
    refuse(text, values.set(values.is_infinite(), None), f"{name}: the label %s is no finite number")
    return values.cast(pl.String)


def _plain(labels: pl.Series) -> pl.Series:
    return labels.str.strip_chars().str.to_lowercase().replace(["", "nan"], [None, None])


def refuse(text: pl.Series, values: pl.Series, said: str) -> None:
    """Refuse text that could not be read: where it is there and `values` are not.

    Raises:
        MalformedLabels: `said`, with an example in the place of %s.
    """
    wrong = text.filter(values.is_null() & text.is_not_null())
    if len(wrong):
        raise MalformedLabels(f"{said % repr(str(wrong[0])[:_SHOWN])}; correct or remove it")
