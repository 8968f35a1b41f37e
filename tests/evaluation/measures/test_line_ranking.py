import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logllm_core import tables
from logllm_core.evaluation.measures.line_ranking import (
    LocalizedWindow,
    expected_hit,
    localization,
    ranking_figures,
    read_contributions,
)
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.windows.window_artifact import read_windows
from logllm_core.results.report import RankingFigures
from logllm_core.store.store import Artifact
from tests.evaluation.labelled import prepared


@pytest.mark.parametrize(
    ("is_alert", "ranking", "k", "expected"),
    [
        ([True, False, False], [3, 2, 1], 1, 1.0),
        ([False, True, False], [3, 2, 1], 1, 0.0),
        ([False, True, False], [3, 2, 1], 2, 1.0),
        ([False, True, False], [1, 1, 1], 1, 1 / 3),
        # One of the two that tie behind the first: in three draws of four both places are theirs.
        ([False, True, False], [2, 1, 1], 2, 1 / 2),
        ([False, True, True, False], [1, 1, 1, 1], 2, 1 - 1 / 6),
        ([False, True], [1, 1], 3, 1.0),
        ([False, False], [2, 1], 1, 0.0),
        ([False, False], [2, 1], 3, 0.0),
    ],
)
def test_a_hit_is_an_alert_among_the_first_and_ties_count_by_their_chance(
    is_alert: list[bool], ranking: list[float], k: int, expected: float
) -> None:
    assert expected_hit(is_alert, ranking, k) == pytest.approx(expected)


def hits(at_1: float | None, at_3: float | None, pr_auc: float | None) -> RankingFigures:
    return RankingFigures(hit_at_1=at_1, hit_at_3=at_3, pr_auc=pr_auc)


def test_lines_of_messages_that_were_cut_come_last() -> None:
    window = LocalizedWindow(
        line_numbers=[7, 8], message_ids=[0, 1], is_alert=[True, False], contributions={}
    )
    found = ranking_figures([window], [{1: -5.0}])
    assert found == hits(0.0, 1.0, 0.5)


def test_a_message_that_is_seldom_an_alert_hits_as_seldom() -> None:
    # The first message is on four lines, of which one is an alert; the second on one that is none.
    window = LocalizedWindow(
        line_numbers=range(5),
        message_ids=[0, 0, 0, 0, 1],
        is_alert=[False, True, False, False, False],
        contributions={},
    )
    found = ranking_figures([window], [{0: 2.0, 1: 1.0}])
    assert found == hits(0.25, 0.75, 0.25)


def test_a_line_that_several_windows_hold_counts_once_with_its_highest_score() -> None:
    windows = [
        LocalizedWindow(line_numbers=numbers, message_ids=[0, 1], is_alert=flags, contributions={})
        for numbers, flags in (([1, 2], [False, True]), ([2, 3], [True, False]))
    ]
    # Line 2 has 1 in the first window and 3 in the second; line 1 has 2, line 3 has 0.
    found = ranking_figures(windows, [{0: 2.0, 1: 1.0}, {0: 3.0, 1: 0.0}])
    assert found == hits(0.5, 1.0, 1.0)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=6),
    st.integers(1, 4),
)
def test_the_chance_of_a_hit_is_that_over_all_orders_of_those_that_tie(
    lines: list[tuple[bool, int]], k: int
) -> None:
    orders = [
        order
        for order in itertools.permutations(lines)
        if [score for _, score in order] == sorted((s for _, s in lines), reverse=True)
    ]
    expected = np.mean([any(is_alert for is_alert, _ in order[:k]) for order in orders])
    is_alert, scores = zip(*lines, strict=True)
    assert expected_hit(is_alert, scores, k) == pytest.approx(expected)


def test_contributions_stand_beside_two_rules_on_labelled_lines(tmp_path: Path) -> None:
    _, messages, windows = prepared(tmp_path)
    ids = {text: number for number, text in enumerate(read_vocabulary(messages))}
    window_ids = read_windows(windows, "test").window_ids.tolist()
    # Flagged: the first (up, disk failed!) and the third (up, link lost), which is a false alarm.
    rows = [
        (window_ids[0], ids["up"], 0.5),
        (window_ids[0], ids["disk failed"], 2.0),
        (window_ids[2], ids["up"], -0.5),
        (window_ids[2], ids["link lost"], 3.0),
    ]
    predictions = _predictions(tmp_path, window_ids, [True, False, True, False], rows)
    rates = np.zeros(len(ids))
    rates[ids["disk failed"]], rates[ids["link lost"]] = 0.25, 0.5

    found = localization(windows, predictions, read_contributions(predictions), rates)
    assert (found.num_flagged_windows, found.num_windows) == (2, 2)
    assert found.num_windows_with_alerts == 1
    assert (found.num_lines, found.num_alert_lines) == (4, 1)
    assert found.num_alert_lines_missed == 2  # both lines of the second window
    model, rule, chance = found.rankings.values()
    # The only alert ranks second of four lines by either; all lines tie where chance decides.
    assert model == hits(1.0, 1.0, 0.5)
    assert rule == hits(1.0, 1.0, 0.5)
    assert chance == hits(0.5, 1.0, 0.25)


def test_a_flagged_window_that_was_not_localized_misses_no_alert(tmp_path: Path) -> None:
    _, _, windows = prepared(tmp_path)
    window_ids = read_windows(windows, "test").window_ids.tolist()
    predictions = _predictions(tmp_path, window_ids, [True, True, False, False], [])
    found = localization(windows, predictions, read_contributions(predictions), np.zeros(4))
    assert (found.num_flagged_windows, found.num_windows) == (2, 0)
    assert found.num_alert_lines_missed == 0


def test_where_nothing_was_flagged_no_ranking_is_measured(tmp_path: Path) -> None:
    _, _, windows = prepared(tmp_path)
    window_ids = read_windows(windows, "test").window_ids.tolist()
    predictions = _predictions(tmp_path, window_ids, [False] * 4, [])
    found = localization(windows, predictions, read_contributions(predictions), np.zeros(4))
    assert (found.num_windows, found.num_alert_lines_missed) == (0, 3)
    assert set(found.rankings.values()) == {hits(None, None, None)}


def _predictions(
    folder: Path, window_ids: list[int], verdicts: list[bool], rows: list[tuple[int, int, float]]
) -> Artifact:
    path = folder / "predictions"
    part = "split=test/part-0.parquet"
    judged = {
        "window_id": window_ids,
        "probability": [float(verdict) for verdict in verdicts],
        "verdict": ["anomalous" if verdict else "normal" for verdict in verdicts],
        "is_anomalous": pa.nulls(len(verdicts), pa.bool_()),
    }
    tables.write(path / part, pa.table(judged), tables.PREDICTIONS)
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    table = pa.table(dict(zip(tables.CONTRIBUTIONS.names, map(list, columns), strict=True)))
    tables.write(path / "contributions" / part, table, tables.CONTRIBUTIONS)
    return Artifact(kind="predictions", dataset="own", fingerprint="0", path=path)
