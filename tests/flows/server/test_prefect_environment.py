"""Where a flow without a server keeps what Prefect writes."""

import os
import stat
from pathlib import Path

import pytest

from flows.cli import main
from flows.server.prefect_environment import set_up_prefect
from logllm_core.errors import LogLLMError
from tests.flows.conftest import Run, check_error


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment that says nothing of Prefect."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    monkeypatch.setattr(os, "environ", variables)
    return variables


def test_the_database_of_runs_lies_in_the_data_folder_for_its_owner_alone(
    environment: dict[str, str], tmp_path: Path
) -> None:
    set_up_prefect(tmp_path / "data")
    home_dir = tmp_path / "data" / ".prefect-runs"
    assert environment["PREFECT_HOME"] == str(home_dir)
    assert stat.S_IMODE(home_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((home_dir / "prefect.db").stat().st_mode) == 0o600
    set_up_prefect(tmp_path / "data")  # and again, where it is there


def test_the_server_of_a_command_answers_that_command_alone(
    environment: dict[str, str], tmp_path: Path
) -> None:
    set_up_prefect(tmp_path)
    login = environment["PREFECT_SERVER_API_AUTH_STRING"]
    assert login == environment["PREFECT_API_AUTH_STRING"]
    assert login.startswith("logllm:")
    assert len(login) > 40
    set_up_prefect(tmp_path)  # in a process that it starts
    assert environment["PREFECT_SERVER_API_AUTH_STRING"] == login
    for name in list(environment):
        if "AUTH_STRING" in name:
            del environment[name]
    set_up_prefect(tmp_path)
    assert environment["PREFECT_SERVER_API_AUTH_STRING"] != login


def test_a_home_that_is_exported_goes_first(environment: dict[str, str], tmp_path: Path) -> None:
    environment["PREFECT_HOME"] = str(tmp_path / "mine")
    set_up_prefect(tmp_path / "data")
    assert environment["PREFECT_HOME"] == str(tmp_path / "mine")
    assert not (tmp_path / "data").exists()


def test_a_server_that_is_exported_keeps_its_own_database(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["PREFECT_API_URL"] = "http://127.0.0.1:4200/api"
    set_up_prefect(tmp_path / "data")
    assert "PREFECT_HOME" not in environment
    assert "PREFECT_PROFILE" not in environment  # the folder's own may know its login
    assert "PREFECT_SERVER_API_AUTH_STRING" not in environment
    assert not (tmp_path / "data").exists()


def test_a_place_that_cannot_hold_the_database_is_one_error_before_any_waiting(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(LogLLMError, match="holds a question mark"):
        set_up_prefect(tmp_path / "what?")
    environment["PREFECT_HOME"] = "/proc/none"  # where not even root can write
    with pytest.raises(LogLLMError, match=r"Cannot write to /proc/none.*export PREFECT_HOME"):
        set_up_prefect(tmp_path)


def test_a_server_that_does_not_start_in_time_is_one_error(
    logllm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("Timed out while attempting to connect to ephemeral Prefect API server.")

    monkeypatch.setattr(main, "app", fail)
    check_error(logllm("prepare", "demo"), "Timed out", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT")
