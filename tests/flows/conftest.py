import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.settings import temporary_settings
from prefect.testing.utilities import prefect_test_harness

from flows import run_log
from flows.cli import main
from tests import tiny

Run = Callable[..., tuple[int, str, str]]  # exit status and both outputs


@pytest.fixture(autouse=True)
def _fresh_sinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without log sinks, and so must the memory of them."""
    monkeypatch.setattr(run_log, "_sinks", {})


@pytest.fixture
def logllm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Calls `logllm ...` in this process; gives exit status, standard output, standard error."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))  # else a test would tell the next

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["logllm", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main.main()
        output = capsys.readouterr()
        code = end.value.code
        assert isinstance(code, int | None)
        return code or 0, output.out, output.err

    return call


def check_error(result: tuple[int, str, str], *words: str) -> None:
    """What `logllm` gave is one clear error that holds these words."""
    status, _, fault = result
    assert status == 1
    assert fault.count("error:") == 1
    assert "Traceback" not in fault
    for word in words:
        assert word in fault


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect API of the tests' own; flows started in this process report to it."""
    results = tmp_path_factory.mktemp("results")
    settings = {
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": results,
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": None,
    }
    with prefect_test_harness(server_startup_timeout=120), temporary_settings(settings):
        yield


@pytest.fixture(scope="session")
def tiny_backbones(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two-layer backbones on disk, as --backbones takes them."""
    return tiny.save(tmp_path_factory.mktemp("tiny"))


RECIPE = """
batch_size = 8
micro_batch_size = 8
validation_fraction = 0.1
quantization = "none"
projector_init = "aligned"
is_even = true
max_message_tokens = 16

[[stages]]
name = "1"
trains = ["decoder"]
num_epochs = 1
learning_rate = 1e-3
num_samples = 16

[[stages]]
name = "2"
trains = ["projector", "encoder"]
num_epochs = 1
learning_rate = 1e-2

[[stages]]
name = "3"
trains = ["projector", "encoder", "decoder"]
num_epochs = 1
learning_rate = 1e-2
"""

DATASET = """
title = "A small simulated log"
train_fraction = 0.6

[source]
kind = "simulator"
num_lines = 2_000
seed = 3

[line]
fields = [
    "label", "epoch", "date", "node", "full_time", "node_repeated", "type", "component", "level",
    "content",
]
time_fields = ["epoch"]
time_format = "epoch"

[labels]
kind = "field"

[windows]
kind = "count"
length = 20
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder with the data set `small-log` and the recipe `tiny.toml`."""
    folder = tmp_path / "data"
    (folder / "datasets").mkdir(parents=True)
    (folder / "datasets" / "small-log.toml").write_text(DATASET)
    (folder / "tiny.toml").write_text(RECIPE)
    return folder
