"""Windows to run whole methods on: of a simulated log, and of the real HDFS sample."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from logllm_core.config import Settings
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.simulator.writing import write_log
from logllm_core.logs.windows.window_artifact import build_windows
from logllm_core.paper.building_blocks.fitting import MethodSettings
from logllm_core.paper.building_blocks.interface import Method
from logllm_core.store.store import Artifact, Store
from tests.logs.samples import labelled_by_line, messages_of, published

# Enough for more than chance.
TRIMMED: Mapping[str, object] = {"num_epochs": 2, "max_samples": 1_000}
OTHERWISE: Mapping[str, Mapping[str, object]] = {
    "fastlogad": {"num_epochs": 4, "width": 64, "learning_rate": 1e-3},
    "logrobust": {"num_epochs": 8},
    "neurallog": {"num_epochs": 6, "learning_rate": 1e-3},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    name: str
    messages: Artifact
    windows: Artifact


def trimmed(method: Method) -> Settings:
    """The method's settings, with less training."""
    settings = method.settings
    if not isinstance(settings, MethodSettings):
        return settings
    return settings.model_copy(update={**TRIMMED, **OTHERWISE.get(method.name, {})})


def simulated(folder: Path) -> Log:
    """BlueGene/L-like, 2,000 lines in windows of 10."""
    path = folder / "simulated.log"
    write_log(path, num_lines=2_000, seed=0)
    changes = {"line": published("bgl").line.model_dump(), "name": "simulated"}
    dataset = labelled_by_line(path, **changes, windows={"kind": "count", "length": 10})
    return _log(folder, dataset)


def hdfs_sample(folder: Path, mirror: Path) -> Log:
    """9,183 labelled sessions."""
    return _log(folder, published("hdfs"), mirror)


def _log(folder: Path, dataset: Dataset, mirror: Path | None = None) -> Log:
    store = Store(data_dir=folder / "data")
    messages = messages_of(store, dataset, mirror=mirror)
    windows = build_windows(store, dataset, messages, validation_fraction=0.1)
    return Log(name=dataset.name, messages=messages, windows=windows)
