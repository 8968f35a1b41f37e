"""Real processes: `launched.py` is what they do, `launching.py` a program that starts them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.training.launch import run_together

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kills")]
ROOT = Path(__file__).resolve().parents[2]
Event = dict[str, Any]


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # from where the modules of the tests are found
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # for what is started
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def launch(*order: str, on_event: Callable[[Event], None] | None = None) -> list[Event]:
    events: list[Event] = []
    results = run_together(
        "tests.training.launched",
        json.dumps(order).encode(),
        num_processes=2,
        hear=on_event or events.append,
    )
    return [*events, {"results": results}]


@contextmanager
def interrupted(behaviour: str) -> Iterator["subprocess.Popen[str]"]:
    """A program that has launched two processes."""
    command = [sys.executable, "-m", "tests.training.launching", behaviour]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            yield program
        finally:
            program.kill()


def next_event(program: "subprocess.Popen[str]") -> Event:
    assert program.stdout is not None
    event: Event = json.loads(program.stdout.readline())
    return event


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # ended, and its parent has not asked yet


def assert_gone(pids: list[int], within_seconds: float) -> None:
    end = time.monotonic() + within_seconds
    while any(is_alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.02)
    assert [pid for pid in pids if is_alive(pid)] == []


def test_two_processes_sum_and_what_they_tell_arrives_in_order(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    total, team, *rest = launch("count", "costs $$5")
    assert total == {"total": [3.0, 30.0], "device": "cpu"}  # 1 + 2 and 10 + 20
    assert team == {"num_processes": 2, "arguments": ["costs $$5"]}
    assert rest.pop() == {"results": "counted"}
    assert rest == [{"number": number, "text": "ä\n"} for number in range(100)]
    assert capfd.readouterr() == ("", "")  # a library's noise must not spoil --json
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_of_the_users_arrives_as_such_and_without_a_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LogLLMError, match=r"^No windows were found, at least one is wanted\.$"):
        launch("refuse")
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_an_unexpected_failure_shows_its_traceback_and_says_how_to_go_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(LogLLMError, match=r"exit code 1, .*Run the same command again"):
        launch("crash")
    shown = capfd.readouterr().err
    assert "RuntimeError: nobody expected this" in shown
    assert "ChildFailedError" not in shown  # torchrun's own traceback says nothing


def test_a_killed_process_ends_all_of_them_with_a_clear_error() -> None:
    started = time.monotonic()
    with pytest.raises(LogLLMError, match=r"one of them was killed by SIGKILL .*no memory"):
        launch("be_killed")
    assert time.monotonic() - started < 25  # torchrun's patience with the others is 30 s


@pytest.mark.parametrize("end", ["an exception", "torchrun is killed"])
def test_no_process_outlives_its_launch(end: str, tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(event: Event) -> None:
        pids.append(event["pid"])
        if len(pids) == 2 and end == "an exception":
            raise KeyError("of the one who listens")
        if len(pids) == 2:
            os.kill(event["parent"], signal.SIGKILL)

    with pytest.raises((KeyError, LogLLMError), match=r"listens|ended with exit code -9"):
        launch("train", on_event=interrupt)
    assert_gone(pids, within_seconds=5)
    assert list(tmp_path.iterdir()) == []


def test_processes_die_with_the_program_that_launched_them(tmp_path: Path) -> None:
    with interrupted("train") as program:
        told = [next_event(program), next_event(program)]
        assert all(is_alive(event["pid"]) for event in told)
        program.kill()
    assert_gone([event["pid"] for event in told] + [told[0]["parent"]], within_seconds=5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_processes_stop_in_order_before_the_program_gets_its_signal(
    signum: signal.Signals, tmp_path: Path
) -> None:
    with interrupted("train") as program:
        pids = [next_event(program)["pid"] for _ in range(2)]
        program.send_signal(signum)
        if signum == signal.SIGTERM:
            program.send_signal(signum)  # as `timeout` does; must not cut the stopping short
        assert next_event(program) == {"handled": signum}
        assert next_event(program) == {"launched": "stopped"}
        assert program.wait(timeout=20) == 0
    assert [pid for pid in pids if is_alive(pid)] == []
    assert list(tmp_path.iterdir()) == []


def test_processes_that_cannot_save_before_they_stop_are_an_error() -> None:
    noted: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: noted.append(number))
    try:
        with pytest.raises(LogLLMError, match="SIGTERM ended them before they told"):
            launch("wait", on_event=lambda _: signal.raise_signal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert noted == [signal.SIGTERM]


def test_a_launch_outside_the_main_thread_leaves_signals_alone() -> None:
    told: list[Event] = []
    thread = threading.Thread(target=lambda: told.extend(launch("count")))
    before = signal.getsignal(signal.SIGTERM)
    thread.start()
    thread.join(1)
    assert signal.getsignal(signal.SIGTERM) is before
    thread.join()
    assert len(told) == 103
