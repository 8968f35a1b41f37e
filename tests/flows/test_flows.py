"""Whole flows on a CPU, with two-layer models, against a real Prefect API."""

import json
import time
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterTypeError
from sklearn.metrics import average_precision_score

from flows.evaluate import evaluate_logllm
from flows.prepare import prepare_logs
from flows.settings import RunSettings, TrainSettings
from flows.steps import pipeline_of
from flows.train import train_logllm
from logllm_core import tables
from logllm_core.daily.champion.decisions import find_champion
from logllm_core.errors import LogLLMError
from logllm_core.logs.windows.window_artifact import read_windows
from logllm_core.model.backbones import find_backbones
from logllm_core.pages.markdown import escape
from logllm_core.pipeline import Prepared
from logllm_core.query.views import query
from logllm_core.scoring.predictions import predict
from logllm_core.store.store import Artifact, Store
from logllm_core.training import stage as training_stage
from logllm_core.training.stage_plan import Execution, StagePlan
from tests.rewriting import rewrite

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def settings(data_dir: Path, tiny_backbones: str) -> TrainSettings:
    return TrainSettings(
        data_dir=data_dir, recipe=str(data_dir / "tiny.toml"), backbones=tiny_backbones
    )


def test_a_training_leaves_an_artifact_a_stage_and_a_report(settings: TrainSettings) -> None:
    report = train_logllm("small-log", settings)

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
    first = train_logllm("small-log", settings)
    before = {path: path.read_bytes() for path in settings.data_dir.rglob("manifest.json")}
    # raw, part, messages, windows, vectors, three stages, predictions, report
    assert len(before) == 10
    assert train_logllm("small-log", settings) == first
    assert {p: p.read_bytes() for p in settings.data_dir.rglob("manifest.json")} == before


def test_evaluate_finds_what_train_left_and_refuses_to_train(settings: TrainSettings) -> None:
    with pytest.raises(LogLLMError, match="Stage 1 of small-log has not been trained with these"):
        evaluate_logllm("small-log", settings)
    assert not list(settings.data_dir.glob("models/*/*/manifest.json"))
    trained = train_logllm("small-log", settings)
    assert evaluate_logllm("small-log", settings) == trained


def test_a_change_of_the_recipe_is_in_the_manifests_and_in_the_report(
    settings: TrainSettings,
) -> None:
    changes = {"stages.1.num_epochs": 0, "stages.3.num_epochs": 2, "embedder": "message-id"}
    report = train_logllm("small-log", settings.model_copy(update={"overrides": changes}))
    content = json.loads((report.path / "report.json").read_text())
    assert content["settings"]["overrides"] == changes
    assert [stage["name"] for stage in content["stages"]] == ["2", "3"]  # the first is skipped
    models = settings.store.all("models", "small-log")
    assert len(models) == 2
    for model in models:
        assert model.results["overrides"] == changes
        assert model.manifest["config"]["recipe"]["embedder"] == "message-id"
        name = model.manifest["config"]["stage"]["name"]
        assert model.manifest["config"]["stage"]["num_epochs"] == {"2": 1, "3": 2}[name]


def test_another_seed_is_another_training(settings: TrainSettings) -> None:
    first = train_logllm("small-log", settings)
    other = train_logllm("small-log", settings.model_copy(update={"seed": 1}))
    assert first.path != other.path
    assert len(list(settings.data_dir.glob("models/*/*/manifest.json"))) == 6
    assert len(list(settings.data_dir.glob("windows/*/*/manifest.json"))) == 1


def test_several_seeds_are_one_report_with_their_spread(settings: TrainSettings) -> None:
    state = train_logllm("small-log", with_seeds(settings, 2, seed=5), return_state=True)
    report = state.result()
    content = json.loads((report.path / "report.json").read_text())
    assert content["seeds"]["seeds"] == [5, 6]
    assert content["settings"]["seed"] == 5
    trained = settings.store.all("models", "small-log")
    assert [model.manifest["config"]["recipe"]["seed"] for model in trained].count(6) == 3
    assert len(trained) == 6
    assert len(settings.store.all("windows", "small-log")) == 1
    found = {
        predictions.manifest["config"]["recipe"]["seed"]: average_precision(predictions)
        for predictions in settings.store.all("predictions", "small-log")
    }
    assert content["detectors"]["LogLLM"]["pr_auc"] == pytest.approx(found[5])
    spread = content["seeds"]["figures"]["pr_auc"]
    assert spread["values"] == pytest.approx([found[5], found[6]])
    assert spread["mean"] == pytest.approx((found[5] + found[6]) / 2)
    # Of two values: their distance by the root of 2.
    assert spread["std"] == pytest.approx(abs(found[5] - found[6]) / 2**0.5)
    lines = [line for line in logged(state) if "seed" in line]
    assert lines[:2] == ["small-log: seed 5 (1 of 2)", "small-log: seed 6 (2 of 2)"]

    # Each seed alone is what it is among others, and the views show the first.
    count = 'select round(sum(probability), 9) from "small-log".predictions'
    first = query(settings.store, count)[1]
    models = {model.fingerprint for model in trained}
    alone = train_logllm("small-log", settings.model_copy(update={"seed": 6}))
    assert {model.fingerprint for model in settings.store.all("models", "small-log")} == models
    assert json.loads((alone.path / "report.json").read_text())["seeds"] is None
    assert query(settings.store, count)[1] != first
    assert evaluate_logllm("small-log", with_seeds(settings, 2, seed=5)) == report
    assert query(settings.store, count)[1] == first


