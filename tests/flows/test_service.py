"""`make up` and `make down`, with a real server and real workers."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType

from tests.flows.served import Served, is_alive, place_small_log, signal_all, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200), pytest.mark.xdist_group("served")]

COMPLETED = FlowRunFilter(
    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED]))
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served.make(tmp_path_factory.mktemp("project"))
    try:
        served.up()
        yield served
    finally:
        served.end()


def test_up_deploys_what_the_file_lists_and_serves_the_ui(served: Served) -> None:
    listed = yaml.safe_load((served.folder / "prefect.yaml").read_text())["deployments"]
    with served.client() as client:
        flows = {flow.id: flow.name for flow in client.read_flows()}
        found = {f"{flows[d.flow_id]}/{d.name}" for d in client.read_deployments()}
        automations = {automation.name for automation in client.read_automations()}
    assert len(found) == len(listed)
    assert {"train-logllm/demo", "prepare-logs/bgl", "evaluate-logllm/hdfs"} <= found
    assert {"crash-silent-runs", "retrain-demo-on-drift"} <= automations
    page = httpx.get(served.address.removesuffix("/api"), follow_redirects=True, trust_env=False)
    assert page.status_code == 200
    assert "<html" in page.text


def test_the_nightly_schedules_make_runs(served: Served) -> None:
    """Which a wrong SQLAlchemy silently prevents."""
    assert len(served.nightly()) == 10
    wait_until(lambda: served.planned_nightly() >= served.nightly())


def test_up_again_starts_only_what_is_missing(served: Served) -> None:
    before = {role: served.processes(role) for role in ("server", "training", "default")}
    signal_all(signal.SIGKILL, before["training"])
    served.up()
    after = {role: served.processes(role) for role in before}
    assert after["server"] == before["server"]
    assert after["default"] == before["default"]
    assert len(after["training"]) == len(before["training"]) == 1
    assert after["training"] != before["training"]
    with served.client() as client:
        names = [automation.name for automation in client.read_automations()]
        deployments = [(d.flow_id, d.name) for d in client.read_deployments()]
    assert len(names) == len(set(names)) == 6
    assert len(deployments) == len(set(deployments)) == 35


def test_prefect_finds_the_server_from_the_folder_without_being_told(
    served: Served, tiny_backbones: str
) -> None:
    place_small_log(served)
    settings = '{"recipe": "data/tiny.toml", "backbones": "%s"}' % tiny_backbones  # noqa: UP031
    run = ["-m", "prefect", "deployment", "run", "train-logllm/demo", "--watch"]
    given = ["--param", "dataset=small-log", "--param", f"settings={settings}"]
    done = served.run_python(*run, *given)
    assert done.returncode == 0, done.stdout + done.stderr + served.said()
    assert list(served.data_dir.glob("runs/small-log/*/report.html"))
    with served.client() as client:
        keys = {artifact.key for artifact in client.read_artifacts()}
    assert {"report-small-log", "metrics-small-log"} <= keys


def test_drift_starts_the_retraining_of_its_log_and_of_no_other(served: Served) -> None:
    """Which ends at once, for want of a champion."""
    about = ["logllm.drift.exceeded", "--resource-id", "logllm.dataset.demo"]
    done = served.run_python("-m", "prefect", "event", "emit", *about)
    assert done.returncode == 0, done.stdout + done.stderr
    with served.client() as client:

        def retrained() -> list[str]:
            runs = client.read_flow_runs(flow_run_filter=COMPLETED)
            return [run.name for run in runs if run.name.startswith("retrain-")]

        wait_until(lambda: bool(retrained()))
        assert retrained() == ["retrain-demo"]


def test_down_lets_a_run_save_ends_all_and_nothing_else(
    served: Served, tiny_backbones: str
) -> None:
    place_small_log(served)
    recipe = (served.data_dir / "tiny.toml").read_text()
    (served.data_dir / "long.toml").write_text(recipe.replace("num_epochs = 1", "num_epochs = 900"))
    settings = {
        "recipe": "data/long.toml",
        "backbones": tiny_backbones,
        "checkpoint_minutes": 1 / 20,
    }
    run = served.start_run("train-logllm/demo", dataset="small-log", settings=settings)
    wait_until(lambda: served.last_step() > 0)
    step = served.last_step()
    ours = served.processes()
    assert len(ours) >= 4  # the server, two workers, the run
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as bystander:
        done = served.service("down")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Runs that were under way: 1" in done.stdout
        assert [pid for pid in ours if is_alive(pid)] == []
        assert served.processes() == []
        assert bystander.poll() is None
    assert served.last_step() > step
    again = served.service("down")
    assert (again.returncode, again.stdout) == (0, "Nothing of ours is running.\n")

    served.up()
    assert served.state(run) == StateType.CRASHED


def test_a_port_that_is_taken_is_one_clear_error(tmp_path: Path) -> None:
    served = Served.make(tmp_path)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", served.port))
        other.listen()
        done = served.service("up")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: Port {served.port} is wanted for Prefect's server, but")
    assert "Traceback" not in done.stderr
    assert served.processes() == []


def test_a_server_elsewhere_is_not_started_here(tmp_path: Path) -> None:
    served = Served.make(tmp_path)
    done = served.service("up", PREFECT_API_URL="https://prefect.example.org/api")
    assert done.returncode == 1
    assert "name the server https://prefect.example.org/api" in done.stderr
    assert served.processes() == []
