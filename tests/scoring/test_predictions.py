from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logit

from logllm_core import tables
from logllm_core.logs.windows.window_artifact import read_windows
from logllm_core.model import Embedder
from logllm_core.model.window_answers import probabilities, score_log_odds, score_windows
from logllm_core.query.views import query, refresh_views
from logllm_core.scoring import judge
from logllm_core.scoring import predictions as scoring
from logllm_core.scoring.localize import contributions
from logllm_core.scoring.rounding import IN_FEW, IN_FLOAT32, MOST_COMPARED
from logllm_core.store.store import Artifact
from logllm_core.training.trained_model import load_model
from tests.scoring.setting import CPU, Setting, prepare

SPLITS = scoring.SCORED_SPLITS
NUM_WINDOWS = 16  # of both


def rows(predictions: Artifact, split: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Predictions and contributions of a split."""
    contributed = predictions.path / "contributions" / f"split={split}"
    return (
        tables.read(predictions.path / f"split={split}", tables.PREDICTIONS).to_pylist(),
        tables.read(contributed, tables.CONTRIBUTIONS).to_pylist(),
    )


def middle(chances: Sequence[float] | NDArray[np.float64]) -> float:
    return float(np.median(chances))


def check(setting: Setting, predictions: Artifact) -> list[str]:
    """Hold the artifact against the model asked about each window alone; returns the verdicts."""
    model, collator = load_model(
        setting.folders,
        setting.recipe,
        setting.trained,
        messages=setting.messages,
        windows=setting.windows,
        device=CPU,
    )
    verdicts = []
    threshold: float = vars(judge)["DECISION"]  # as a fixture set it
    rounding = predictions.results["rounding"]["log_odds"]
    for split in SPLITS:
        windows = read_windows(setting.windows, split)
        predicted, contributed = rows(predictions, split)
        assert [row["window_id"] for row in predicted] == windows.window_ids.tolist()
        wanted: dict[tuple[int, int], float] = {}
        for row, window in zip(predicted, windows.message_ids, strict=True):
            (chance,) = score_windows(model, collator, [window])
            assert row["probability"] == pytest.approx(chance, abs=1e-5)
            assert row["verdict"] == ("anomalous" if row["probability"] > threshold else "normal")
            if row["verdict"] == "anomalous":
                (own,) = contributions(model, collator, [window])
                wanted |= {(row["window_id"], message): value for message, value in own.items()}
            verdicts.append(row["verdict"])
        found = {(row["window_id"], row["message_id"]): row["contribution"] for row in contributed}
        assert list(found) == list(wanted)  # in log order, and as they first occur in a window
        assert found == pytest.approx(wanted, abs=1e-4)
        assert predictions.results[split] == {
            "num_windows": len(windows),
            "num_distinct_windows": len(set(windows.message_ids)),
            "num_long_windows": 0,
            "num_windows_flagged_late": 0,
            "num_cut_lines": 0,
            "num_flagged_windows": len({window_id for window_id, _ in wanted}),
            "num_localized_windows": len({window_id for window_id, _ in wanted}),
            "num_windows_within_rounding": sum(
                abs(logit(row["probability"]) - logit(threshold)) < rounding for row in predicted
            ),
        }
    return verdicts


@pytest.fixture
def _middling_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Untrained models answer one word to all; a decision among their answers parts them."""

    def scored(*arguments: Any) -> Any:
        found = score_log_odds(*arguments)
        monkeypatch.setattr(f"{judge.__name__}.DECISION", middle(probabilities(found)))
        return found

    monkeypatch.setattr(f"{judge.__name__}.score_log_odds", scored)


@pytest.mark.usefixtures("_middling_decision")
@pytest.mark.parametrize("embedder", ["encoder", "message-id", "none"])
def test_each_flagged_window_says_what_its_messages_contributed(
    tmp_path: Path, embedder: Embedder
) -> None:
    setting = prepare(tmp_path, embedder=embedder)
    verdicts = check(setting, setting.predict())
    assert set(verdicts) == {"normal", "anomalous"}


@pytest.mark.usefixtures("_middling_decision")
def test_windows_without_labels_are_localized_too(tmp_path: Path) -> None:
    setting = prepare(tmp_path, is_labelled=False)
    predictions = setting.predict()
    assert set(check(setting, predictions)) == {"normal", "anomalous"}
    assert {row["is_anomalous"] for row in rows(predictions, "test")[0]} == {None}


def test_where_nothing_is_flagged_the_table_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{judge.__name__}.DECISION", 1.0)
    predictions = prepare(tmp_path).predict()
    for split in SPLITS:
        predicted, contributed = rows(predictions, split)
        assert {row["verdict"] for row in predicted} == {"normal"}
        assert contributed == []
        assert (predictions.path / "contributions" / f"split={split}" / "part-0.parquet").is_file()
        assert predictions.results[split]["num_localized_windows"] == 0


def test_of_a_long_window_the_most_suspicious_excerpt_decides_and_is_localized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threshold = 0.16  # of the 16 pairs of messages six are above, the nearest .176, one is .146
    monkeypatch.setattr(f"{judge.__name__}.DECISION", threshold)
    setting = prepare(tmp_path, max_window_messages=2)  # windows of four
    predictions = setting.predict()
    model, collator = load_model(
        setting.folders,
        setting.recipe,
        setting.trained,
        messages=setting.messages,
        windows=setting.windows,
        device=CPU,
    )
    num_late = 0
    for split in SPLITS:
        windows = read_windows(setting.windows, split).message_ids
        predicted, contributed = rows(predictions, split)
        is_late = []
        for row, window in zip(predicted, windows, strict=True):
            halves = [window[:2], window[2:]]
            chances = score_windows(model, collator, halves)
            assert row["probability"] == pytest.approx(chances.max(), abs=1e-5)
            is_late.append(chances[1] > threshold >= chances[0])
            is_flagged = row["verdict"] == "anomalous"
            assert is_flagged == (row["probability"] > threshold)
            own = [r["message_id"] for r in contributed if r["window_id"] == row["window_id"]]
            deciding = halves[chances.argmax()]
            assert own == (list(dict.fromkeys(deciding)) if is_flagged else [])
        results = predictions.results[split]
        assert results["num_long_windows"] == len(windows)
        assert results["num_windows_flagged_late"] == sum(is_late)
        assert results["num_distinct_windows"] == len(set(windows))
        num_late += sum(is_late)
    assert 0 < num_late < NUM_WINDOWS


def test_lines_whose_message_is_cut_are_counted(tmp_path: Path) -> None:
    setting = prepare(tmp_path, max_message_tokens=4)  # two of them are marks: "delta" alone fits
    results = setting.predict().results
    for split in SPLITS:
        windows = read_windows(setting.windows, split).message_ids
        expected = sum(message != 3 for window in windows for message in window)
        assert results[split]["num_cut_lines"] == expected > 0


@pytest.mark.usefixtures("_middling_decision")
def test_of_too_many_flagged_windows_evenly_chosen_ones_are_localized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = prepare(tmp_path)
    monkeypatch.setattr(scoring, "MAX_LOCALIZED", 2)
    predictions = setting.predict()
    places: dict[tuple[int, ...], list[bool]] = {
        ids: [] for split in SPLITS for ids in read_windows(setting.windows, split).message_ids
    }
    num_flagged, num_localized = 0, 0
    for split in SPLITS:
        windows = read_windows(setting.windows, split)
        by_id = dict(zip(windows.window_ids.tolist(), windows.message_ids, strict=True))
        predicted, contributed = rows(predictions, split)
        localized = {row["window_id"] for row in contributed}
        for row in predicted:
            if row["verdict"] == "anomalous":
                places[by_id[row["window_id"]]].append(row["window_id"] in localized)
        num_flagged += predictions.results[split]["num_flagged_windows"]
        num_localized += predictions.results[split]["num_localized_windows"]
    # A sequence is localized wherever it occurs, or nowhere; of those flagged two at most are.
    assert all(len(set(found)) <= 1 for found in places.values())
    assert sum(any(found) for found in places.values()) in {1, 2}
    assert 0 < num_localized < num_flagged


def distinct_windows(setting: Setting) -> set[tuple[int, ...]]:
    return {ids for split in SPLITS for ids in read_windows(setting.windows, split).message_ids}


def test_float32_is_compared_with_other_batches_alone(tmp_path: Path) -> None:
    setting = prepare(tmp_path)
    found = setting.predict().results["rounding"]
    assert list(found["by_way"]) == [IN_FEW]
    assert found["num_windows"] == min(len(distinct_windows(setting)), MOST_COMPARED)
    assert 0 < found["log_odds"] < 1e-4  # float32 has 24 bits, log-odds of a few


@pytest.mark.parametrize("embedder", ["encoder", "message-id", "none"])
def test_bfloat16_is_compared_with_float32_by_the_same_weights(
    tmp_path: Path, embedder: Embedder
) -> None:
    setting = prepare(tmp_path, precision="bfloat16", embedder=embedder)
    predictions = setting.predict()
    found = predictions.results["rounding"]
    assert list(found["by_way"]) == [IN_FEW, IN_FLOAT32]
    assert found["log_odds"] == max(found["by_way"].values())
    model, collator = load_model(
        setting.folders,
        setting.recipe.model_copy(update={"precision": "float32"}),
        setting.trained,
        messages=setting.messages,
        windows=setting.windows,
        device=CPU,
    )
    differences = []
    for split in SPLITS:
        windows = read_windows(setting.windows, split).message_ids
        exact = logit(score_windows(model, collator, windows))
        scored = logit([row["probability"] for row in rows(predictions, split)[0]])
        differences += np.abs(exact - scored).tolist()
    # There are no more windows than are compared.
    assert found["num_windows"] == len(distinct_windows(setting)) <= MOST_COMPARED
    assert found["by_way"][IN_FLOAT32] == pytest.approx(max(differences), abs=1e-4)
    assert found["by_way"][IN_FLOAT32] > 1e-3


def test_quantised_weights_are_compared_in_other_batches_alone(tmp_path: Path) -> None:
    setting = prepare(tmp_path, precision="bfloat16", quantization="nf4")
    assert list(setting.predict().results["rounding"]["by_way"]) == [IN_FEW]


@pytest.mark.parametrize(("off", "is_within"), [(0.0, False), (30.0, True)])
def test_windows_nearer_to_the_decision_than_rounding_are_counted_in_each_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, off: float, is_within: bool
) -> None:
    def way(*_: Any) -> Any:
        return lambda windows: window_log_odds_of(windows) + off

    def scored(*arguments: Any) -> Any:
        found = score_log_odds(*arguments)
        given.update(zip(map(tuple, arguments[2]), found, strict=True))
        return found

    def window_log_odds_of(windows: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
        return np.array([given[window] for window in windows])

    given: dict[tuple[int, ...], float] = {}
    monkeypatch.setattr(f"{scoring.__name__}.in_batches_of", way)
    monkeypatch.setattr(f"{judge.__name__}.score_log_odds", scored)
    results = prepare(tmp_path).predict().results
    assert max(map(abs, given.values())) < 30  # untrained, it is sure of nothing
    assert results["rounding"]["log_odds"] == off
    for split in SPLITS:
        expected = results[split]["num_windows"] if is_within else 0
        assert results[split]["num_windows_within_rounding"] == expected


def test_scoring_and_localizing_are_timed_apart(tmp_path: Path) -> None:
    predictions = prepare(tmp_path).predict()
    results = predictions.results
    taken = results["scoring_seconds"], results["localization_seconds"]
    assert min(taken) >= 0
    assert 0 < sum(taken) <= predictions.manifest["seconds"]


@pytest.mark.usefixtures("_middling_decision")
def test_the_view_of_contributions_joins_with_windows_and_vocabulary(tmp_path: Path) -> None:
    setting = prepare(tmp_path)
    predictions = setting.predict()
    refresh_views(setting.store)
    names, found = query(setting.store, "select * from own.contributions order by split, window_id")
    assert names == ["window_id", "message_id", "contribution", "split"]
    numbers = {split: len(rows(predictions, split)[1]) for split in SPLITS}
    assert [row[-1] for row in found] == ["test"] * numbers["test"] + ["validation"] * (
        numbers["validation"]
    )
    _, joined = query(
        setting.store,
        """
        select text from own.contributions join own.vocabulary using (message_id)
        join own.predictions using (window_id, split) where verdict = 'anomalous'
        """,
    )
    assert len(joined) == len(found) > 0