def test_the_seed_that_the_validation_split_prefers_is_reported_shown_and_champion(
    settings: TrainSettings,
) -> None:
    changes = {"keep": "best", "overrides": {"validation_fraction": 0.4}}
    chosen = with_seeds(settings, 2, seed=5).model_copy(update=changes)
    report = train_logllm("small-log", chosen)
    content = json.loads((report.path / "report.json").read_text())
    made = {
        predictions.manifest["config"]["recipe"]["seed"]: predictions
        for predictions in settings.store.all("predictions", "small-log")
    }
    by_validation = {seed: average_precision(made[seed], "validation") for seed in (5, 6)}
    kept = max(by_validation, key=lambda seed: by_validation[seed])
    assert content["seeds"]["kept"]["seed"] == content["settings"]["seed"] == kept
    figures = content["seeds"]["kept"]["validation"]
    assert {found["seed"]: found["pr_auc"] for found in figures} == pytest.approx(by_validation)
    assert set(content["seeds"]["seeds"]) == {5, 6}
    assert content["detectors"]["LogLLM"]["pr_auc"] == pytest.approx(average_precision(made[kept]))

    champion = find_champion(settings.store, "small-log")
    assert champion is not None
    assert champion.recipe.seed == kept
    assert champion.trained == content["stages"][-1]["artifact"]
    assert champion.trained == made[kept].manifest["inputs"]["trained"]
    _, rows = query(
        settings.store,
        "select probability from \"small-log\".predictions where split = 'test' order by window_id",
    )
    table = tables.read(made[kept].path / "split=test", tables.PREDICTIONS)
    assert [row[0] for row in rows] == table["probability"].to_pylist()
    assert evaluate_logllm("small-log", chosen) == report


def with_seeds(settings: TrainSettings, num_seeds: int, *, seed: int) -> TrainSettings:
    return settings.model_copy(update={"num_seeds": num_seeds, "seed": seed})


def average_precision(predictions: Artifact, split: str = "test") -> float:
    table = tables.read(predictions.path / f"split={split}", tables.PREDICTIONS)
    labels, scores = (table[name].to_numpy() for name in ("is_anomalous", "probability"))
    return float(average_precision_score(labels, scores))


