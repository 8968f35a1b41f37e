import numpy as np
import pytest

from logllm_core.daily.champion.decisions import decide, promote
from logllm_core.daily.champion.drift import measure
from logllm_core.daily.champion.drift_limits import DriftLimits
from logllm_core.daily.champion.fair_windows import Newer
from logllm_core.daily.champion.scored_windows import ScoredWindows
from logllm_core.errors import LogLLMError
from logllm_core.evaluation.champion_contest import compete
from logllm_core.evaluation.decision_list import decision_markdown, drift_markdown, list_models
from logllm_core.store.store import Store
from tests.daily.sample_champions import NAME, model, run


def test_models_are_listed_the_last_decision_first(store: Store) -> None:
    assert list_models(store) == []
    with pytest.raises(LogLLMError, match=r'There is no model of "own" in'):
        list_models(store, NAME)
    weights = [model(store, number) for number in range(3)]
    runs = [run(store, number, weights[number]) for number in range(3)]
    promote(store, runs[0], reason="First.")
    promote(store, runs[1], reason="Better.")
    decide(store, runs[2], is_promoted=False, reason="Worse.")
    (weights[0].path / "manifest.json").unlink()
    (runs[0].path / "manifest.json").unlink()

    found = list_models(store)
    assert [one.run for one in found] == [report.fingerprint for report in reversed(runs)]
    assert [one.is_champion for one in found] == [False, True, False]
    assert [one.is_promoted for one in found] == [False, True, True]
    assert [one.is_there for one in found] == [True, True, False]
    assert [one.is_reported for one in found] == [True, True, False]
    assert [one.f1 for one in found] == [0.5, 0.5, None]
    assert [one.pr_auc for one in found] == [0.25, 0.25, None]
    assert [one.reason for one in found] == ["Worse.", "Better.", "First."]
    assert list_models(store, NAME) == found


def test_a_rollback_has_one_champion_in_the_list(store: Store) -> None:
    runs = [run(store, number, model(store, number)) for number in range(2)]
    for number in (0, 1, 0):
        promote(store, runs[number], reason="So.")
    assert [one.is_champion for one in list_models(store)] == [True, False, False]


def test_a_decision_tells_both_figures_and_how_to_undo_it(store: Store) -> None:
    labels = np.arange(36) % 3 == 0
    fair = Newer(are_newer=np.ones(36, dtype=bool), unknown=None)
    contest = compete(labels, labels * 0.9, labels * 0.9, fair)
    made = decide(store, run(store, 1, model(store, 1)), is_promoted=True, reason=contest.reason)
    text = decision_markdown(NAME, contest, made)
    assert text.startswith(f"# Retraining own: candidate {made.run} is promoted\n")
    assert "| F1 | 1.000 | 1.000 | +0.000 | 0.000-0.000 |" in text
    assert "36 new windows, 12 of them anomalous; 0 test windows left out" in text
    assert f"`logllm models promote {made.run}`" in text
    hostile = made.model_copy(update={"reason": "<b>x</b> | y"})
    assert "&#60;b&#62;" in decision_markdown(NAME, contest, hostile)


def test_drift_is_a_table_and_two_histograms() -> None:
    reference = ScoredWindows(
        probabilities=np.array([0.05] * 80 + [0.95] * 20), num_lines=0, num_unseen_lines=0
    )
    new = ScoredWindows(
        probabilities=np.array([0.05, 1.0, 1.0]), num_lines=60, num_unseen_lines=None
    )
    text = drift_markdown(measure(reference, new, DriftLimits(), dataset="a_b", run="0" * 16))
    assert text.startswith("# Drift of a\\_b\n")
    assert "| share of lines with an unseen message | - | - |" in text
    assert "| share of anomalous windows | 0.200 | 0.667 | 0.467 |" in text
    assert "3 new windows (60 lines) against 100 of the training period" in text
    bars = {line[:7]: line[9:].split() for line in text.splitlines() if line[3:4] == "-"}
    full = "\N{FULL BLOCK}"
    assert bars["0.0-0.1"] == [full * 20, "80", full * 10, "1"]
    assert bars["0.1-0.2"] == ["0", "0"]
    assert bars["0.9-1.0"] == [full * 5, "20", full * 20, "2"]
