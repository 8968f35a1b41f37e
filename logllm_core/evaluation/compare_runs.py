"""Two runs side by side: the settings that differ, and the figures of the model.

Figures compare where both runs judged the same windows. Then the difference of two figures has an
interval of its own, from resamples that both runs share: narrower than the two intervals suggest,
because what is hard for one model is hard for the other, too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from logllm_core import tables
from logllm_core.evaluation.measures.intervals import difference
from logllm_core.evaluation.measures.scored_windows import read_labels, read_scores
from logllm_core.pages.figures_as_text import LABELS
from logllm_core.results import MODEL
from logllm_core.results.figures import PAIRED, Figure, Interval
from logllm_core.results.json_files import read_report
from logllm_core.results.report import Report
from logllm_core.results.training import peaks
from logllm_core.store.runs import seeds_of
from logllm_core.store.store import Artifact, Kind, Store

JUDGED = ("f1", "precision", "recall", "mcc", "pr_auc", "roc_auc", "false_alarms_per_10000")
NOT_THERE = "not there"
OVER_SEEDS = ", mean over seeds"  # left out where neither run has several


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedRun:
    """One side of the comparison."""

    run: str
    dataset: str
    created: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedSetting:
    """A setting of which the runs have two values."""

    name: str
    one: object
    other: object


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedFigure:
    """A figure of both runs, and by how much the other run's is higher."""

    name: str
    one: float | None
    one_interval: Interval | None
    other: float | None
    other_interval: Interval | None
    difference: float | None  # other minus one; None where the figures do not compare
    difference_interval: Interval | None  # None where it was not resampled


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What `logllm compare` tells."""

    one: ComparedRun
    other: ComparedRun
    has_same_test_windows: bool | None  # None: cannot be told any more
    settings: list[ComparedSetting]
    figures: list[ComparedFigure]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Side:
    run: Artifact
    report: Report

    @classmethod
    def of(cls, run: Artifact) -> "_Side":
        return cls(run=run, report=read_report(run))

    def artifact(self, kind: Kind) -> Artifact | None:
        """What the run was made from, if it is still in the same data folder."""
        above = self.run.path.parents
        if len(above) < 3:
            return None
        store = Store(data_dir=above[2])
        return store.newest(kind, self.run.dataset, self.run.manifest["inputs"][kind])


def compare(first: Artifact, second: Artifact) -> Comparison:
    """Two runs side by side; they may lie in different data folders.

    Raises:
        LogLLMError: a report of an earlier version, which lacks what is compared.
    """
    sides = _Side.of(first), _Side.of(second)
    is_same = _has_same_test_windows(*sides)
    return Comparison(
        one=_described(first),
        other=_described(second),
        has_same_test_windows=is_same,
        settings=_settings(*(dict(_flattened(side)) for side in sides)),
        figures=_figures(*sides, is_same=bool(is_same)),
    )


def _described(run: Artifact) -> ComparedRun:
    created = run.manifest["created"]
    return ComparedRun(
        run=run.fingerprint, dataset=run.dataset, created=created, path=str(run.path)
    )


def _settings(first: Mapping[str, object], second: Mapping[str, object]) -> list[ComparedSetting]:
    """What differs, in the order of the first run."""
    pairs = {
        name: (first.get(name, NOT_THERE), second.get(name, NOT_THERE))
        for name in {**first, **second}
    }
    return [
        ComparedSetting(name=name, one=value, other=other)
        for name, (value, other) in pairs.items()
        if value != other
    ]


def _flattened(side: _Side) -> Iterator[tuple[str, object]]:
    """All that may shape a run, by names such as `stages.3.num_samples`."""
    recipe = side.run.manifest["config"]["recipe"]
    yield "dataset", side.run.dataset
    yield "recipe", recipe["name"]
    yield "backbones", side.report.backbones
    yield "seeds", seeds_of(side.run)
    for stage in recipe["stages"]:
        for name, value in stage.items():
            if name != "name":
                yield f"stages.{stage['name']}.{name}", value
    for name in sorted(recipe.keys() - {"name", "stages", "overrides", "seed"}):
        yield name, recipe[name]
    yield "overrides", recipe["overrides"]
    yield "log", side.report.data_card.checksums
    yield "windows", side.run.manifest["inputs"]["windows"]
    for group, facts in (("versions", side.report.versions), ("machine", side.report.machine)):
        for name, value in facts.items():
            yield f"{group}.{name}", value


def _has_same_test_windows(first: _Side, second: _Side) -> bool | None:
    """Whether the test windows are the same lines of the same log, with the same labels.

    Runs with another masking or another validation split judge the same windows, too.
    """
    if first.run.manifest["inputs"]["windows"] == second.run.manifest["inputs"]["windows"]:
        return True
    if first.report.data_card.checksums != second.report.data_card.checksums:
        return False
    windows = [left for side in (first, second) if (left := side.artifact("windows"))]
    if len(windows) < 2:
        return None
    columns = ["line_numbers", "is_anomalous"]
    one_table, other_table = (
        tables.read(left.path / "split=test", tables.WINDOWS, columns) for left in windows
    )
    return bool(one_table.equals(other_table))


def _figures(first: _Side, second: _Side, *, is_same: bool) -> list[ComparedFigure]:
    paired = _paired(first, second) if is_same else {}
    judged, judged_by_other = _judged(first.report), _judged(second.report)
    figures = [
        _figure(name, judged[name], judged_by_other[name], paired.get(name), has_difference=is_same)
        for name in judged
        if not name.endswith(OVER_SEEDS)
        or (judged[name].value, judged_by_other[name].value) != (None, None)
    ]
    spent, spent_by_other = _costs(first.report), _costs(second.report)
    return figures + [
        _figure(name, Figure(spent[name]), Figure(spent_by_other[name]), None, has_difference=True)
        for name in spent
    ]


def _figure(
    name: str, first: Figure, second: Figure, paired: Interval | None, *, has_difference: bool
) -> ComparedFigure:
    return ComparedFigure(
        name=name,
        one=first.value,
        one_interval=first.interval,
        other=second.value,
        other_interval=second.interval,
        difference=None
        if first.value is None or second.value is None or not has_difference
        else second.value - first.value,
        difference_interval=paired,
    )


def _judged(report: Report) -> dict[str, Figure]:
    """The model's figures on the test windows, with their intervals."""
    of_model = report.model.by_name
    return {LABELS[key]: of_model[key] for key in JUDGED} | {
        **{LABELS[key] + OVER_SEEDS: _over_seeds(report, key) for key in PAIRED},
        "hit@1": Figure(report.lines.rankings[MODEL].hit_at_1 if report.lines else None),
        "ECE": Figure(report.calibration.ece),
    }


def _over_seeds(report: Report, key: str) -> Figure:
    spread = report.seeds and report.seeds.figures[key]
    return Figure(spread.mean if spread else None)


def _costs(report: Report) -> dict[str, float]:
    peak = peaks([*report.stages, report.scoring])
    return {
        "training, minutes": sum(stage.training_seconds for stage in report.stages) / 60,
        "scoring, minutes": report.scoring.scoring_seconds / 60,
        "memory, GB": peak.peak_memory_bytes / 1e9,
        "GPU memory, GB": peak.peak_gpu_memory_bytes / 1e9,
    }


def _paired(first: _Side, second: _Side) -> dict[str, Interval]:
    """The intervals of differences on the same resampled windows, where predictions are left."""
    before, after = first.artifact("predictions"), second.artifact("predictions")
    if before is None or after is None:
        return {}
    labels = read_labels(before, "test")
    assert np.array_equal(labels, read_labels(after, "test"))
    scores, scores_of_other = read_scores(before, "test"), read_scores(after, "test")
    differences = {figure: difference(labels, scores_of_other, scores, figure) for figure in PAIRED}
    return {
        LABELS[figure]: paired.interval
        for figure, paired in differences.items()
        if paired and paired.interval
    }
