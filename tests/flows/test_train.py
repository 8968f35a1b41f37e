"""The flows `train-logllm` and `evaluate-logllm` on a CPU, with two-layer models, as plain
functions; with Prefect: see test_with_prefect.py."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score

from flows.evaluate import evaluate_logllm
from flows.prepare import prepare_logs
from flows.settings import RunSettings, TrainSettings
from flows.train import train_logllm
from logllm_core import tables
from logllm_core.daily.champion.decisions import find_champion
from logllm_core.errors import LogLLMError
from logllm_core.logs.windows.window_artifact import read_windows
from logllm_core.model.backbones import find_backbones
from logllm_core.pipeline import Pipeline, Prepared
from logllm_core.query.views import query
from logllm_core.scoring.predictions import predict
from logllm_core.store.store import Artifact
from logllm_core.training import stage as training_stage
from tests.flows.conftest import CHANGES, settings_of
from tests.rewriting import rewrite

pytestmark = pytest.mark.usefixtures("without_prefect")


@pytest.fixture
def fresh(data_dir: Path, tiny_backbones: str) -> TrainSettings:
    """Of a data folder in which nothing was done."""
    return settings_of(data_dir, tiny_backbones)


@pytest.fixture
def settings(trained_dir: Path, tiny_backbones: str) -> TrainSettings:
    """Of one in which `small-log` was trained."""
    return settings_of(trained_dir, tiny_backbones)


def report_of(settings: TrainSettings) -> Artifact:
    (report,) = settings.store.all("runs", "small-log")
    return report


def manifests(settings: TrainSettings, kind: str = "*") -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in settings.data_dir.glob(f"{kind}/*/*/manifest.json")}


def test_a_training_leaves_an_artifact_a_stage_and_a_report(settings: TrainSettings) -> None:
    report = report_of(settings)
    content = json.loads((report.path / "report.json").read_text())
    assert [stage["name"] for stage in content["stages"]] == ["1", "2", "3"]
    for stage in content["stages"]:
        folder = settings.data_dir / "models" / "small-log" / stage["artifact"]
        assert (folder / "trainable.safetensors").is_file()
        assert json.loads((folder / "manifest.json").read_text())["config"]["stage"]["name"]
    assert next(iter(content["detectors"])) == "LogLLM"
    assert "logistic regression on message counts" in content["detectors"]
    assert content["data_card"]["source"]["origin"] == "simulator"
    assert "LogLLM on small-log" in (report.path / "report.html").read_text()

    # The views answer, and every test window has a prediction.
    with duckdb.connect(settings.data_dir / "logllm.duckdb", read_only=True) as connection:
        splits = connection.execute(
            'select split, count(*) from "small-log".windows group by split'
        ).fetchall()
        num_joined = connection.execute(
            'select count(*) from "small-log".windows join "small-log".predictions'
            " using (split, window_id) where split = 'test'"
        ).fetchone()
    assert dict(splits).keys() == {"train", "validation", "test"}
    assert num_joined == (dict(splits)["test"],)


def test_the_same_training_again_builds_nothing(settings: TrainSettings) -> None:
    before = manifests(settings)
    # raw, part, messages, windows, vectors, three stages, predictions, report
    assert len(before) == 10
    assert train_logllm("small-log", settings) == report_of(settings)
    assert evaluate_logllm("small-log", settings) == report_of(settings)
    assert manifests(settings) == before


def test_evaluate_refuses_to_train(fresh: TrainSettings) -> None:
    with pytest.raises(LogLLMError, match="Stage 1 of small-log has not been trained with these"):
        evaluate_logllm("small-log", fresh)
    assert not manifests(fresh, "models")


def test_a_change_of_the_recipe_is_in_the_manifests_and_in_the_report(
    several_dir: Path, tiny_backbones: str
) -> None:
    settings = settings_of(several_dir, tiny_backbones, overrides=CHANGES)
    report = evaluate_logllm("small-log", settings)
    content = json.loads((report.path / "report.json").read_text())
    assert content["settings"]["overrides"] == CHANGES
    assert [stage["name"] for stage in content["stages"]] == ["2", "3"]  # the first is skipped
    models = [
        model
        for model in settings.store.all("models", "small-log")
        if model.results["overrides"] == CHANGES
    ]
    assert len(models) == 2
    for model in models:
        assert model.manifest["config"]["recipe"]["embedder"] == "message-id"
        name = model.manifest["config"]["stage"]["name"]
        assert model.manifest["config"]["stage"]["num_epochs"] == {"2": 1, "3": 2}[name]


@pytest.fixture
def both(several_dir: Path, tiny_backbones: str) -> TrainSettings:
    """Of a data folder with the seeds 0 and 1."""
    return settings_of(several_dir, tiny_backbones, num_seeds=2)


def test_several_seeds_are_one_report_with_their_spread(both: TrainSettings) -> None:
    trained = [
        model.manifest["config"]["recipe"]
        for model in both.store.all("models", "small-log")
        if not model.results["overrides"].keys() & CHANGES.keys()
    ]
    assert sorted(recipe["seed"] for recipe in trained) == [0, 0, 0, 1, 1, 1]
    assert len(both.store.all("windows", "small-log")) == 1
    before = manifests(both)
    report = evaluate_logllm("small-log", both)
    assert manifests(both) == before
    content = json.loads((report.path / "report.json").read_text())
    assert content["seeds"]["seeds"] == [0, 1]
    assert content["settings"]["seed"] == 0
    of_seed = {
        predictions.manifest["config"]["recipe"]["seed"]: average_precision(predictions)
        for predictions in both.store.all("predictions", "small-log")
        if predictions.manifest["config"]["recipe"]["embedder"] == "encoder"
    }
    assert content["detectors"]["LogLLM"]["pr_auc"] == pytest.approx(of_seed[0])
    spread = content["seeds"]["figures"]["pr_auc"]
    assert spread["values"] == pytest.approx([of_seed[0], of_seed[1]])
    assert spread["mean"] == pytest.approx((of_seed[0] + of_seed[1]) / 2)
    # Of two values: their distance by the root of 2.
    assert spread["std"] == pytest.approx(abs(of_seed[0] - of_seed[1]) / 2**0.5)


def test_each_seed_alone_is_what_it_is_among_others_and_the_views_show_the_first(
    both: TrainSettings,
) -> None:
    report = evaluate_logllm("small-log", both)
    count = 'select round(sum(probability), 9) from "small-log".predictions'
    first = query(both.store, count)[1]
    models = manifests(both, "models")
    alone = train_logllm("small-log", both.model_copy(update={"seed": 1, "num_seeds": 1}))
    assert alone != report
    assert manifests(both, "models") == models
    assert json.loads((alone.path / "report.json").read_text())["seeds"] is None
    assert query(both.store, count)[1] != first
    assert evaluate_logllm("small-log", both) == report
    assert query(both.store, count)[1] == first


def test_the_seed_that_the_validation_split_prefers_is_reported_shown_and_champion(
    both: TrainSettings,
) -> None:
    (both.data_dir / "models" / "small-log" / "champion.json").unlink()  # the first seed's
    chosen = both.model_copy(update={"keep": "best"})
    report = train_logllm("small-log", chosen)
    content = json.loads((report.path / "report.json").read_text())
    made = {
        predictions.manifest["config"]["recipe"]["seed"]: predictions
        for predictions in both.store.all("predictions", "small-log")
        if predictions.manifest["config"]["recipe"]["embedder"] == "encoder"
    }
    by_validation = {seed: average_precision(made[seed], "validation") for seed in (0, 1)}
    kept = max(by_validation, key=lambda seed: by_validation[seed])
    assert content["seeds"]["kept"]["seed"] == content["settings"]["seed"] == kept
    figures = content["seeds"]["kept"]["validation"]
    assert {each["seed"]: each["pr_auc"] for each in figures} == pytest.approx(by_validation)
    assert set(content["seeds"]["seeds"]) == {0, 1}
    assert content["detectors"]["LogLLM"]["pr_auc"] == pytest.approx(average_precision(made[kept]))

    champion = find_champion(both.store, "small-log")
    assert champion is not None
    assert champion.recipe.seed == kept
    assert champion.trained == content["stages"][-1]["artifact"]
    assert champion.trained == made[kept].manifest["inputs"]["trained"]
    _, rows = query(
        both.store,
        "select probability from \"small-log\".predictions where split = 'test' order by window_id",
    )
    table = tables.read(made[kept].path / "split=test", tables.PREDICTIONS)
    assert [row[0] for row in rows] == table["probability"].to_pylist()
    assert evaluate_logllm("small-log", chosen) == report


def average_precision(predictions: Artifact, split: str = "test") -> float:
    table = tables.read(predictions.path / f"split={split}", tables.PREDICTIONS)
    labels, scores = (table[name].to_numpy() for name in ("is_anomalous", "probability"))
    return float(average_precision_score(labels, scores))


@pytest.mark.slow
def test_what_an_interrupted_seed_left_is_gone_on_from(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_in_team = training_stage.train_in_team

    def cut_off(order: Any, *given: Any) -> Any:
        if order.plan.stage.name == "2":
            raise LogLLMError("cut off")
        return train_in_team(order, *given)

    monkeypatch.setattr(training_stage, "train_in_team", cut_off)
    wanted = settings.model_copy(update={"num_seeds": 2})
    with pytest.raises(LogLLMError, match="cut off"):
        train_logllm("small-log", wanted)
    monkeypatch.undo()
    with pytest.raises(LogLLMError, match="Stage 2 of small-log has not been trained"):
        evaluate_logllm("small-log", wanted)
    kept = manifests(settings, "models")
    assert len(kept) == 3 + 1
    train_logllm("small-log", wanted)
    assert kept.items() <= manifests(settings, "models").items()
    assert len(manifests(settings, "models")) == 6


def test_the_test_split_is_not_read_while_training(settings: TrainSettings) -> None:
    """Unreadable test windows and reworded test-only messages change no weight."""
    weights = {path: path.read_bytes() for path in settings.data_dir.rglob("trainable.safetensors")}
    assert len(weights) == 3
    prepared = prepare_logs("small-log", settings)
    test_path = prepared.windows.path / "split=test" / "part-0000.parquet"
    test_path.write_bytes(bytes(test_path.stat().st_size))
    reword_messages_unseen_in_training(prepared)
    for path in weights:
        path.unlink()
    # The stages alone: what comes before and after them reads the test split.
    pipeline = Pipeline(store=settings.store)
    dataset, recipe = settings.find_dataset("small-log"), settings.find_recipe()
    pipeline.train(
        pipeline.basis(dataset, recipe, settings.backbones, prepared), settings.execution
    )
    assert {path: path.read_bytes() for path in weights} == weights


def reword_messages_unseen_in_training(prepared: Prepared) -> None:
    known = {m for ids in read_windows(prepared.windows, "train").message_ids for m in ids}
    path = prepared.messages.path / "vocabulary.parquet"
    vocabulary = tables.read(path, tables.VOCABULARY)
    rows = vocabulary.to_pylist()
    texts = [row["text"] if row["message_id"] in known else "delta write" for row in rows]
    assert texts != vocabulary["text"].to_pylist()
    column = vocabulary.schema.get_field_index("text")
    tables.write(path, vocabulary.set_column(column, "text", [texts]), tables.VOCABULARY)
    rewrite(prepared.messages.path)


def test_the_views_never_join_windows_with_another_windows_predictions(
    settings: TrainSettings,
) -> None:
    _, rows = query(settings.store, 'select count(*) from "small-log".predictions')
    assert rows[0][0]
    # Without a validation split the windows are others, and nothing has scored them yet.
    prepare_logs("small-log", settings.model_copy(update={"recipe": "paper"}))
    with pytest.raises(LogLLMError, match="predictions does not exist"):
        query(settings.store, 'select count(*) from "small-log".predictions')
    prepare_logs("small-log", settings)
    assert query(settings.store, 'select count(*) from "small-log".predictions')[1] == rows


@pytest.mark.parametrize("name", [pytest.param("hdfs", marks=pytest.mark.slow), "bgl"])
def test_a_mirror_is_taken_and_told(name: str, mirror: Path, tmp_path: Path) -> None:
    prepared = prepare_logs(name, RunSettings(data_dir=tmp_path, mirror=mirror))
    source = prepared.raw.results
    assert source["origin"] == "mirror"
    sums = (mirror / "SHA256SUMS").read_text().split()
    listed = dict(zip(sums[1::2], sums[::2], strict=True))
    assert source["sha256"] == listed[Path(source["location"]).name]
    assert not source["is_official_content"]
    parts = prepared.windows.path.glob("split=*/*.parquet")
    num_windows = sum(pq.read_metadata(part).num_rows for part in parts)
    # BGL: 2,000 lines in windows of 100, split at 1,440 and 1,600: 15 + 2 + 4.
    assert num_windows == {"hdfs": 9_183, "bgl": 21}[name]


def test_windows_without_labels_are_scored_by_a_model_of_another_log(
    settings: TrainSettings,
) -> None:
    catalog = settings.data_dir / "datasets"
    labelled = (catalog / "small-log.toml").read_text()
    unlabelled = labelled.replace('[labels]\nkind = "field"\n', "").replace("seed = 3", "seed = 4")
    (catalog / "unlabelled.toml").write_text(unlabelled)
    prepared = prepare_logs("unlabelled", settings)
    store = settings.store
    (trained,) = (
        model
        for model in store.all("models", "small-log")
        if model.manifest["config"]["stage"]["name"] == "3"
    )
    predictions = predict(
        store,
        "unlabelled",
        recipe=settings.find_recipe(),
        folders=find_backbones(store, settings.backbones),
        messages=prepared.messages,
        windows=prepared.windows,
        trained=trained,
    )
    verdicts = tables.read(predictions.path / "split=test", tables.PREDICTIONS)
    assert len(verdicts) == prepared.windows.results["splits"]["test"]["num_windows"] > 0
    assert verdicts["is_anomalous"].null_count == len(verdicts)
    assert set(verdicts["verdict"].to_pylist()) <= {"normal", "anomalous"}
