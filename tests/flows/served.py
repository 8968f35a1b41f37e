"""A project folder with a Prefect server and workers of its own: real processes, to be killed."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.server.deployments import POOL
from flows.server.login import PROFILES
from flows.server.server_processes import processes_of
from tests.flows.conftest import write_small_log

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("prefect.yaml", "automations.yaml", "pyproject.toml")
PATIENCE_SECONDS = 240.0  # with a busy machine
ASKING_SECONDS = 0.25  # between two questions to a server


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """What a person has after `make up`, in a folder of its own and at a port of its own.

    Args:
        folder: the project; its `data` folder is `data_dir`.
        more: environment variables besides.
    """

    folder: Path
    port: int
    more: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, **more: str) -> "Served":
        """A copy of the project's files, with another port."""
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        for name in COPIED:
            shutil.copy(ROOT / name, folder)
        return cls(folder=folder, port=port, more=more)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def environment(self) -> dict[str, str]:
        """As a terminal has it in which nobody has set anything up."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        return kept | {"OMP_NUM_THREADS": "1", **self.more}

    def service(self, command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """`python -m flows.server.service COMMAND`, as the Makefile does."""
        return self.run_python("-m", "flows.server.service", command, **more)

    def run_python(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    def up(self) -> None:
        """At its own port, which `prefect ...` in the folder then knows."""
        done = self.service("up", PREFECT_API_URL=self.address)
        assert done.returncode == 0, done.stdout + done.stderr

    def end(self) -> None:
        """Nothing of it is left, whatever state it is in."""
        self.service("down")
        signal_all(signal.SIGKILL, self.processes())

    @property
    def home_dir(self) -> Path:
        return self.data_dir / ".prefect"

    def processes(self, role: str = "") -> list[int]:
        """The ids of all of its processes, or of those of the server or of a queue."""
        found = processes_of(self.home_dir)
        return sorted(process.pid for process in found if role in ("", process.role))

    def worker(self, queue: str = "training") -> int:
        """The process of the queue's worker, not those of the runs that it has."""
        (worker,) = (p for p in processes_of(self.home_dir) if p.role == queue and not p.is_run)
        return worker.pid

    @property
    def login(self) -> str:
        profiles = tomllib.loads((self.home_dir / PROFILES).read_text())["profiles"]
        return str(profiles["logllm"]["PREFECT_API_AUTH_STRING"])

    def client(self) -> SyncPrefectClient:
        given = {PREFECT_API_URL: self.address, PREFECT_API_AUTH_STRING: self.login}
        with temporary_settings(given):
            return get_client(sync_client=True)

    def start_run(self, deployment: str, **parameters: Any) -> UUID:
        """`prefect deployment run`, without the seconds that the command takes to begin."""
        with self.client() as client:
            found = client.read_deployment_by_name(deployment)
            run = client.create_flow_run_from_deployment(
                found.id, parameters=json.loads(json.dumps(parameters, default=str))
            )
        return run.id

    def run(self, run_id: UUID) -> FlowRun:
        with self.client() as client:
            return client.read_flow_run(run_id)

    def state(self, run_id: UUID) -> StateType | None:
        return self.run(run_id).state_type

    def ends(self, run_id: UUID, seconds: float = PATIENCE_SECONDS) -> StateType | None:
        """The final state of the run, once it has one."""
        final = {StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED}
        wait_until(lambda: self.state(run_id) in final, seconds, pause_seconds=ASKING_SECONDS)
        return self.state(run_id)

    def has_worker(self, name: str) -> bool:
        """Whether that one has told the server that it is there."""
        with self.client() as client:
            workers = client.read_workers_for_work_pool(POOL)
        return any((one.name, one.status) == (name, WorkerStatus.ONLINE) for one in workers)

    def nightly(self) -> set[UUID]:
        """The deployments that have a schedule."""
        with self.client() as client:
            return {found.id for found in client.read_deployments() if found.schedules}

    def planned_nightly(self) -> set[UUID | None]:
        """The deployments of which a run is planned within the next 48 hours."""
        soon = datetime.now(UTC) + timedelta(hours=48)
        state = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        with self.client() as client:
            planned = client.read_flow_runs(
                flow_run_filter=FlowRunFilter(state=state),
                sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            )
        return {
            run.deployment_id
            for run in planned
            if run.expected_start_time and run.expected_start_time < soon
        }

    def last_step(self) -> int:
        """After which step the newest checkpoint of any stage is; 0 where there is none."""
        found = self.data_dir.glob("models/*/.*.checkpoints/step-*")
        return max((int(path.name[5:]) for path in found), default=0)

    def said(self) -> str:
        """All that server and workers wrote, for a test that fails."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-6_000:]}"
            for path in sorted(self.home_dir.glob("*.log"))
        )


def place_small_log(served: Served) -> None:
    """The data set `small-log`, and the recipe for the two-layer models."""
    if not (served.data_dir / "tiny.toml").exists():
        write_small_log(served.data_dir)


def keep_deployments(served: Served, *names: str) -> None:
    """Leave others out of the project's file: each takes its time to deploy."""
    path = served.folder / "prefect.yaml"
    content = yaml.safe_load(path.read_text())
    content["deployments"] = [
        found
        for found in content["deployments"]
        if f"{found['entrypoint'].rpartition('.')[2].replace('_', '-')}/{found['name']}" in names
    ]
    assert len(content["deployments"]) == len(names)
    path.write_text(yaml.safe_dump(content))


def wait_until(
    is_so: Callable[[], bool], seconds: float = PATIENCE_SECONDS, *, pause_seconds: float = 0.05
) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not within {seconds:.0f} s"
        time.sleep(pause_seconds)


@contextmanager
def ended_after(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    """The process, the first of its session; killed with all of it if it still runs."""
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def signal_all(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def is_alive(pid: int) -> bool:
    """Whether it is there, and more than an entry that nobody has asked for yet."""
    try:
        return (Path("/proc") / str(pid) / "environ").read_bytes() != b""
    except OSError:
        return False
