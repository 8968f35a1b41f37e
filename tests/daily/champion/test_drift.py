from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ks_2samp

from logllm_core import tables
from logllm_core.daily.champion.decisions import find_champion, promote
from logllm_core.daily.champion.drift import Drift, drift_of, kolmogorov_smirnov, measure
from logllm_core.daily.champion.drift_limits import DriftLimits
from logllm_core.daily.champion.scored_windows import (
    ScoredWindows,
    judged_since,
    newest_windows,
    training_period,
)
from logllm_core.daily.ledger.cursors import Cursor, Part, new_dir, write_cursor
from logllm_core.store.store import Store
from tests.daily.sample_champions import NAME, model, run
from tests.scoring import setting

LIMITS = DriftLimits(max_unseen_fraction=0.05, max_rate_change=0.1, max_ks=0.2)
NOON = datetime(2026, 11, 22, 12)


def sample(
    num_normal: int, num_anomalous: int, *, num_lines: int = 0, num_unseen: int | None = 0
) -> ScoredWindows:
    scores = np.array([0.1] * num_normal + [0.9] * num_anomalous)
    return ScoredWindows(probabilities=scores, num_lines=num_lines, num_unseen_lines=num_unseen)


def measured(reference: ScoredWindows, new: ScoredWindows, limits: DriftLimits = LIMITS) -> Drift:
    return measure(reference, new, limits, dataset=NAME, run="0" * 16)


def test_the_measures_are_those_of_a_person_with_a_pencil() -> None:
    new = sample(60, 40, num_lines=200, num_unseen=30)
    drift = measured(sample(90, 10), new)
    unseen, rate, distance = drift.measures
    assert (unseen.reference, unseen.new, unseen.change) == (None, 0.15, 0.15)
    # Three standard errors of 0.15 in 100 windows.
    assert unseen.chance == pytest.approx(3 * (0.15 * 0.85 / 100) ** 0.5)
    assert (rate.reference, rate.new) == (0.1, 0.4)
    assert rate.change == pytest.approx(0.3)
    # Of both together a quarter is anomalous.
    assert rate.chance == pytest.approx(3 * (0.25 * 0.75 * 2 / 100) ** 0.5)
    assert distance.new == pytest.approx(0.3)  # between 0.1 and 0.9
    assert distance.chance == pytest.approx(1.63 * (200 / 10_000) ** 0.5)
    assert [one.is_exceeded for one in drift.measures] == [False, True, False]
    assert drift.is_exceeded
    assert drift.sentence == (
        "Drift in 100 new windows: share of anomalous windows 0.400 (limit 0.1)."
    )
    assert drift.reference_counts == (0, 90, 0, 0, 0, 0, 0, 0, 0, 10)
    assert drift.new_counts == (0, 60, 0, 0, 0, 0, 0, 0, 0, 40)
    assert (drift.num_reference_windows, drift.num_windows, drift.num_lines) == (100, 100, 200)


def test_fewer_anomalies_are_drift_as_well() -> None:
    drift = measured(sample(600, 400), sample(900, 100))
    assert [one.is_exceeded for one in drift.measures] == [False, True, True]


def test_many_unseen_messages_are_drift() -> None:
    drift = measured(sample(90, 10), sample(90, 10, num_lines=200, num_unseen=40))
    # 0.2, less three standard errors of 0.04 each, is above 0.05.
    assert [one.is_exceeded for one in drift.measures] == [True, False, False]
    assert "unseen message 0.200 (limit 0.05)" in drift.sentence


def test_a_few_windows_are_no_drift_whatever_they_hold() -> None:
    drift = measured(sample(90, 10), sample(2, 2, num_lines=4, num_unseen=2))
    assert not drift.is_exceeded
    assert drift.sentence == "No drift beyond the limits and beyond chance in 4 new windows."


def test_what_does_not_change_does_not_drift() -> None:
    none = DriftLimits(max_unseen_fraction=0, max_rate_change=0, max_ks=0)
    assert not measured(sample(90, 10), sample(90, 10, num_lines=9), none).is_exceeded


def test_unseen_messages_are_not_told_where_the_vocabulary_is_gone() -> None:
    unseen, *_ = measured(sample(9, 1), sample(9, 1, num_lines=50, num_unseen=None)).measures
    assert (unseen.new, unseen.is_exceeded) == (None, False)


