import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows import run_log
from flows.cli import main
from flows.settings import TrainSettings

Run = Callable[..., tuple[int, str, str]]  # exit status and both outputs
# `logllm ...` as a process of its own, without Prefect and its server.
PLAIN_LOGLLM = (
    *(sys.executable, "-c"),
    "from flows.cli.main import main; from tests.flows.conftest import plain_flows\n"
    "with plain_flows(): main()",
)
Published = list[tuple[str, Any]]  # the task, and what it was given first


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
    from prefect.settings import temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    results = tmp_path_factory.mktemp("results")
    settings = {
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": results,
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": None,
    }
    with prefect_test_harness(server_startup_timeout=120), temporary_settings(settings):
        yield


@pytest.fixture
def without_prefect() -> Iterator[Published]:
    """Flows are the plain functions that they are, also in commands; no server is asked."""
    with plain_flows() as published:
        yield published


@contextmanager
def plain_flows() -> Iterator[Published]:
    """Flows and their steps are called at once; what would be published is listed instead."""
    from prefect import Flow

    from logllm_core.pipeline import at_once
    from tasks import shown_in_prefect, step_tasks

    published: Published = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_tasks, "run", at_once)
        for name in [name for name in vars(shown_in_prefect) if name.startswith("publish_")]:
            patch.setattr(shown_in_prefect, name, _noted_in(published, name))
        patch.setattr(Flow, "__call__", lambda flow, *given: _outcome(flow.fn(*given)))
        yield published


def _noted_in(published: Published, name: str) -> Callable[..., None]:
    return lambda given, *_, **__: published.append((name, given))


def _outcome(returned: Any) -> Any:
    """What a flow's caller gets where its function ends in a state."""
    from prefect.client.schemas.objects import State

    return returned.data if isinstance(returned, State) else returned


@pytest.fixture(scope="session")
def tiny_backbones(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two-layer backbones on disk, as --backbones takes them."""
    from tests import tiny  # torch, which many tests do without

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

CHANGES = {"stages.1.num_epochs": 0, "stages.3.num_epochs": 2, "embedder": "message-id"}

DATASET = """
title = "A small simulated log"
train_fraction = 0.6

[source]
kind = "simulator"
num_lines = 2_000
seed = 1

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


def write_small_log(folder: Path) -> None:
    """The data set `small-log` and the recipe `tiny.toml`, below a new data folder."""
    (folder / "datasets").mkdir(parents=True)
    (folder / "datasets" / "small-log.toml").write_text(DATASET)
    (folder / "tiny.toml").write_text(RECIPE)


def settings_of(folder: Path, backbones: str, **more: Any) -> TrainSettings:
    """A training by `tiny.toml` in the data folder `folder`."""
    recipe = str(folder / "tiny.toml")
    return TrainSettings(data_dir=folder, recipe=recipe, backbones=backbones, **more)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder with the data set `small-log` and the recipe `tiny.toml`."""
    write_small_log(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture(scope="session")
def _trained_dir(tmp_path_factory: pytest.TempPathFactory, tiny_backbones: str) -> Path:
    """A data folder with `small-log`, trained and evaluated by `tiny.toml`; to be copied."""
    from flows.train import train_logllm

    folder = tmp_path_factory.mktemp("trained") / "data"
    write_small_log(folder)
    with plain_flows():
        train_logllm("small-log", settings_of(folder, tiny_backbones))
    return folder


@pytest.fixture(scope="session")
def _several_dir(
    tmp_path_factory: pytest.TempPathFactory, _trained_dir: Path, tiny_backbones: str
) -> Path:
    """The same with two more runs: of this seed and of another one, and with `CHANGES`."""
    from flows.train import train_logllm

    folder = tmp_path_factory.mktemp("several") / "data"
    shutil.copytree(_trained_dir, folder)
    with plain_flows():
        for more in ({"num_seeds": 2}, {"overrides": CHANGES}):
            train_logllm("small-log", settings_of(folder, tiny_backbones, **more))
    return folder


def copied(folder: Path, to: Path) -> Path:
    """A copy of a data folder, whose views are its own."""
    from logllm_core.query.views import refresh_views
    from logllm_core.store.store import Store

    shutil.copytree(folder, to, dirs_exist_ok=True)
    refresh_views(Store(data_dir=to))
    return to


@pytest.fixture
def trained_dir(_trained_dir: Path, data_dir: Path) -> Path:
    """The data folder `data_dir`, in which `small-log` was trained and evaluated."""
    return copied(_trained_dir, data_dir)


@pytest.fixture
def several_dir(_several_dir: Path, data_dir: Path) -> Path:
    """The data folder `data_dir` with three runs: with seed 0, with 0 and 1, with `CHANGES`."""
    return copied(_several_dir, data_dir)
