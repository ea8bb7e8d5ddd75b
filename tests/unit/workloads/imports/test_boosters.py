"""XGBoost and LightGBM in their own formats: understood, published, and answering as the libraries do."""

import lightgbm
import numpy as np
import pytest
import xgboost

from stationkeeper.workloads.artifacts.columns import from_frame
from stationkeeper.workloads.artifacts.loading import load_model
from stationkeeper.workloads.imports import of_lightgbm
from tests.unit.workloads.imports.made_elsewhere import Pod, config, judged, numbers, rows, source

NAMED = {"features": [{"name": "x"}, {"name": "hour", "type": "Integer"}]}
FRAME = rows(300)
X, LATE, DELAY = numbers(FRAME).astype(float), FRAME["late"].to_numpy(), FRAME["delay"].to_numpy()
THIRDS = np.digitize(DELAY, [0.5, 1.5])


def boosted(objective: str, target, rounds: int = 8, **params):
    data = xgboost.DMatrix(X, label=target, feature_names=["x", "hour"])
    return xgboost.train({"objective": objective, "nthread": 1, "max_depth": 3, **params}, data, rounds)


def forest(objective: str, target, **params):
    given = {"objective": objective, "verbose": -1, "num_threads": 1, "num_leaves": 5, **params}
    return lightgbm.train(given, lightgbm.Dataset(X, label=target, feature_name=["x", "hour"]), 8)


def in_json(booster) -> bytes:
    return bytes(booster.save_raw("json"))


def in_text(booster) -> bytes:
    return booster.model_to_string().encode()


@pytest.fixture
def trusting(monkeypatch):
    """Files that are known to be whole are not first loaded elsewhere."""
    monkeypatch.setattr(of_lightgbm, "survives", lambda _source, _data: None)


BINARY, MULTI = boosted("binary:logistic", LATE), boosted("multi:softprob", THIRDS, num_class=3)
LGB_BINARY, LGB_MULTI = forest("binary", LATE), forest("multiclass", THIRDS, num_class=3)
PLAIN = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(X, LATE)
MATRIX = xgboost.DMatrix(X, feature_names=["x", "hour"])


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    ("form", "data", "wanted", "classes"),
    [
        pytest.param("xgboost", in_json(BINARY), BINARY.predict(MATRIX), ["0", "1"], id="xgboost, json"),
        pytest.param("xgboost", bytes(BINARY.save_raw("ubj")), BINARY.predict(MATRIX), ["0", "1"], id="xgboost, ubjson"),
        pytest.param("xgboost", in_json(MULTI), MULTI.predict(MATRIX), ["0", "1", "2"], id="xgboost, three classes"),
        pytest.param(
            "xgboost", in_json(PLAIN.get_booster()), PLAIN.predict_proba(X)[:, 1], ["0", "1"], id="xgboost, of scikit-learn"
        ),
        pytest.param("lightgbm", in_text(LGB_BINARY), LGB_BINARY.predict(X), ["0", "1"], id="lightgbm"),
        pytest.param("lightgbm", in_text(LGB_MULTI), LGB_MULTI.predict(X), ["0", "1", "2"], id="lightgbm, three classes"),
    ],
)
def test_a_classifier_answers_with_its_own_probabilities(tmp_path, form, data, wanted, classes):
    pod = Pod(tmp_path, data)
    manifest = pod.manifest(pod.run(config(source(form, **NAMED))))
    assert (manifest.format, manifest.classes, manifest.class_kind) == (form, classes, "integer")
    assert all(feature.nullable for feature in manifest.features), "missing values are learned"
    predictor = load_model(manifest, {name: data for name in manifest.files if name.startswith("model.")})
    given = predictor.predict(from_frame(FRAME, manifest.features))
    probabilities = given.probabilities[:, 1] if wanted.ndim == 1 else given.probabilities
    np.testing.assert_allclose(probabilities, wanted, atol=1e-6)
    most = (wanted > 0.5).astype(int) if wanted.ndim == 1 else wanted.argmax(axis=1)
    assert given.labels.tolist() == [str(label) for label in most]


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    ("form", "data", "wanted"),
    [
        pytest.param("xgboost", in_json(reg := boosted("reg:squarederror", DELAY)), reg.predict(MATRIX), id="xgboost"),
        pytest.param("lightgbm", in_text(lgb := forest("regression", DELAY)), lgb.predict(X), id="lightgbm"),
    ],
)
def test_a_regression_answers_with_its_own_values(tmp_path, form, data, wanted):
    pod = Pod(tmp_path, data)
    manifest = pod.manifest(pod.run(config(source(form, **NAMED) | {"target": "delay"})))
    predictor = load_model(manifest, {name: data for name in manifest.files if name.startswith("model.")})
    np.testing.assert_allclose(predictor.predict(from_frame(FRAME, manifest.features)).values, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("trusting")
def test_names_come_from_the_file_and_gates_judge_it(tmp_path):
    pod = Pod(tmp_path, in_text(LGB_BINARY), rows(seed=5))
    summary = pod.run(config(source("lightgbm", **judged())))
    assert summary.outcome == "Published", summary.message
    assert [feature.name for feature in pod.manifest(summary).features] == ["x", "hour"]
    assert summary.metrics["roc_auc"] > 0.8


@pytest.mark.parametrize(
    ("form", "data", "reason", "said"),
    [
        pytest.param("xgboost", b"junk", "InvalidModel", "no XGBoost model in JSON or UBJSON", id="xgboost, junk"),
        pytest.param("xgboost", in_json(BINARY)[:2000], "InvalidModel", "no XGBoost model", id="xgboost, torn"),
        pytest.param("lightgbm", b"junk", "InvalidModel", "must begin with `tree`", id="lightgbm, junk"),
        pytest.param("lightgbm", in_text(LGB_BINARY)[:1500], "InvalidModel", "not all of one", id="lightgbm, torn"),
        pytest.param(
            "lightgbm", in_text(LGB_BINARY).replace(b"leaf_value=", b"leaf_value=x"), "InvalidModel", "", id="lightgbm, damaged"
        ),
        pytest.param("xgboost", in_json(boosted("binary:logitraw", LATE)), "SignatureMismatch", "margins", id="xgboost, margins"),
    ],
)
def test_a_damaged_file_ends_the_import_and_not_the_process(tmp_path, form, data, reason, said):
    summary = Pod(tmp_path, data).run(config(source(form)))
    assert (summary.outcome, summary.reason) == ("InvalidData", reason), summary.message
    assert said in summary.message
    assert "/workspace/" not in summary.message, "where a library was built tells nobody anything"


@pytest.mark.usefixtures("trusting")
def test_text_columns_are_refused(tmp_path):
    spec = source("lightgbm", features=[{"name": "x"}, {"name": "c", "type": "Text"}])
    assert "takes numbers" in Pod(tmp_path, in_text(LGB_BINARY)).run(config(spec)).message
