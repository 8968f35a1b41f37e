"""The flow `detect-anomalies` as a plain function; with Prefect: see test_with_prefect.py."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.detect import detect_anomalies
from flows.settings import DetectSettings
from logllm_core import tables
from logllm_core.daily.detect.detect import detect
from logllm_core.daily.detect.detect_result import Detected
from logllm_core.daily.ledger.cursors import new_parts
from logllm_core.query.views import query
from logllm_core.store.store import Store
from tests.daily.new_logs import dataset_of, lines, prepare_champion
from tests.flows.conftest import Published

pytestmark = pytest.mark.usefixtures("without_prefect")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return prepare_champion(tmp_path).store.data_dir


def run(data: Path, *files: Path) -> tuple[Detected, str]:
    """What the flow returns, and what its state says."""
    settings = DetectSettings(data_dir=data)
    state: Any = detect_anomalies.fn("own", [str(path) for path in files], settings)
    assert state.is_completed()
    return state.data, state.message


def rows(data: Path) -> list[dict[str, Any]]:
    return [
        row
        for part in new_parts(Store(data_dir=data), "own")
        for row in tables.read(part, tables.NEW_PREDICTIONS).to_pylist()
    ]


def test_a_folder_of_new_logs_is_judged_and_shown(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "app.log").write_text("".join(lines(203)))
    detected, message = run(data, folder)
    assert (detected.num_windows, detected.num_logs) == (51, 1)
    assert message.startswith("1 log, 203 new lines in 51 windows judged now")
    assert len(rows(data)) == 51
    statement = "select count(*) from own.predictions where split = 'new'"
    assert query(Store(data_dir=data), statement)[1] == [(51,)]
    assert (data / "predictions" / "own" / "new" / "page.html").is_file()
    (folder / "app.log").rename(folder / "app.log.1")
    (folder / "app.log").write_text("".join(lines(8, seed=2)))
    again, _ = run(data, folder, tmp_path / "gone")
    assert (again.num_windows, again.num_lines) == (2, 8)
    assert len(rows(data)) == 53


def test_without_a_champion_it_ends_at_once_and_says_so(data: Path, tmp_path: Path) -> None:
    (data / "models" / "own" / "champion.json").unlink()
    log = tmp_path / "new.log"
    log.write_text("".join(lines(8)))
    detected, message = run(data, log)
    assert message == "own has no model yet; nothing was judged."
    assert detected == Detected()


@pytest.mark.parametrize("is_there", [True, False])
def test_without_a_log_it_ends_at_once_and_says_so(
    data: Path, tmp_path: Path, *, is_there: bool
) -> None:
    folder = tmp_path / "new"
    if is_there:
        folder.mkdir()
    _, message = run(data, folder)
    assert message == f"There is no log in {folder}; nothing was judged."


@pytest.mark.parametrize("has_reference", [False, True])
def test_drift_is_measured_where_there_is_a_training_period_to_compare_with(
    tmp_path: Path, without_prefect: Published, *, has_reference: bool
) -> None:
    setting = prepare_champion(tmp_path)
    if has_reference:
        setting.predict()
    log = tmp_path / "new.log"
    log.write_text("".join(lines(203)))
    run(setting.store.data_dir, log)
    assert [name for name, _ in without_prefect] == ["publish_drift"] * has_reference


def test_drift_is_also_of_windows_that_another_call_judged(
    tmp_path: Path, without_prefect: Published
) -> None:
    """Such as one that follows the log; nothing is left to the flow."""
    setting = prepare_champion(tmp_path)
    setting.predict()
    log = tmp_path / "new.log"
    log.write_text("".join(lines(203)))
    detect(setting.store, dataset_of(tmp_path), [str(log)])
    detected, _ = run(setting.store.data_dir, log)
    assert detected.num_windows == 0
    assert [(name, drift.dataset) for name, drift in without_prefect] == [("publish_drift", "own")]


def test_the_settings_are_json(data: Path) -> None:
    settings = DetectSettings(data_dir=data)
    assert DetectSettings.model_validate(json.loads(settings.model_dump_json())) == settings
