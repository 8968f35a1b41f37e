"""A labelled log of the tests' own, small enough to work figures out by hand."""

from pathlib import Path

from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.windows.window_artifact import build_windows
from logllm_core.store.store import Artifact, Store
from tests.logs.samples import EPOCH, labelled_by_line, messages_of

# Windows of two lines: eight of training (no validation), four of test. A line is (alert, content).
TRAIN = [
    *[("-", "up"), ("-", "up")] * 4,
    *[("-", "up"), ("DISK", "disk failed")] * 2,
    *[("-", "disk failed"), ("-", "up")],
    *[("NET", "link lost"), ("-", "up")],
]
TEST = [
    *[("-", "up"), ("DISK", "disk failed")],  # a sequence and a type that training knows
    *[("FAN", "fan stopped"), ("FAN", "fan stopped")],  # neither
    *[("-", "up"), ("-", "link lost")],  # the sequence is new, the set of messages is not
    *[("-", "up"), ("-", "up")],
]
LINES = [*TRAIN, *TEST]


def write_log(folder: Path, *more: str) -> Path:
    lines = [f"{alert} {EPOCH + n} {content}" for n, (alert, content) in enumerate(LINES)]
    path = folder / "own.log"
    path.write_text("\n".join([*lines[:3], *more, *lines[3:]]))
    return path


def of_two(path: Path) -> Dataset:
    line = {
        "fields": ["label", "epoch", "content"],
        "time_fields": ["epoch"],
        "time_format": "epoch",
        "max_unparsed_fraction": 0.9,
    }
    windows = {"kind": "count", "length": 2}
    return labelled_by_line(path, line=line, windows=windows, train_fraction=16 / 24)


def prepared(folder: Path, *more: str) -> tuple[Dataset, Artifact, Artifact]:
    """The data set, its messages and its windows."""
    store = Store(data_dir=folder / "data")
    dataset = of_two(write_log(folder, *more))
    messages = messages_of(store, dataset)
    windows = build_windows(store, dataset, messages, validation_fraction=0.0)
    return dataset, messages, windows
