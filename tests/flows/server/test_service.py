"""`make up` and `make down`, with a real server and real workers."""

import json
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.exceptions import PrefectHTTPStatusError
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import connect

from tests.flows.served import (
    Served,
    is_alive,
    keep_deployments,
    place_small_log,
    signal_all,
    wait_until,
)
from tests.flows.test_deployments import DATASETS, FLOWS
from tests.pages.conftest import started_browser

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200), pytest.mark.xdist_group("service")]

COMPLETED = FlowRunFilter(
    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED]))
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served.make(tmp_path_factory.mktemp("project"))
    try:
        served.up()
        # All are on the server now; to deploy each of them again takes its time.
        keep_deployments(served, "train-logllm/demo", "retrain-logllm/demo")
        yield served
    finally:
        served.end()


def test_up_deploys_what_the_file_lists_and_serves_the_ui(served: Served) -> None:
    with served.client() as client:
        flows = {flow.id: flow.name for flow in client.read_flows()}
        deployed = [f"{flows[d.flow_id]}/{d.name}" for d in client.read_deployments()]
        automations = [automation.name for automation in client.read_automations()]
    assert sorted(deployed) == sorted(f"{flow}/{dataset}" for flow in FLOWS for dataset in DATASETS)
    listed = yaml.safe_load((served.folder / "automations.yaml").read_text())["automations"]
    wanted = {values["name"] for values in listed}
    wanted |= {f"retrain-{dataset}-on-drift" for dataset in DATASETS}
    assert sorted(automations) == sorted(wanted)
    page = httpx.get(served.address.removesuffix("/api"), follow_redirects=True, trust_env=False)
    assert page.status_code == 200
    assert "<html" in page.text


@pytest.mark.parametrize("login", [None, "logllm:guessed", "", ":"])
def test_nobody_gets_in_without_the_login(served: Served, login: str | None) -> None:
    given = None if login is None else (login.partition(":")[0], login.partition(":")[2])
    ask = httpx.Client(base_url=f"{served.address}/", auth=given, trust_env=False)
    with ask:
        assert ask.post("deployments/filter", json={}).status_code == 403  # nor a token for it
        assert ask.get("csrf-token", params={"client": "guessed"}).status_code == 401
        assert ask.get("work_pools/logllm").status_code == 401
        assert ask.get("health").status_code == 200  # for those that only ask whether it lives
    with (
        pytest.raises(InvalidHandshake),
        connect(f"{served.address.replace('http', 'ws')}/events/in") as socket,
    ):
        socket.send("{}")


def test_the_login_is_for_the_eyes_of_the_user_alone(served: Served) -> None:
    profiles = served.home_dir / "profiles.toml"
    assert stat.S_IMODE(profiles.stat().st_mode) == 0o600
    assert stat.S_IMODE(served.home_dir.stat().st_mode) == 0o700
    for pid in served.processes("server"):  # where everybody could read it
        assert served.login.encode() not in (Path("/proc") / str(pid) / "cmdline").read_bytes()


@pytest.mark.parametrize("variables", [{"command": "touch owned"}, {"env": {"A": "B"}}])
def test_a_run_takes_no_job_variables(served: Served, variables: dict[str, Any]) -> None:
    with served.client() as client:
        found = client.read_deployment_by_name("prepare-logs/demo")
        with pytest.raises(PrefectHTTPStatusError, match="422"):
            client.create_flow_run_from_deployment(found.id, job_variables=variables)


def test_a_page_from_elsewhere_reads_nothing_and_starts_nothing(served: Served) -> None:
    """In a real browser on the same machine, from another port of it."""
    with served.client() as client:
        deployment = client.read_deployment_by_name("prepare-logs/demo").id
        before = client.count_flow_runs()
    script = f"""async () => {{
        const seen = [];
        const login = "Basic " + btoa({json.dumps(served.login)});
        for (const headers of [{{}}, {{"Authorization": login}}]) {{
            for (const [path, content] of [
                ["deployments/filter", {{}}],
                ["deployments/{deployment}/create_flow_run", {{"job_variables": {{}}}}],
            ]) {{
                headers["Content-Type"] = "application/json";
                const request = {{method: "POST", headers, body: JSON.stringify(content)}};
                try {{
                    const answer = await fetch("{served.address}/" + path, request);
                    seen.push(answer.status);
                }} catch (fault) {{ seen.push(String(fault)); }}
                try {{  // what a form may send without asking first
                    await fetch("{served.address}/" + path, {{
                        method: "POST", mode: "no-cors", body: JSON.stringify(content)
                    }});
                }} catch (fault) {{ seen.push(String(fault)); }}
            }}
        }}
        return seen;
    }}"""
    elsewhere = f"http://127.0.0.1:{served.port + 1}/"
    with started_browser() as browser:
        page = browser.new_page()
        page.route(elsewhere, lambda route: route.fulfill(body="<html></html>"))
        page.goto(elsewhere)
        seen = page.evaluate(script)
    assert [said for said in seen if said != "TypeError: Failed to fetch"] == []
    assert len(seen) >= 4
    with served.client() as client:
        assert client.count_flow_runs() == before


def test_a_second_folder_leaves_the_first_ones_deployments_alone(
    served: Served, tmp_path: Path
) -> None:
    other = Served.make(tmp_path / "clone")
    done = other.service("up", PREFECT_API_URL=served.address)
    assert done.returncode == 1
    assert f"Port {served.port} is wanted for Prefect's server" in done.stderr
    login = {"PREFECT_API_URL": served.address, "PREFECT_API_AUTH_STRING": served.login}
    done = other.service("deploy", **login)
    assert done.returncode == 1
    assert f"run in {served.folder}, and this folder is {other.folder}" in done.stderr
    assert other.processes() == []
    with served.client() as client:
        steps = [deployment.pull_steps for deployment in client.read_deployments()]
    assert {str(step) for step in steps} == {str(steps[0])}
    assert str(served.folder) in str(steps[0])


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


def test_prefect_finds_the_server_from_the_folder_without_being_told(served: Served) -> None:
    place_small_log(served)
    run = ["-m", "prefect", "deployment", "run", "prepare-logs/demo", "--watch"]
    given = ["--param", "dataset=small-log", "--param", 'settings={"recipe": "data/tiny.toml"}']
    done = served.run_python(*run, *given)
    assert done.returncode == 0, done.stdout + done.stderr + served.said()
    assert list(served.data_dir.glob("windows/small-log/*/manifest.json"))


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
        done = served.service("up", PREFECT_API_URL=served.address)
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
