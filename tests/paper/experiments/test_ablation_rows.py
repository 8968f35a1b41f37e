"""Rows worked out by hand, from reports and scores by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logllm_core.paper.experiments.ablation import AblationRow, PublishedVariant, VariantCost
from logllm_core.paper.experiments.ablation_rows import Ran, describe, spread_of_seeds
from logllm_core.paper.experiments.ablation_table import Plan, plan
from logllm_core.results import MODEL
from logllm_core.store.store import Artifact
from tests.pages.sample_parts import detector, stage_content, verdicts
from tests.pages.sample_report import report_of, small_content
from tests.paper.experiments.setups import setup_of

LABELS = np.array([True, False, True, False])
RIGHT = np.array([0.9, 0.1, 0.8, 0.2])
HALF = np.array([0.9, 0.1, 0.4, 0.2])  # one of two found: precision 1, recall 1/2, F1 2/3


def stage(seconds: float, *, gpu: int = 0) -> dict[str, Any]:
    peaks = {"peak_memory_bytes": 2_000, "peak_gpu_memory_bytes": gpu}
    return stage_content("1", ["decoder"], training_seconds=seconds, num_steps=10, **peaks)


def ran(scores: np.ndarray[Any, Any], fingerprint: str = "ab" * 8) -> Ran:
    found = verdicts(int((scores > 0.5)[LABELS].sum()), 0, int((scores <= 0.5)[LABELS].sum()), 2)
    content = small_content()
    content["scoring"] |= {"peak_memory_bytes": 2_000, "peak_gpu_memory_bytes": 1_000}
    content |= {
        "detectors": {MODEL: detector(found, None, 0.75)},
        "stages": [stage(90), stage(30, gpu=5_000)],
        "scoring": content["scoring"] | {"scoring_seconds": 60},
    }
    run = Artifact(kind="runs", dataset="bgl", fingerprint=fingerprint, path=Path("run"))
    return Ran(run=run, report=report_of(content), is_anomalous=LABELS, scores=scores)


@pytest.fixture
def found() -> Plan:
    own = setup_of("paper", backbones="llama3-8b")
    return plan(own, sizes=("llama3.2-1b",), num_seeds=2)


def rows_of(found: Plan, runs: dict[str, Ran], why_not: dict[str, str]) -> dict[str, AblationRow]:
    """Rows by the variant's name, where runs and reasons are given by that, too."""
    places = {trial.variant.name: trial.setup for trial in found.trials}
    told = {p: "" for p in places.values() if p is not None}
    told |= {places[name]: reason for name, reason in why_not.items()}  # type: ignore[misc]
    by_place = {places[name]: one for name, one in runs.items()}
    rows = describe(found, by_place, told)  # type: ignore[arg-type]
    return {row.name: row for row in rows}


def test_a_row_holds_what_the_variant_reached_and_cost(found: Plan) -> None:
    row = rows_of(found, {"recipe": ran(RIGHT), "raw": ran(HALF, "cd" * 8)}, {})["raw"]
    assert row.run == "cd" * 8
    assert row.changes == {"masking": "none"}
    assert row.figures
    values = [row.figures[key].value for key in ("precision", "recall", "f1")]
    assert values == pytest.approx([1, 0.5, 2 / 3])
    assert row.cost == VariantCost(
        training_minutes=2.0,
        scoring_minutes=1.0,
        num_steps=20,
        peak_memory_bytes=2_000,
        peak_gpu_memory_bytes=5_000,
    )
    assert row.published
    assert row.published.f1 == 0.846  # Table IV, BGL


def test_a_difference_is_the_variants_f1_minus_the_recipes(found: Plan) -> None:
    rows = rows_of(found, {"recipe": ran(RIGHT), "raw": ran(HALF), "length-50": ran(HALF)}, {})
    difference = rows["raw"].difference
    assert difference
    assert difference.interval
    assert difference.difference == pytest.approx(2 / 3 - 1)
    assert -1 <= difference.interval.low <= difference.interval.high <= 0
    assert rows["recipe"].difference is None
    assert rows["regex"].difference is None  # that is the recipe itself
    assert rows["length-50"].difference is None  # other windows
    without = rows_of(found, {"raw": ran(HALF)}, {"recipe": "Not enough memory."})
    assert without["raw"].difference is None
    assert without["recipe"].why_not == "Not enough memory."


def test_what_was_not_run_says_why_beside_what_the_paper_has(found: Plan) -> None:
    rows = rows_of(found, {"recipe": ran(RIGHT)}, {"text:llama3-8b": "Not enough memory."})
    text = rows["text:llama3-8b"]
    assert text.why_not == "Not enough memory."
    assert text.run is None
    assert text.figures is None
    nothing = dict.fromkeys(("precision", "recall", "f1", "gpu_memory_gb", "training_minutes"))
    assert text.published == PublishedVariant(**nothing)  # it ran out of memory there, too
    small = rows["embedder:llama3.2-1b"].published
    assert small
    assert (small.f1, small.gpu_memory_gb, small.training_minutes) == (0.825, 32.4, 187.1)
    assert rows["beta-0.5"].published is None


def test_seeds_have_a_mean_and_a_spread(found: Plan) -> None:
    places = {trial.variant.name: trial.setup for trial in found.trials}
    assert places["seed-0"] == 0
    assert places["seed-1"] is not None
    spread = spread_of_seeds(found, {0: ran(RIGHT), places["seed-1"]: ran(HALF)})
    assert spread is not None
    assert spread.seeds == (0, 1)
    recall = spread.figures["recall"]
    assert recall
    assert recall.mean == 0.75
    assert recall.std == pytest.approx(0.5 / 2**0.5)
    assert spread_of_seeds(found, {0: ran(RIGHT)}) is None
