"""Two runs side by side: the settings that differ, and the figures of the model.

Figures compare where both runs judged the same windows. Then the difference of two figures has an
interval of its own, from resamples that both runs share: narrower than the two intervals suggest,
because what is hard for one model is hard for the other, too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.evaluation.measures.intervals import difference
from logllm_core.pages import MODEL
from logllm_core.pages.figures_as_text import LABELS, PEAKS, Content, figures_of
from logllm_core.store.runs import read_report, seeds_of
from logllm_core.store.store import Artifact, Kind, Store

PAIRED: tuple[Literal["f1", "pr_auc"], ...] = ("f1", "pr_auc")
JUDGED = ("f1", "precision", "recall", "mcc", "pr_auc", "roc_auc", "false_alarms_per_10000")
NEEDED = ("detectors", "lines", "calibration", "stages", "scoring", "settings", "data_card")
NOT_THERE = "not there"
OVER_SEEDS = ", mean over seeds"  # left out where neither run has several

Interval = list[float] | None


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
    one: Any
    other: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedFigure:
    """A figure of both runs, and by how much the other run's is higher."""

    name: str
    one: float | None
    one_interval: Interval
    other: float | None
    other_interval: Interval
    difference: float | None  # other minus one; None where the figures do not compare
    difference_interval: Interval  # None where it was not resampled


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
    content: Content

    def artifact(self, kind: Kind) -> Artifact | None:
        """What the run was made from, if it is still in the same data folder."""
        above = self.run.path.parents
        if len(above) < 3:
            return None
        store = Store(data_dir=above[2])
        return store.newest(kind, self.run.dataset, self.run.manifest["inputs"][kind])


def compare(one: Artifact, other: Artifact) -> Comparison:
    """Two runs side by side; they may lie in different data folders.

    Raises:
        LogLLMError: a report of an earlier version, which lacks what is compared.
    """
    sides = _Side(run=one, content=_read(one)), _Side(run=other, content=_read(other))
    is_same = _has_same_test_windows(*sides)
    return Comparison(
        one=_told(one),
        other=_told(other),
        has_same_test_windows=is_same,
        settings=_settings(*(dict(_flattened(side)) for side in sides)),
        figures=_figures(*sides, is_same=bool(is_same)),
    )


def _read(run: Artifact) -> dict[str, Any]:
    content = read_report(run)
    missing = [key for key in NEEDED if key not in content]
    if missing or "at_decision" not in content["detectors"][MODEL]:
        lacking = ", ".join(missing) or "figures at a threshold"
        raise LogLLMError(
            f"The report of {run.fingerprint} was written by an earlier version: it lacks "
            f"{lacking}. Run logllm evaluate {run.dataset} with the options of that run again."
        )
    return content


def _told(run: Artifact) -> ComparedRun:
    created = run.manifest["created"]
    return ComparedRun(
        run=run.fingerprint, dataset=run.dataset, created=created, path=str(run.path)
    )


def _settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[ComparedSetting]:
    """What differs, in the order of the first run."""
    pairs = {
        name: (one.get(name, NOT_THERE), other.get(name, NOT_THERE)) for name in {**one, **other}
    }
    return [
        ComparedSetting(name=name, one=values[0], other=values[1])
        for name, values in pairs.items()
        if values[0] != values[1]
    ]


def _flattened(side: _Side) -> Iterator[tuple[str, Any]]:
    """All that may shape a run, by names such as `stages.3.num_samples`."""
    content, settings = side.content, dict(side.content["settings"])
    yield "dataset", side.run.dataset
    yield "recipe", settings.pop("name")
    yield "backbones", content["backbones"]
    yield "seeds", seeds_of(side.run)
    for stage in settings.pop("stages"):
        for name, value in stage.items():
            if name != "name":
                yield f"stages.{stage['name']}.{name}", value
    for name in sorted(settings.keys() - {"overrides", "seed"}):
        yield name, settings[name]
    yield "overrides", settings["overrides"]
    yield "log", _checksums(content)
    yield "windows", side.run.manifest["inputs"]["windows"]
    for group in ("versions", "machine"):
        for name, value in content[group].items():
            yield f"{group}.{name}", value


