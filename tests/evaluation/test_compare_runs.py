"""Two runs side by side."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.evaluation.compare_runs import ComparedFigure, Comparison, compare
from logllm_core.store.runs import find_run, list_runs
from logllm_core.store.store import Artifact, Store
from tests.evaluation.sample_runs import make_content, make_predictions, make_run, make_windows


def figure(found: Comparison, name: str) -> ComparedFigure:
    (chosen,) = (figure for figure in found.figures if figure.name == name)
    return chosen


def settings(found: Comparison) -> dict[str, tuple[Any, Any]]:
    return {setting.name: (setting.one, setting.other) for setting in found.settings}


def test_the_settings_that_differ_are_told_by_their_names(one: Artifact, other: Artifact) -> None:
    assert settings(compare(one, other)) == {
        "seeds": ([0], [1]),
        "stages.1.num_epochs": (5, 2),
        "patience": (None, 3),
        "overrides": ({}, {"seed": 1}),
        "versions.torch": ("2.13.0", "2.14.0"),
    }
    same = compare(one, one)
    assert not same.settings
    assert {figure.difference for figure in same.figures} <= {0.0, None}


def test_a_stage_that_one_run_lacks_is_told(store: Store, one: Artifact) -> None:
    content = make_content(0)
    content["settings"]["stages"] = [{"name": "2", "num_epochs": 5}]
    windows, predictions = make_windows(store, "regex"), make_predictions(store, 0, [1.0])
    found = settings(compare(one, make_run(store, content, windows, predictions)))
    assert found == {
        "stages.1.trains": (["decoder"], "not there"),
        "stages.1.num_epochs": (5, "not there"),
        "stages.2.num_epochs": ("not there", 5),
    }


def test_figures_stand_side_by_side(one: Artifact, other: Artifact) -> None:
    found = compare(one, other)
    assert found.has_same_test_windows
    f1 = figure(found, "F1")
    # 2 * 2 / (4 + 1 + 2), 2 * 3 / (6 + 1 + 1)
    assert (f1.one, f1.other) == (4 / 7, 0.75)
    assert f1.difference == pytest.approx(0.75 - 4 / 7)
    assert f1.one_interval == pytest.approx([4 / 7 - 0.04, 4 / 7 + 0.02])
    for name, value in {
        "hit@1": 1.0,
        "ECE": 0.062,
        "scoring, minutes": 1.0,
        "memory, GB": 2.34,
        "GPU memory, GB": 3.21,
    }.items():
        assert (figure(found, name).one, figure(found, name).difference) == (value, 0.0)
    minutes = figure(found, "training, minutes")
    assert (minutes.one, minutes.other, minutes.difference) == (3.0, 4.0, 1.0)
    assert figure(found, "false alarms per 10,000 windows").one == 1_000


def test_a_difference_has_the_interval_of_resamples_that_both_share(
    one: Artifact, other: Artifact
) -> None:
    """Anomalous and normal windows alternate, and a block is four windows: each resample has as
    many of both, where the first run's PR-AUC is 1 and the second one's 1/2."""
    found = figure(compare(one, other), "PR-AUC")
    assert found.difference_interval == pytest.approx([-0.5, -0.5])
    turned = figure(compare(other, one), "PR-AUC")
    assert turned.difference_interval == pytest.approx([0.5, 0.5])
    # F1 is 1, or 2 * 8 / (16 + 8).
    assert figure(compare(one, other), "F1").difference_interval == pytest.approx([-1 / 3, -1 / 3])
    assert figure(compare(one, other), "recall").difference_interval is None


def test_without_predictions_there_is_no_such_interval(
    store: Store, one: Artifact, other: Artifact
) -> None:
    shutil.rmtree(store.data_dir / "predictions")
    found = figure(compare(one, other), "F1")
    assert found.difference == pytest.approx(0.75 - 4 / 7)
    assert found.difference_interval is None


def test_the_same_lines_are_the_same_windows_however_they_were_masked(
    store: Store, one: Artifact
) -> None:
    masked = make_windows(store, "none")
    run = make_run(store, make_content(1), masked, make_predictions(store, 1, [1.0] * 16))
    found = compare(one, run)
    assert found.has_same_test_windows
    assert "windows" in settings(found)
    assert figure(found, "PR-AUC").difference_interval


def test_other_windows_do_not_compare(store: Store, one: Artifact) -> None:
    windows = make_windows(store, "regex", [[number] for number in range(16)])
    predictions = make_predictions(store, 1, [1.0] * 16)
    found = compare(one, make_run(store, make_content(1), windows, predictions))
    assert found.has_same_test_windows is False
    assert figure(found, "F1").difference is None
    assert figure(found, "F1").difference_interval is None
    assert figure(found, "memory, GB").difference == 0.0


def test_windows_of_another_log_do_not_compare(store: Store, one: Artifact) -> None:
    content = make_content(1)
    content["data_card"]["source"]["log_files"][0]["checksum"] = "sha256:cd"
    run = make_run(
        store, content, make_windows(store, "none"), make_predictions(store, 1, [1.0] * 16)
    )
    found = compare(one, run)
    assert found.has_same_test_windows is False
    assert settings(found)["log"] == ([f"sha256:{'ab' * 32}"], ["sha256:cd"])


def test_windows_that_are_gone_cannot_be_compared(store: Store, one: Artifact) -> None:
    masked = make_windows(store, "none")
    run = make_run(store, make_content(1), masked, make_predictions(store, 1, [1.0] * 16))
    shutil.rmtree(masked.path)
    found = compare(one, run)
    assert found.has_same_test_windows is None
    assert figure(found, "F1").difference is None


def test_runs_of_two_data_folders_compare(tmp_path: Path, one: Artifact) -> None:
    elsewhere = Store(data_dir=tmp_path / "elsewhere")
    predictions = make_predictions(elsewhere, 1, [1.0] * 16)
    run = make_run(elsewhere, make_content(1), make_windows(elsewhere, "none"), predictions)
    found = compare(find_run(elsewhere, str(one.path)), run)
    assert found.has_same_test_windows
    assert figure(found, "PR-AUC").difference_interval == pytest.approx([-0.5, -0.5])


@pytest.mark.parametrize("missing", ["lines", "calibration", "scoring"])
def test_a_report_of_an_earlier_version_is_one_error(
    store: Store, one: Artifact, missing: str
) -> None:
    content = make_content(1)
    del content[missing]
    run = make_run(store, content, make_windows(store, "regex"), make_predictions(store, 1, [1.0]))
    with pytest.raises(
        LogLLMError, match=f"earlier version: it lacks {missing}.*logllm evaluate x"
    ):
        compare(one, run)


def test_a_report_with_figures_of_an_earlier_version_is_one_error(
    store: Store, one: Artifact
) -> None:
    content = make_content(1)
    content["detectors"]["LogLLM"] = {"f1": 0.5, "pr_auc": 0.5}
    run = make_run(store, content, make_windows(store, "regex"), make_predictions(store, 1, [1.0]))
    with pytest.raises(LogLLMError, match=r"it lacks detectors\.LogLLM\.at_decision"):
        compare(run, one)
    (listed,) = (found for found in list_runs(store) if found.run == run.fingerprint)
    assert (listed.f1, listed.pr_auc) == (0.5, 0.5)


def test_means_over_seeds_are_told_where_a_run_has_several(store: Store) -> None:
    several, single = make_content(0), make_content(1)
    f1 = {"values": [0.0, 0.5], "mean": 0.25, "std": 0.35, "min": 0.0, "max": 0.5}
    several["seeds"] = {"seeds": [0, 1], "figures": {"f1": f1, "pr_auc": None}}
    single["seeds"] = None
    windows, predictions = make_windows(store, "regex"), make_predictions(store, 0, [1.0] * 16)
    runs = [make_run(store, content, windows, predictions) for content in (several, single)]
    found = figure(compare(*runs), "F1, mean over seeds")
    assert (found.one, found.other, found.difference) == (0.25, None, None)
    names = {row.name for row in compare(runs[1], runs[1]).figures}
    assert not any("seeds" in name for name in names)
