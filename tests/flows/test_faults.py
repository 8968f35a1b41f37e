"""What becomes of a training when worker, server or machine go: real processes, killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import torch
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import StateType
from prefect.states import Pending

from flows.server.deployments import POOL
from flows.server.server_processes import mark
from flows.settings import TrainSettings
from flows.train import train_logllm
from tests.flows.conftest import plain_flows, write_small_log
from tests.flows.served import (
    ASKING_SECONDS,
    Served,
    keep_deployments,
    place_small_log,
    replace,
    signal_all,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200), pytest.mark.xdist_group("served")]

TRAIN, PREPARE = "train-logllm/demo", "prepare-logs/demo"
OUTAGE_SECONDS = 35  # a heartbeat comes every 30


@pytest.fixture(scope="module")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served.make(tmp_path_factory.mktemp("project"))
    keep_deployments(served, TRAIN, PREPARE)
    place_small_log(served)
    try:
        yield served
    finally:
        served.end()


@pytest.fixture
def served(_served: Served) -> Served:
    """With all running, and nothing under way."""
    _served.up()
    return _served


class Training:
    """One stage of so many steps, a checkpoint every second; each seed is a training of its own."""

    def __init__(self, backbones: str, *, seed: int, num_epochs: int) -> None:
        self.seed = seed
        self.settings: dict[str, Any] = {
            "recipe": "data/tiny.toml",
            "backbones": backbones,
            "seed": seed,
            "checkpoint_minutes": 1 / 60,
            "overrides": {
                "stages.1.num_epochs": 0,
                "stages.2.num_epochs": 0,
                "stages.3.num_epochs": num_epochs,
            },
        }

    def start(self, served: Served) -> UUID:
        return served.start_run(TRAIN, dataset="small-log", settings=self.settings)

    def start_and_wait_for_checkpoint(self, served: Served) -> UUID:
        """A run in the middle of its stage."""
        assert served.last_step() == 0
        run = self.start(served)
        wait_until(lambda: served.last_step() > 0)
        assert served.state(run) == StateType.RUNNING
        return run

    def undisturbed(self, data_dir: Path) -> None:
        """The same in this process, which nobody disturbs, below another data folder."""
        # With as many threads as the workers' runs: sums in another order differ in their bits.
        assert torch.get_num_threads() == 1
        more = {"data_dir": data_dir, "recipe": str(data_dir / "tiny.toml")}
        with plain_flows():
            train_logllm("small-log", TrainSettings(**self.settings | more))

    def trained(self, data_dir: Path) -> Path:
        """The artifact of the one stage."""
        found = data_dir.glob("models/small-log/[!.]*/manifest.json")
        (path,) = (p for p in found if manifest(p)["config"]["recipe"]["seed"] == self.seed)
        return path.parent


def manifest(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def said(served: Served, run: UUID) -> list[str]:
    with served.client() as client:
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))
    return [log.message for log in logs]


def assert_whole(folder: Path) -> None:
    for entry in manifest(folder / "manifest.json")["files"]:
        assert (folder / entry["name"]).stat().st_size == entry["size_bytes"]
    leftovers = [path for path in folder.parent.glob(".*") if path.suffix != ".lock"]
    assert leftovers == []


def test_after_a_kill_of_the_worker_the_same_run_again_gives_the_same_weights(
    served: Served, tiny_backbones: str, tmp_path: Path
) -> None:
    training = Training(tiny_backbones, seed=1, num_epochs=40)
    first = training.start_and_wait_for_checkpoint(served)
    os.kill(served.worker(), signal.SIGKILL)
    served.up()
    second = training.start(served)
    write_small_log(tmp_path / "data")
    training.undisturbed(tmp_path / "data")
    assert served.ends(second) == StateType.COMPLETED, served.said()
    # Cut off when its next line met a closed pipe; or it came to its end without its worker.
    assert served.ends(first) in {StateType.CRASHED, StateType.COMPLETED}
    here, wanted = training.trained(served.data_dir), training.trained(tmp_path / "data")
    assert here.name == wanted.name
    assert_whole(here)
    name = "trainable.safetensors"
    assert (here / name).read_bytes() == (wanted / name).read_bytes()


def test_a_training_outlives_its_server(served: Served, tiny_backbones: str) -> None:
    training = Training(tiny_backbones, seed=2, num_epochs=300)
    run = training.start_and_wait_for_checkpoint(served)
    signal_all(signal.SIGKILL, served.processes("server"))
    step = served.last_step()
    time.sleep(OUTAGE_SECONDS)
    assert served.last_step() > step
    served.up()
    assert served.ends(run, 600) == StateType.COMPLETED, served.said()
    folder = training.trained(served.data_dir)
    assert_whole(folder)
    assert manifest(folder / "manifest.json")["results"]["num_resumes"] == 0
    again = training.start(served)  # and the worker has not given up
    assert served.ends(again) == StateType.COMPLETED, served.said()


def test_no_run_stays_running_after_an_interrupted_worker_or_a_power_cut(
    served: Served, tiny_backbones: str
) -> None:
    replace(served.folder / "automations.yaml", "within: 300", "within: 70")
    served.up()  # which brings the automations up to date
    with served.client() as client:
        deployment = client.read_deployment_by_name(PREPARE)
        pending = client.create_flow_run_from_deployment(deployment.id, state=Pending()).id

    interrupted = Training(tiny_backbones, seed=3, num_epochs=40)
    first = interrupted.start_and_wait_for_checkpoint(served)
    worker = served.worker()
    os.kill(worker, signal.SIGINT)
    wait_until(lambda: worker not in served.processes("training"))
    served.up()
    next_one = interrupted.start(served)
    assert served.ends(next_one) == StateType.COMPLETED, served.said()
    assert_whole(interrupted.trained(served.data_dir))

    cut_off = Training(tiny_backbones, seed=4, num_epochs=40)
    second = cut_off.start_and_wait_for_checkpoint(served)
    signal_all(signal.SIGKILL, served.processes())
    wait_until(lambda: not served.processes())
    served.up()
    after_it = cut_off.start(served)
    assert served.ends(after_it) == StateType.COMPLETED, served.said()
    folder = cut_off.trained(served.data_dir)
    assert_whole(folder)
    assert manifest(folder / "manifest.json")["results"]["num_resumes"] == 1

    for run in (first, second, pending):
        assert served.ends(run) == StateType.CRASHED, served.said()


def test_of_two_at_once_one_builds_and_the_other_waits(served: Served, tiny_backbones: str) -> None:
    training = Training(tiny_backbones, seed=5, num_epochs=45)
    with another_worker(served):
        wait_until(lambda: served.has_worker("second"), pause_seconds=ASKING_SECONDS)
        runs = [training.start(served) for _ in range(2)]
        wait_until(lambda: {served.state(run) for run in runs} == {StateType.RUNNING})
        assert {served.ends(run) for run in runs} == {StateType.COMPLETED}, served.said()
    folder = training.trained(served.data_dir)
    assert_whole(folder)
    steps = "small-log stage 3: 405 steps"
    wait = f"Another process builds {folder.name}; waiting for it"

    def told(words: str) -> list[bool]:
        """Of which run; its lines reach the server after its end."""
        return [any(words in line for line in said(served, run)) for run in runs]

    wait_until(lambda: any(told(steps)) and any(told(wait)))
    assert sorted(told(steps)) == [False, True]
    assert told(wait) == [not is_built for is_built in told(steps)]


def test_a_run_that_is_due_while_one_is_going_waits_its_turn(
    served: Served, tiny_backbones: str
) -> None:
    training = Training(tiny_backbones, seed=6, num_epochs=40)
    first = training.start_and_wait_for_checkpoint(served)
    second = training.start(served)  # as a schedule does: planned, and due now
    begun_early = False
    while served.state(first) == StateType.RUNNING:
        begun_early = begun_early or served.state(second) == StateType.RUNNING
        time.sleep(ASKING_SECONDS)
    assert not begun_early
    assert served.ends(first) == StateType.COMPLETED, served.said()
    assert served.ends(second) == StateType.COMPLETED, served.said()
    earlier, later = served.run(first), served.run(second)
    assert earlier.end_time is not None
    assert later.start_time is not None
    assert later.start_time >= earlier.end_time
    wait_until(lambda: any("reused" in line for line in said(served, second)))


@contextmanager
def another_worker(served: Served) -> Iterator[None]:
    """A second worker for the queue of trainings, as a second machine would have it."""
    command = ["worker", "start", "--pool", POOL, "--work-queue", "training", "--limit", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "prefect", *command, "--name", "second"],
        cwd=served.folder,
        env=served.environment | mark(served.home_dir, "second"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as worker:
        try:
            yield
        finally:
            worker.kill()
