"""From artifacts to `report.json`: each figure is that of the predictions on the test windows."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.evaluation import report
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.sources.raw_log import obtain_log
from logllm_core.logs.windows.splits import Split
from logllm_core.logs.windows.window_artifact import build_windows, read_windows
from logllm_core.results.data_card import Repeats
from logllm_core.results.figures import KeptSeed, SeedFigures
from logllm_core.results.json_files import as_json, read_report
from logllm_core.results.report import Report, ValidationFigures
from logllm_core.results.training import RoundingFigures
from logllm_core.store.store import Artifact, Store
from logllm_core.training.recipes import recipe_named
from tests.logs.samples import labelled_by_line, messages_of
from tests.pages.sample_parts import STAGE_RESULTS

HOSTILE = '<script>alert(1)</script> & "quotes" </pre><img src=x onerror=alert(2)> {{ 7 * 7 }}'
RECIPE = recipe_named("quick").overridden({"stages.1.num_epochs": 5})
STAGE = {"stage": {"name": "1", "trains": ["decoder"], "learning_rate": 5e-4}}
# Windows of five lines: twelve of training, two of validation, six of test. The last line of every
# third window is an alert: in the first of validation, in the second and the fifth of test. One of
# these two is found, and one normal window is a false alarm.
TEST = [0.1, 0.9, 0.7, 0.2, 0.4, 0.3]
ROUNDING: dict[str, Any] = {
    "log_odds": 0.08,
    "num_windows": 6,
    "by_way": {"in batches of four": 0.08},
}
OTHER_SEED = [0.1, 0.9, 0.1, 0.2, 0.6, 0.3]  # makes no mistake
VALIDATION = [0.3, 0.2]  # anomalous, normal


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    lines = [
        f"{'BAD' if number % 15 == 4 else '-'} {number} "
        f"{HOSTILE if number % 15 == 4 else 'fine'} {number}"
        for number in range(100)
    ]
    (folder / "x.log").write_text("\n".join(lines))
    return labelled_by_line(
        folder / "x.log",
        name="hostile",
        title=HOSTILE,
        windows={"kind": "count", "length": 5},
        train_fraction=0.7,
    )


@pytest.fixture(scope="module")
def run(folder: Path, dataset: Dataset) -> report.ReportedRun:
    store = Store(data_dir=folder / "data")
    messages = messages_of(store, dataset)
    windows = build_windows(store, dataset, messages, validation_fraction=1 / 7)
    stage = store.reuse_or_build(
        "models", "hostile", config=STAGE, inputs={}, version=1, build=_train
    )
    return report.ReportedRun(
        raw=obtain_log(store, dataset, mirror=None),
        messages=messages,
        windows=windows,
        stages=(stage,),
        predictions=_predictions(store, messages, windows, TEST),
        vectors=None,
        others={1: _predictions(store, messages, windows, OTHER_SEED)},
    )


def _train(out_dir: Path) -> dict[str, object]:
    (out_dir / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5, "rate": 0.1}\n')
    return {
        "num_steps": 1,
        "num_samples": 180,
        "num_cut_messages": 0,
        "num_cut_windows": 0,
        "num_trained_parameters": 3,
        "num_parameters": 4,
        "first_loss": 0.5,
        "last_loss": 0.5,
        **STAGE_RESULTS,
    }


def _predictions(
    store: Store, messages: Artifact, windows: Artifact, probabilities: list[float]
) -> Artifact:
    def build(out_dir: Path) -> dict[str, object]:
        found: Mapping[Split, list[float]] = {"validation": VALIDATION, "test": probabilities}
        for split, chances in found.items():
            _write(out_dir, split, windows, chances, read_vocabulary(messages))
        counts = dict.fromkeys(
            ("num_long_windows", "num_windows_flagged_late", "num_cut_lines"), 0
        ) | {"num_distinct_windows": 2, "num_windows_within_rounding": 1}
        return {
            "validation": {"num_windows": 2} | counts,
            "test": {"num_windows": 6} | counts,
            "num_localized_windows": 2,
            "rounding": ROUNDING,
            "scoring_seconds": 4.0,
            "localization_seconds": 1.0,
            "peak_memory_bytes": 1_000_000_000,
            "peak_gpu_memory_bytes": 3_210_000_000,
        }

    return store.reuse_or_build(
        "predictions",
        "hostile",
        config={"probabilities": probabilities},
        inputs={},
        version=1,
        build=build,
    )


def _write(
    out_dir: Path, split: Split, windows: Artifact, chances: list[float], texts: list[str]
) -> None:
    """Predictions, and for flagged windows the hostile message as what carried the alarm."""
    found = read_windows(windows, split)
    verdicts = ["anomalous" if chance > 0.5 else "normal" for chance in chances]
    columns = {
        "window_id": found.window_ids,
        "probability": np.array(chances),
        "verdict": verdicts,
        "is_anomalous": found.is_anomalous,
    }
    part = Path(f"split={split}") / "part-0.parquet"
    tables.write(out_dir / part, pa.table(columns), tables.PREDICTIONS)
    rows = [
        (window_id, message, 2.0 if "script" in texts[message] else -0.5)
        for window_id, ids, verdict in zip(
            found.window_ids.tolist(), found.message_ids, verdicts, strict=True
        )
        if verdict == "anomalous"
        for message in dict.fromkeys(ids)
    ]
    columns = {
        name: [row[place] for row in rows] for place, name in enumerate(tables.CONTRIBUTIONS.names)
    }
    tables.write(out_dir / "contributions" / part, pa.table(columns), tables.CONTRIBUTIONS)


def _report(folder: Path, dataset: Dataset, run: report.ReportedRun) -> Artifact:
    store = Store(data_dir=folder / "data")
    return report.build_report(store, dataset, recipe=RECIPE, backbones="small", run=run)


@pytest.fixture(scope="module")
def built(folder: Path, dataset: Dataset, run: report.ReportedRun) -> Artifact:
    return _report(folder, dataset, run)


@pytest.fixture(scope="module")
def told(built: Artifact) -> Report:
    return read_report(built)


def test_the_figures_are_those_of_the_predictions(told: Report) -> None:
    decided = told.model.at_decision
    assert (decided.true_positives, decided.true_negatives) == (1, 3)
    assert (decided.false_positives, decided.false_negatives) == (1, 1)
    assert decided.precision.value == 0.5
    # One false alarm in six windows.
    assert decided.false_alarms_per_10000.value == pytest.approx(10_000 / 6)
    # Ranked: hit (.9), false (.7), hit (.4), ...: (1/1 + 2/3) / 2.
    assert told.pr_auc.value == pytest.approx(5 / 6)


def test_the_threshold_is_the_validation_splits(told: Report) -> None:
    # Midway between .2 (normal) and .3 (anomalous): .9, .7, .4 and .3 are alarms, two are right.
    chosen = told.model.at_validation_threshold
    assert chosen
    assert chosen.threshold == pytest.approx(0.25)
    assert (chosen.true_positives, chosen.false_positives) == (2, 2)
    assert told.validation == ValidationFigures(num_windows=2, num_anomalous=1, f1=0.0, pr_auc=1.0)


def test_every_detector_stands_on_the_same_windows(told: Report) -> None:
    assert len(told.detectors) + len(told.not_applicable) == 10
    assert list(told.not_applicable) == ["logistic regression on the encoder's mean vector"]
    for detector in told.detectors.values():
        decided = detector.at_decision
        assert decided.true_positives + decided.false_negatives == 2
        assert decided.false_positives + decided.true_negatives == 4


def test_the_spread_over_seeds_is_reported(told: Report) -> None:
    assert told.seeds
    assert told.seeds.seeds == (0, 1)
    f1 = told.seeds.figures["f1"]
    assert f1
    assert f1.values == (0.5, 1.0)
    assert told.seeds.kept is None


def test_how_the_seed_was_kept_is_reported(
    folder: Path, dataset: Dataset, run: report.ReportedRun
) -> None:
    figures = tuple(
        SeedFigures(seed=seed, pr_auc=pr_auc, log_loss=0.5) for seed, pr_auc in ((0, 1.0), (1, 0.5))
    )
    kept = KeptSeed(seed=0, validation=figures)
    built = _report(folder, dataset, replace(run, kept=kept))
    assert built != _report(folder, dataset, run)
    found = read_report(built)
    assert found.seeds
    assert found.seeds.kept == kept
    assert found.learned
    assert found.learned.advice == (
        "Train longer (--set stages.3.num_epochs=2) or with another seed (--seed 2)."
    )
    assert "Seed 0 is kept, which the validation split prefers" in found.page.read_text()


def test_a_model_that_learned_too_little_is_told_in_the_first_paragraph(told: Report) -> None:
    # Of twelve training windows four are anomalous: (1/3 ln 3 + 2/3 ln 3/2) / 6 a token.
    learned = told.learned
    assert learned
    assert learned.is_too_little
    assert (learned.last_loss, learned.prior_loss) == pytest.approx((0.5, 0.1060857))
    assert (learned.pr_auc, learned.rival_pr_auc) == (1, 1)
    assert told.verdict.startswith(
        "This model learned too little: its loss ended at 0.500, where answering by the classes' "
        "shares alone costs 0.106. Train longer (--set stages.3.num_epochs=2) or with another seed "
        "(--seed 2, or --seeds 3 --keep best). LogLLM reaches F1 "
    )


def test_alert_types_lines_and_repeats_are_reported(told: Report) -> None:
    assert told.alerts
    assert told.lines
    (alert,) = told.alerts.types
    assert (alert.alert, alert.num_test_windows) == ("BAD", 2)
    assert alert.recall["LogLLM"] == 0.5
    # The found window's alert is on its fifth line; the false alarm has none.
    assert told.lines.num_windows_with_alerts == 1
    assert told.lines.rankings["LogLLM"].hit_at_1 == 1.0
    # Numbers are masked, so all windows are one of two sequences.
    assert told.data_card.repeats == Repeats(same_label=6, other_label=0, both_labels=0)
    assert told.subsets.unseen_sequences.num_windows == 0
    assert told.data_card.f1_ceiling == 1.0


def test_the_cost_is_reported(told: Report) -> None:
    # 180 windows in 90 s; eight windows of two splits in 4 s.
    assert told.stages[0].windows_a_second == 2.0
    assert told.scoring.windows_a_second == 2.0
    assert told.scoring.num_windows == 6
    assert told.scoring.rounding == RoundingFigures(**ROUNDING)
    assert told.scoring.num_windows_within_rounding == 1


def test_the_environment_is_that_of_the_training(told: Report, run: report.ReportedRun) -> None:
    manifest = run.stages[-1].manifest
    assert told.versions == manifest["versions"]
    assert told.machine == manifest["machine"]


def test_the_windows_shown_lead_back_to_raw_lines(told: Report) -> None:
    shown = {window.kind: window for window in told.windows}
    assert set(shown) == {"missed", "false alarm", "found", "passed"}
    lines = shown["found"].lines
    assert [line.number for line in lines] == [75, 76, 77, 78, 79]
    (carrier,) = (line for line in lines if line.is_carrier)
    assert (carrier.content, carrier.alert) == (f"{HOSTILE} {carrier.number}", "BAD")


def test_the_page_shows_what_the_report_holds_and_no_log_text_as_html(
    built: Artifact, told: Report
) -> None:
    text = told.page.read_text()
    assert told.verdict in text.replace("&#39;", "'")
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert built.results["figures"] == as_json(told.model)


def test_the_report_holds_no_number_that_json_does_not_know(built: Artifact) -> None:
    text = (built.path / "report.json").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(text, parse_constant=refuse)


def test_a_log_without_labels_is_not_measured(
    folder: Path, dataset: Dataset, run: report.ReportedRun
) -> None:
    store = Store(data_dir=folder / "data")
    unlabelled = dataset.model_copy(update={"labels": None})
    messages = messages_of(store, unlabelled)
    windows = build_windows(store, unlabelled, messages, validation_fraction=0.0)
    bare = report.ReportedRun(
        raw=run.raw,
        messages=messages,
        windows=windows,
        stages=run.stages,
        predictions=run.predictions,
        vectors=None,
        others={},
    )
    with pytest.raises(LogLLMError, match="hostile is not labelled"):
        _report(folder, unlabelled, bare)
