"""The library, as a notebook uses it: from a data set to alarms, without Prefect."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

import logllm_core as logllm
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.notebook.functions import Data, Model
from tests import tiny
from tests.daily.new_logs import DATASET
from tests.logs.samples import EPOCH

LINES = ["alpha read ok", "beta write ok", "gamma disk failed", "delta"]
SMALL = {
    "batch_size": 8,
    "micro_batch_size": 8,
    "max_message_tokens": 16,
    "precision": "float32",
    "stages.1.num_samples": 8,
    "stages.3.num_samples": 8,
    "stages.3.min_samples": 0,
}


def write_log(path: Path, num_lines: int, *, is_labelled: bool = True) -> None:
    """Every third window of four lines holds a failed disk, which is what anomalous means here."""
    with path.open("w") as log:
        for number in range(num_lines):
            is_bad = number % 12 == 1
            label = ("BAD " if is_bad else "- ") if is_labelled else ""
            text = LINES[2] if is_bad else LINES[number % 2]
            log.write(f"{label}{EPOCH + number} {text}\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("notebook")
    write_log(made / "own.log", 240)
    (made / "data" / "datasets").mkdir(parents=True)
    (made / "data" / "datasets" / "own.toml").write_text(DATASET)
    return made


@pytest.fixture(scope="module")
def own(folder: Path) -> Dataset:
    return logllm.dataset("own", data_dir=folder / "data")


@pytest.fixture(scope="module")
def data(folder: Path, own: Dataset) -> Data:
    return logllm.prepare(own, data_dir=folder / "data")


@pytest.fixture(scope="module")
def model(folder: Path, data: Data) -> Model:
    return logllm.train(data, backbones=tiny.save(folder / "tiny"), settings=SMALL)


def test_what_is_prepared_is_a_table(data: Data) -> None:
    assert repr(data) == "Data(own: 44 train, 5 validation, 12 test windows)"
    windows = data.windows.arrow()
    assert windows.num_rows == 61
    assert pc.sum(pc.equal(windows["split"], "test")).as_py() == 12
    assert data.messages.arrow().num_rows == 240
    assert data.vocabulary.arrow()["text"].to_pylist() == [LINES[0], LINES[2], LINES[1]]


def test_a_model_is_trained_and_reported_on(folder: Path, model: Model) -> None:
    assert repr(model).startswith("Model(own: ")
    report = logllm.evaluate(model)
    assert report.page.is_file()
    assert report.page.is_relative_to(folder / "data" / "runs" / "own")
    assert report.f1.value is None or 0 <= report.f1.value <= 1
    assert "LogLLM" in report.detectors
    assert model.predictions.arrow().num_rows == 5 + 12


def test_the_same_call_again_trains_nothing(folder: Path, data: Data, model: Model) -> None:
    before = sorted((folder / "data" / "models").rglob("*.safetensors"))
    again = logllm.train(data, backbones=model.trained.basis.backbones, settings=SMALL)
    assert again.trained.stages == model.trained.stages
    assert sorted((folder / "data" / "models").rglob("*.safetensors")) == before


def test_windows_at_hand_are_scored_as_those_of_a_log(folder: Path, model: Model) -> None:
    write_log(folder / "new.log", 8, is_labelled=False)
    found = logllm.detect(model, folder / "new.log").windows.arrow()["probability"].to_pylist()
    at_hand = [[LINES[0], LINES[2], LINES[0], LINES[1]], [LINES[0], LINES[1]] * 2]
    assert model.score(at_hand) == pytest.approx(found, abs=1e-5)
    assert model.score([]).shape == (0,)


def test_alarms_name_their_lines(
    folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logllm_core.scoring.judge.DECISION", 0.0)  # all are flagged
    write_log(folder / "other.log", 12, is_labelled=False)
    verdicts = logllm.detect(model, folder / "other.log")
    assert repr(verdicts) == "Detection(3 alarms in 3 windows)"
    with (folder / "other.log").open("a") as log:
        log.write("- neither a time nor a message\n")
    told = repr(logllm.detect(model, folder / "other.log"))
    assert told == "Detection(4 alarms in 4 windows; 1 lines without time)"
    alarms = list(verdicts)
    assert [(alarm.first_line, alarm.last_line) for alarm in alarms] == [(0, 3), (4, 7), (8, 11)]
    for alarm in alarms:
        assert alarm.source == str(folder / "other.log")
        for line in alarm.lines:
            assert alarm.first_line <= line.line_number <= alarm.last_line
            assert line.content in LINES
    assert not (folder / "data" / "predictions" / "own" / "new").exists()  # nothing is written


def test_a_promoted_model_is_the_one_that_is_loaded(folder: Path, model: Model) -> None:
    with pytest.raises(LogLLMError, match="own has no champion"):
        logllm.load("own", data_dir=folder / "data")
    logllm.promote(model)
    loaded = logllm.load("own", data_dir=folder / "data")
    assert loaded.trained.stages == model.trained.stages
    at_hand = [[LINES[2], LINES[1]]]
    assert np.array_equal(loaded.score(at_hand), model.score(at_hand))
    report = logllm.evaluate(loaded)
    assert report.page == logllm.evaluate(model).page
    report.page.with_name("manifest.json").unlink()
    with pytest.raises(LogLLMError, match="by which this model of own became champion, is gone"):
        logllm.evaluate(loaded)


def test_a_callers_mistake_is_one_error(data: Data, model: Model) -> None:
    with pytest.raises(LogLLMError, match='There is no recipe "quik"'):
        logllm.train(data, recipe="quik")
    with pytest.raises(LogLLMError, match="A list of windows is wanted"):
        model.score(["link is up"])
    with pytest.raises(LogLLMError, match="Window 1 is"):
        model.score([["link is up"], []])
    unlabelled = data.dataset.model_copy(update={"labels": None})
    with pytest.raises(LogLLMError, match="label"):
        logllm.train(logllm.prepare(unlabelled, data_dir=data.pipeline.store.data_dir))


@pytest.mark.slow
def test_the_import_loads_neither_torch_nor_prefect() -> None:
    script = "import sys, logllm_core; print(*({'torch', 'prefect', 'pyarrow'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