def _checksums(content: Content) -> list[str]:
    """What tells one raw log, with its labels, from another."""
    source = content["data_card"]["source"]
    files = [*source["log_files"], source["label_file"]]
    return [file["checksum"] for file in files if file]


def _has_same_test_windows(one: _Side, other: _Side) -> bool | None:
    """Whether the test windows are the same lines of the same log, with the same labels.

    Runs with another masking or another validation split judge the same windows, too.
    """
    if one.run.manifest["inputs"]["windows"] == other.run.manifest["inputs"]["windows"]:
        return True
    if _checksums(one.content) != _checksums(other.content):
        return False
    places = [windows.path for side in (one, other) if (windows := side.artifact("windows"))]
    if len(places) < 2:
        return None
    columns = ["line_numbers", "is_anomalous"]
    first, second = (tables.read(p / "split=test", tables.WINDOWS, columns) for p in places)
    return bool(first.equals(second))


def _figures(one: _Side, other: _Side, *, is_same: bool) -> list[ComparedFigure]:
    paired = _paired(one, other) if is_same else {}
    first, second = _judged(one.content), _judged(other.content)
    figures = [
        _figure(name, first[name], second[name], paired.get(name), has_difference=is_same)
        for name in first
        if not name.endswith(OVER_SEEDS) or (first[name][0], second[name][0]) != (None, None)
    ]
    spent, spent_by_other = _costs(one.content), _costs(other.content)
    return figures + [
        _figure(name, (spent[name], None), (spent_by_other[name], None), None, has_difference=True)
        for name in spent
    ]


def _figure(
    name: str,
    one: tuple[float | None, Any],
    other: tuple[float | None, Any],
    paired: Interval,
    *,
    has_difference: bool,
) -> ComparedFigure:
    before, after = one[0], other[0]
    return ComparedFigure(
        name=name,
        one=before,
        one_interval=one[1],
        other=after,
        other_interval=other[1],
        difference=None
        if before is None or after is None or not has_difference
        else after - before,
        difference_interval=paired,
    )


def _judged(content: Content) -> dict[str, tuple[float | None, Any]]:
    """The model's figures on the test windows, with their intervals."""
    found = figures_of(content["detectors"][MODEL])
    lines = content["lines"]
    hit = lines and lines["rankings"][MODEL]["hit_at_1"]
    return {LABELS[key]: found[key] for key in JUDGED} | {
        **{LABELS[key] + OVER_SEEDS: _over_seeds(content, key) for key in PAIRED},
        "hit@1": (hit, None),
        "ECE": (content["calibration"]["ece"], None),
    }


def _over_seeds(content: Content, key: str) -> tuple[float | None, Any]:
    spread = content["seeds"] and content["seeds"]["figures"][key]
    return (spread["mean"] if spread else None), None


def _costs(content: Content) -> dict[str, float]:
    steps = [*content["stages"], content["scoring"]]
    ram, gpu = (max(step[key] for step in steps) / 1e9 for key in PEAKS)
    return {
        "training, minutes": sum(stage["training_seconds"] for stage in content["stages"]) / 60,
        "scoring, minutes": content["scoring"]["scoring_seconds"] / 60,
        "memory, GB": ram,
        "GPU memory, GB": gpu,
    }


def _paired(one: _Side, other: _Side) -> dict[str, Interval]:
    """The intervals of differences on the same resampled windows, where predictions are left."""
    found = [side.artifact("predictions") for side in (one, other)]
    if None in found:
        return {}
    columns = ["probability", "is_anomalous"]
    first, second = (
        tables.read(p.path / "split=test", tables.PREDICTIONS, columns) for p in found if p
    )
    labels = first["is_anomalous"].to_numpy().astype(bool)
    assert np.array_equal(labels, second["is_anomalous"].to_numpy().astype(bool))
    before, after = (table["probability"].to_numpy() for table in (first, second))
    differences = {figure: difference(labels, after, before, figure) for figure in PAIRED}
    return {LABELS[figure]: both[1] for figure, both in differences.items() if both}
