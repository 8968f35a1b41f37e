"""Which seed of several a report is about: the validation split chooses, never the test split."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from logllm_core import tables
from logllm_core.evaluation.seed_choice import choose_seed
from logllm_core.store.store import Artifact, Store

LABELS = [True, False, False, False]


def predictions(
    store: Store,
    seed: int,
    validation: Sequence[float],
    test: Sequence[float] = (0.5,) * 4,
    labels: Sequence[bool] = LABELS,
) -> Artifact:
    def build(out_dir: Path) -> dict[str, object]:
        for split, probabilities in (("validation", validation), ("test", test)):
            columns = {
                "window_id": range(len(probabilities)),
                "probability": np.array(probabilities, dtype=np.float64),
                "verdict": ["normal"] * len(probabilities),
                "is_anomalous": list(labels)[: len(probabilities)],
            }
            path = out_dir / f"split={split}" / "part-0.parquet"
            tables.write(path, pa.table(columns), tables.PREDICTIONS)
        return {}

    config = {"seed": seed, "validation": list(validation)}
    return store.reuse_or_build(
        "predictions", "x", config=config, inputs={}, version=1, build=build
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(data_dir=tmp_path)


def test_the_seed_with_the_best_pr_auc_on_the_validation_split_is_kept(store: Store) -> None:
    """Seed 0 makes no mistake on the test split, and does not count for it."""
    kept = choose_seed(
        {
            0: predictions(store, 0, [0.4, 0.5, 0.1, 0.1], test=[1, 0, 0, 0]),
            1: predictions(store, 1, [0.6, 0.5, 0.1, 0.1], test=[0, 1, 1, 1]),
        }
    )
    assert kept.seed == 1
    assert [found.seed for found in kept.validation] == [0, 1]
    # Second of four, and first.
    assert [found.pr_auc for found in kept.validation] == [0.5, 1]
    assert kept.validation[1].log_loss == pytest.approx(
        -(np.log(0.6) + np.log(0.5) + 2 * np.log(0.9)) / 4
    )


def test_of_seeds_that_rank_alike_the_surer_one_is_kept_and_then_the_smaller(store: Store) -> None:
    alike = {
        seed: predictions(store, seed, [sure, 0.1, 0.1, 0.1])
        for seed, sure in ((7, 0.9), (5, 0.6), (6, 0.9))
    }
    assert choose_seed(alike).seed == 6


def test_with_one_class_alone_the_log_loss_decides(store: Store) -> None:
    labels = [False] * 4
    kept = choose_seed(
        {
            0: predictions(store, 0, [0.4] * 4, labels=labels),
            1: predictions(store, 1, [0.2] * 4, labels=labels),
        }
    )
    assert kept.seed == 1
    assert [found.pr_auc for found in kept.validation] == [None, None]


def test_one_who_was_sure_and_wrong_has_a_log_loss_that_json_knows(store: Store) -> None:
    kept = choose_seed({0: predictions(store, 0, [0.0, 0, 0, 0])})
    assert np.isfinite(kept.validation[0].log_loss)