def test_the_distance_is_that_of_scipy() -> None:
    dice = np.random.default_rng(0)
    for _ in range(20):
        one, other = (dice.integers(9, size=dice.integers(1, 40)) / 8 for _ in range(2))
        assert kolmogorov_smirnov(one, other) == pytest.approx(ks_2samp(one, other).statistic)


def row(window_id: int, **changes: Any) -> dict[str, Any]:
    values = dict.fromkeys(tables.NEW_PREDICTIONS.names) | {
        "window_id": window_id,
        "log_id": "0" * 16,
        "source": "new.log",
        "first_line": 0,
        "last_line": 3,
        "num_lines": 4,
        "num_unseen_lines": 1,
        "probability": 0.25,
        "verdict": "normal",
    }
    return values | changes


def test_windows_judged_by_the_champion_from_a_moment_on_count(tmp_path: Path) -> None:
    store = Store(data_dir=tmp_path / "data")
    champion = promote(store, run(store, 1, model(store, 1)), reason="First.")
    own = {"model": champion.trained}
    assert judged_since(store, NAME, champion, NOON.replace(tzinfo=UTC)) is None
    parts = [
        [row(0, judged=NOON - timedelta(seconds=1), **own), row(1, judged=NOON, **own)],
        [
            row(2, judged=NOON + timedelta(hours=1), model="f" * 16),
            row(3, judged=NOON, probability=0.75, num_unseen_lines=4, **own),
        ],
        [row(4, judged=NOON, probability=0.5, **own)],  # a file that the cursor does not name
    ]
    folder = new_dir(store, NAME) / "0123456789abcdef"
    for number, rows in enumerate(parts):
        path = folder / f"part-{number}.parquet"
        table = pa.Table.from_pylist(rows, tables.NEW_PREDICTIONS)
        tables.write(path, table, tables.NEW_PREDICTIONS)
    named = tuple(Part(name=f"part-{number}.parquet", num_windows=2) for number in range(2))
    write_cursor(folder, Cursor(source="new.log", place={}, state={}, parts=named))

    # 13:00 in Berlin is noon.
    berlin = NOON.replace(tzinfo=UTC).astimezone()
    found = judged_since(store, NAME, champion, berlin)
    assert found
    assert found.probabilities.tolist() == [0.25, 0.75]
    assert (found.num_lines, found.num_unseen_lines) == (8, 5)
    # The champion's own predictions are not there, so there is nothing to compare with.
    assert drift_of(store, NAME, champion, found, LIMITS) is None


def test_the_newest_windows_are_compared_with_the_validation_of_then(tmp_path: Path) -> None:
    found = setting.prepare(tmp_path)
    predictions = found.predict()
    store = found.store
    assert find_champion(store, NAME) is None
    made = promote(store, run(store, 1, found.trained), reason="First.").model_copy(
        update={"messages": found.messages.fingerprint, "windows": found.windows.fingerprint}
    )
    reference = training_period(store, NAME, made)
    assert reference
    table = tables.read(predictions.path / "split=validation", tables.PREDICTIONS)
    assert reference.probabilities.tolist() == table["probability"].to_pylist()
    same = {"messages": found.messages, "windows": found.windows, "predictions": predictions}
    # They are all of its own training.
    assert newest_windows(store, made, **same) is None
    # Had it been trained elsewhere, all eight test windows of four lines were new.
    other = made.model_copy(update={"windows": "f" * 16, "messages": "f" * 16})
    new = newest_windows(store, other, **same)
    assert new
    assert (len(new.probabilities), new.num_lines, new.num_unseen_lines) == (8, 32, None)
    assert training_period(store, NAME, other) is None


def test_lines_with_messages_beyond_the_training_vocabulary_are_counted(tmp_path: Path) -> None:
    found = setting.prepare(tmp_path)
    predictions, store = found.predict(), found.store
    made = promote(store, run(store, 1, found.trained), reason="First.")
    known = store.data_dir / "messages" / NAME / made.messages / "vocabulary.parquet"
    vocabulary = tables.read(found.messages.path / "vocabulary.parquet", tables.VOCABULARY)
    tables.write(known, vocabulary.slice(1), tables.VOCABULARY)  # without the first message
    new = newest_windows(
        store,
        made.model_copy(update={"windows": "f" * 16}),
        messages=found.messages,
        windows=found.windows,
        predictions=predictions,
    )
    assert new
    test = tables.read(found.windows.path / "split=test", tables.WINDOWS)
    ids = [message for one in test["message_ids"].to_pylist() for message in one]
    assert new.num_unseen_lines == ids.count(0) > 0
