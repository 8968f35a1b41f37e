"""Results as JSON and back: the one place that knows what the files call things.

People's own programs read these files, so their keys stay as they are where values are arranged
otherwise here: there, a detector's intervals stand apart from its figures, and `page` is the one
about the data set.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from logllm_core.errors import LogLLMError
from logllm_core.results.figures import DetectorFigures
from logllm_core.results.report import Report
from logllm_core.store.store import Artifact, Json

REPORT_NAME = "report.json"
RATES = ("precision", "recall", "f1", "specificity", "mcc", "false_alarms_per_10000")
AREAS = ("pr_auc", "roc_auc")
THRESHOLDS = ("at_decision", "at_validation_threshold")
_IN_FILES = {"dataset_page": "page"}
_HERE = {in_files: here for here, in_files in _IN_FILES.items()}
NUM_NAMED = 3  # of the keys that a report of an earlier version lacks

Result = TypeVar("Result")
_ADAPTERS: dict[type[object], TypeAdapter[Json]] = {}


def as_json(result: object) -> Json:
    """A result, or a part of one, as the files have it."""
    values = _adapter(type(result)).dump_python(result, mode="json")
    if isinstance(result, DetectorFigures):
        return _apart(values)
    values = {_IN_FILES.get(key, key): value for key, value in values.items() if key != "folder"}
    if "detectors" in values:
        values["detectors"] = {name: _apart(made) for name, made in values["detectors"].items()}
    return values


def write(path: Path, result: object) -> None:
    text = json.dumps(as_json(result), indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def read(kind: type[Result], path: Path) -> Result:
    """The result of that kind that a file holds.

    Raises:
        ValidationError: the file lacks what such a result has now.
    """
    return from_json(kind, json.loads(path.read_text(encoding="utf-8")))


def from_json(kind: type[Result], content: Mapping[str, Json]) -> Result:
    """The result, or the part of one, that `as_json` made this of."""
    if kind is DetectorFigures:
        return _validated(kind, _joined(content))
    values = {_HERE.get(key, key): value for key, value in content.items()}
    if "detectors" in values:
        values["detectors"] = {name: _joined(made) for name, made in values["detectors"].items()}
    return _validated(kind, values)


def read_report(run: Artifact) -> Report:
    """What a run's report tells.

    Raises:
        LogLLMError: it was written by an earlier version, which told too little.
    """
    try:
        report = read(Report, run.path / REPORT_NAME)
    except ValidationError as fault:
        lacking = [".".join(map(str, error["loc"])) for error in fault.errors()]
        more = f" and {len(lacking) - NUM_NAMED:,} more" if len(lacking) > NUM_NAMED else ""
        raise LogLLMError(
            f"The report of {run.fingerprint} was written by an earlier version: it lacks "
            f"{', '.join(lacking[:NUM_NAMED])}{more}. Run logllm evaluate {run.dataset} with the "
            "options of that run again."
        ) from fault
    return replace(report, folder=run.path)


def _validated(kind: type[Result], values: Mapping[str, Json]) -> Result:
    result: Result = _adapter(kind).validate_python(values)
    return result


def _adapter(kind: type[object]) -> TypeAdapter[Json]:
    """Made once: it looks at every class that a report is made of."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _apart(detector: Mapping[str, Json]) -> dict[str, Json]:
    """A detector's figures and, beside them, their intervals."""
    values, intervals = dict(detector), {}
    for name in THRESHOLDS:
        rates = detector[name]
        values[name] = rates and rates | {key: rates[key]["value"] for key in RATES}
        intervals[name] = rates and {key: rates[key]["interval"] for key in RATES}
    for name in AREAS:
        values[name], intervals[name] = detector[name]["value"], detector[name]["interval"]
    return values | {"intervals": intervals}


def _joined(detector: Mapping[str, Json]) -> Mapping[str, Json]:
    """Each figure with its interval; as it is where an earlier version wrote it otherwise."""
    if not {*THRESHOLDS, *AREAS, "intervals"} <= detector.keys():
        return detector
    values, intervals = dict(detector), detector["intervals"]
    for name in THRESHOLDS:
        rates, bounds = detector[name], intervals[name]
        values[name] = rates and rates | {
            key: {"value": rates[key], "interval": bounds[key]} for key in RATES
        }
    for name in AREAS:
        values[name] = {"value": detector[name], "interval": intervals[name]}
    return values