def test_what_an_interrupted_seed_left_is_gone_on_from(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_stage = training_stage.train_stage

    def cut_off(store: Store, plan: StagePlan, execution: Execution) -> Artifact:
        if plan.recipe.seed == 1 and plan.stage.name == "2":
            raise LogLLMError("cut off")
        return train_stage(store, plan, execution)

    monkeypatch.setattr(training_stage, "train_stage", cut_off)
    wanted = with_seeds(settings, 2, seed=0)
    with pytest.raises(LogLLMError, match="cut off"):
        train_logllm("small-log", wanted)
    monkeypatch.undo()
    with pytest.raises(LogLLMError, match="Stage 2 of small-log has not been trained"):
        evaluate_logllm("small-log", wanted)
    kept = {p: p.read_bytes() for p in settings.data_dir.glob("models/*/*/manifest.json")}
    assert len(kept) == 3 + 1
    train_logllm("small-log", wanted)
    assert {path: path.read_bytes() for path in kept} == kept
    assert len(list(settings.data_dir.glob("models/*/*/manifest.json"))) == 6


def test_figures_report_and_log_lines_reach_prefect(settings: TrainSettings) -> None:
    state = train_logllm("small-log", settings, return_state=True)
    report = state.result()
    with get_client(sync_client=True) as client:
        run_id = state.state_details.flow_run_id
        assert run_id is not None
        artifacts = {a.key: a for a in client.read_artifacts() if a.flow_run_id == run_id}
    lines = logged(state)
    rows = json.loads(str(artifacts["metrics-small-log"].data))
    content = json.loads((report.path / "report.json").read_text())
    assert rows[0]["detector"] == "LogLLM"
    assert rows[0]["pr_auc"] == round(content["detectors"]["LogLLM"]["pr_auc"], 3)
    assert rows[0]["f1_interval"]
    markdown = str(artifacts["report-small-log"].data)
    assert escape(content["verdict"]) in markdown
    assert escape(str(report.path / "report.html")) in markdown
    alerts = json.loads(str(artifacts["alerts-small-log"].data))
    assert [row["alert"] for row in alerts] == [
        found["alert"] for found in content["alerts"]["types"]
    ]
    assert sum("stage 2:" in line for line in lines) == 1


def logged(state: State[Artifact]) -> list[str]:
    """The log lines of a run, once the last has reached Prefect: they travel in batches."""
    assert state.state_details.flow_run_id is not None
    chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        for _ in range(30):
            lines = [log.message for log in client.read_logs(chosen)]
            if any("LogLLM reaches" in line for line in lines):
                break
            time.sleep(0.5)
    return lines


def test_the_test_split_is_not_read_while_training(settings: TrainSettings) -> None:
    """Unreadable test windows and reworded test-only messages change no weight."""
    train_logllm("small-log", settings)
    weights = {path: path.read_bytes() for path in settings.data_dir.rglob("trainable.safetensors")}
    assert len(weights) == 3
    prepared = prepare_logs("small-log", settings)
    test_path = prepared.windows.path / "split=test" / "part-0000.parquet"
    test_path.write_bytes(bytes(test_path.stat().st_size))
    reword_messages_unseen_in_training(prepared)
    for path in weights:
        path.unlink()
    train_again(prepared, settings)
    assert {path: path.read_bytes() for path in weights} == weights


@flow
def train_again(prepared: Prepared, settings: TrainSettings) -> None:
    """The stages alone: what comes before and after them reads the test split."""
    dataset, recipe = settings.find_dataset("small-log"), settings.find_recipe()
    pipeline = pipeline_of(settings)
    basis = pipeline.basis(dataset, recipe, settings.backbones, prepared)
    pipeline.train(basis, settings.execution)


def reword_messages_unseen_in_training(prepared: Prepared) -> None:
    known = {m for ids in read_windows(prepared.windows, "train").message_ids for m in ids}
    path = prepared.messages.path / "vocabulary.parquet"
    vocabulary = tables.read(path, tables.VOCABULARY)
    rows = vocabulary.to_pylist()
    texts = [row["text"] if row["message_id"] in known else "delta write" for row in rows]
    assert texts != vocabulary["text"].to_pylist()
    place = vocabulary.schema.get_field_index("text")
    tables.write(path, vocabulary.set_column(place, "text", [texts]), tables.VOCABULARY)
    rewrite(prepared.messages.path)


def test_the_views_never_join_windows_with_another_windows_predictions(
    settings: TrainSettings,
) -> None:
    train_logllm("small-log", settings)
    _, rows = query(settings.store, 'select count(*) from "small-log".predictions')
    assert rows[0][0]
    # Without a validation split the windows are others, and nothing has scored them yet.
    prepare_logs("small-log", settings.model_copy(update={"recipe": "paper"}))
    with pytest.raises(LogLLMError, match="predictions does not exist"):
        query(settings.store, 'select count(*) from "small-log".predictions')
    prepare_logs("small-log", settings)
    assert query(settings.store, 'select count(*) from "small-log".predictions')[1] == rows


@pytest.mark.parametrize("name", ["hdfs", "bgl"])
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


def test_an_unknown_setting_is_refused_before_the_run_starts() -> None:
    with pytest.raises(ParameterTypeError, match=r"extra_forbidden|not permitted"):
        train_logllm("demo", {"recipes": "quick"})  # type: ignore[call-overload]


def test_windows_without_labels_are_scored_by_a_model_of_another_log(
    settings: TrainSettings,
) -> None:
    train_logllm("small-log", settings)
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
    found = tables.read(predictions.path / "split=test", tables.PREDICTIONS)
    assert len(found) == prepared.windows.results["splits"]["test"]["num_windows"] > 0
    assert found["is_anomalous"].null_count == len(found)
    assert set(found["verdict"].to_pylist()) <= {"normal", "anomalous"}
