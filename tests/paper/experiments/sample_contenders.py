"""A small log with ten test windows, and what made-up methods say of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from logllm_core import tables
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.windows.splits import Split
from logllm_core.logs.windows.window_artifact import build_windows
from logllm_core.paper.experiments.compare_methods import build_comparison
from logllm_core.paper.experiments.contenders import Contender
from logllm_core.pipeline import Prepared
from logllm_core.store.store import Artifact, Json, Kind, Store
from tests.logs.samples import labelled_by_line, messages_of

# By split, which windows hold an alert. Windows have four lines.
ANOMALOUS: Mapping[Split, Sequence[int]] = {"train": (1, 5), "validation": (0,), "test": (2, 5, 7)}
LENGTHS: Mapping[Split, int] = {"train": 8, "validation": 2, "test": 10}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """The data set `hdfs` of a test's own, prepared."""

    store: Store
    dataset: Dataset
    prepared: Prepared

    def scores(self, name: str, test: Sequence[float], *, seed: int = 0) -> Artifact:
        """A method's artifact; both validation windows have the scores .6 and .4."""
        results = {
            **{"fit_seconds": 12.5, "score_seconds": 0.25, "num_steps": 7, "num_parameters": 99},
            **{"peak_memory_bytes": 2_000_000_000, "peak_gpu_memory_bytes": 0},
        }
        config = {"method": name, "seed": seed, "test": list(test)}

        def rows(values: Sequence[float]) -> pa.Table:
            columns = {
                "detector": [name] * len(values),
                "window_id": range(len(values)),
                "score": values,
                "is_alarm": [value > 0.5 for value in values],
            }
            return pa.table(columns)

        return self._make("detectors", config, results, rows, tables.SCORES, test)

    def predictions(self, test: Sequence[float]) -> Artifact:
        results = {"scoring_seconds": 3.0, "peak_memory_bytes": 1, "peak_gpu_memory_bytes": 4}

        def rows(values: Sequence[float]) -> pa.Table:
            columns = {
                "window_id": range(len(values)),
                "probability": values,
                "verdict": ["normal"] * len(values),
                "is_anomalous": pa.nulls(len(values), pa.bool_()),
            }
            return pa.table(columns)

        return self._make("predictions", {}, results, rows, tables.PREDICTIONS, test)

    def stage(self, number: int) -> Artifact:
        results = {
            **{"training_seconds": 60.0 * number, "num_steps": 10 * number},
            **{"num_trained_parameters": 1_000 * number},
            **{"peak_memory_bytes": number, "peak_gpu_memory_bytes": 3},
        }
        return self.store.reuse_or_build(
            *("models", self.dataset.name),
            config={"stage": number},
            inputs={},
            version=1,
            build=lambda _: results,
        )

    def build(self, contenders: Sequence[Contender]) -> Artifact:
        return build_comparison(
            self.store,
            self.dataset,
            backbones="small",
            contenders=contenders,
            prepared=self.prepared,
            vectors=None,
        )

    def _make(
        self,
        kind: Kind,
        config: Mapping[str, Json],
        results: Mapping[str, Json],
        rows: Any,
        schema: pa.Schema,
        test: Sequence[float],
    ) -> Artifact:
        def build(out_dir: Path) -> Mapping[str, Json]:
            for split, values in (("validation", (0.6, 0.4)), ("test", test)):
                tables.write(out_dir / f"split={split}" / "part-0.parquet", rows(values), schema)
            return results

        inputs = {"windows": self.prepared.windows}
        return self.store.reuse_or_build(
            kind, self.dataset.name, config=config, inputs=inputs, version=1, build=build
        )


def sample(folder: Path) -> Sample:
    """Forty lines of training, of which the last eight are for validation, and forty of test."""
    log = folder / "hdfs.log"
    alerts = {
        first + 4 * window + 1
        for split, first in (("train", 0), ("validation", 32), ("test", 40))
        for window in ANOMALOUS[split]  # type: ignore[index]
    }
    words = ("up", "down", "read", "wrote")
    log.write_text(
        "".join(
            f"{'KERN' if number in alerts else '-'} {number} disk {words[number % 4]}\n"
            for number in range(80)
        )
    )
    store = Store(data_dir=folder / "data")
    dataset = labelled_by_line(log, name="hdfs", train_fraction=0.5)
    messages = messages_of(store, dataset)
    windows = build_windows(store, dataset, messages, validation_fraction=0.2)
    raw = store.newest("raw", "hdfs")
    assert raw is not None
    prepared = Prepared(raw=raw, messages=messages, windows=windows)
    return Sample(store=store, dataset=dataset, prepared=prepared)


def contender(name: str, title: str, *scores: Artifact, **more: Any) -> Contender:
    values: dict[str, Any] = {
        "paper": f"Nobody: {title}. Nowhere, 2024",
        "reads": "templates",
        "labels": "normal windows only",
        "differs": (),
        "rule": "A window is an alarm if it has one.",
        "settings": {"num_epochs": 3},
        "changes": {},
        "scores": dict(enumerate(scores)),
        "not_run": None if scores else "It was not asked for.",
    }
    return Contender(name=name, title=title, **(values | more))
