"""How trainings are chosen, measured and summed up; that they run is `make steadiness`."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from logllm_core.logs.catalog.catalog import find_dataset
from logllm_core.results import MODEL
from tests.benchmarks import steadiness
from tests.benchmarks.steadiness import Cell, Outcome

CELL = Cell(log="log-1", seed=0, num_threads=1, precision="float32")
OUTCOME = Outcome(
    cell=CELL,
    f1=0.96,
    pr_auc=0.99,
    validation_pr_auc=1.0,
    best_other="tree",
    best_other_f1=0.8,
    last_loss=0.004,
    num_steps=220,
    training_minutes=5.0,
    cpu_minutes=11.0,
)


def options(**changes: object) -> argparse.Namespace:
    usual = {"logs": [1, 2], "seeds": [0, 5], "threads": [1], "precisions": ["float32"], "hdfs": 1}
    return argparse.Namespace(**(usual | changes))


def test_every_log_has_its_turn_before_the_next_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(steadiness.MIRROR, "/a/mirror")
    found = [(cell.log, cell.seed) for cell in steadiness.cells(options())]
    assert found == [
        *[("log-1", 0), ("log-2", 0), ("hdfs", 0)],
        *[("log-1", 5), ("log-2", 5), ("hdfs", 5)],
    ]


def test_without_a_mirror_there_is_no_sample_of_hdfs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(steadiness.MIRROR, raising=False)
    assert {cell.log for cell in steadiness.cells(options())} == {"log-1", "log-2"}


def test_a_log_of_another_seed_is_else_the_demo_s(tmp_path: Path) -> None:
    name = steadiness.data_set("log-7", tmp_path)
    demo = find_dataset("demo", [steadiness.DEMO.parent])
    other = find_dataset(name, [])
    assert (demo.source.seed, other.source.seed) == (0, 7)  # type: ignore[union-attr]
    assert other.windows == demo.windows
    assert other.model_copy(update={"name": "demo", "source": demo.source}) == demo


def test_an_outcome_is_what_the_report_says_of_the_model_and_of_the_best_other() -> None:
    def of(f1: float | None, pr_auc: float) -> dict[str, object]:
        return {"at_decision": {"f1": f1}, "pr_auc": pr_auc}

    report = {
        "detectors": {MODEL: of(0.9, 0.95), "tree": of(0.7, 0.6), "always": of(None, 0.1)},
        "stages": [
            {"last_loss": 0.5, "num_steps": 20, "training_seconds": 30},
            {"last_loss": 0.01, "num_steps": 200, "training_seconds": 270},
        ],
        "validation": {"pr_auc": 0.97},
    }
    assert steadiness.outcome(CELL, report, cpu_seconds=660) == Outcome(
        cell=CELL,
        f1=0.9,
        pr_auc=0.95,
        validation_pr_auc=0.97,
        best_other="tree",
        best_other_f1=0.7,
        last_loss=0.01,
        num_steps=220,
        training_minutes=5.0,
        cpu_minutes=11.0,
    )


def test_trainings_are_summed_up_by_precision_and_threads_and_all_simulated_ones_together() -> None:
    others = [
        replace(OUTCOME, cell=replace(CELL, seed=1), f1=0.90, pr_auc=0.97, best_other_f1=0.95),
        replace(OUTCOME, cell=replace(CELL, num_threads=2), f1=0.99),
        replace(OUTCOME, cell=replace(CELL, log="hdfs"), f1=1.0),
    ]
    rows = {row.pop("trainings"): row for row in steadiness.summary([OUTCOME, *others])}
    assert [*rows] == [
        "simulated, float32, 1 thread",
        "simulated, float32, 2 threads",
        "hdfs, float32, 1 thread",
        "simulated, all",
    ]
    # (.96 + .90) / 2 = .93, each .03 away from it: a standard deviation of .03 * sqrt(2) = .042.
    first = rows["simulated, float32, 1 thread"]
    assert [first[name] for name in ("number", "F1: mean", "std", "worst", "PR-AUC: mean")] == [
        *("2", "0.930", "0.042", "0.900", "0.980")
    ]
    assert first["behind a simple detector"] == "1"
    # (.96 + .90 + .99) / 3 = .95, without the sample of HDFS.
    assert [rows["simulated, all"][name] for name in ("number", "F1: mean", "worst")] == [
        *("3", "0.950", "0.900")
    ]


def test_a_table_is_markdown() -> None:
    assert steadiness.markdown([{"a": "1", "b": "2"}, {"a": "3", "b": ""}]) == (
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 |  |\n"
    )


def test_what_was_measured_with_other_options_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / steadiness.RESULTS
    assert steadiness.read(path, []) == []
    steadiness.keep(path, OUTCOME, ["--recipe", "mine.toml"])
    steadiness.keep(path, replace(OUTCOME, f1=0.5), [])
    assert steadiness.read(path, []) == [replace(OUTCOME, f1=0.5)]
    assert steadiness.read(path, ["--recipe", "mine.toml"]) == [OUTCOME]
