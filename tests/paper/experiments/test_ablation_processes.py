"""Real processes: `acting.py` is what they do."""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from loguru import logger

from logllm_core.errors import LogLLMError
from logllm_core.paper.experiments import ablation_processes
from logllm_core.paper.experiments.ablation_processes import run_all
from logllm_core.store.store import Artifact, Store
from tests.paper.experiments.jobs import ACTING, job
from tests.training.test_launch import assert_gone

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # from where the modules of the tests are found
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))  # for what is started
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(ablation_processes, "MODULE", ACTING)


def run(folder: Path, *names: str, num_processes: int = 1) -> list[Artifact | str]:
    jobs = [job(name, folder, num_processes=num_processes) for name in names]
    return run_all(Store(data_dir=folder), jobs)


@contextmanager
def program(folder: Path, *names: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.paper.experiments.jobs", str(folder), *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def next_pid(started: "subprocess.Popen[str]") -> int:
    assert started.stdout is not None
    return next(int(line.rpartition(" ")[2]) for line in started.stdout if ": pid " in line)


@pytest.mark.slow
def test_what_one_variant_dies_of_is_told_and_stops_no_other(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    logger.add(lambda message: lines.append(message.record["message"]))
    monkeypatch.setattr(
        ablation_processes, "_groups_of_cards", lambda number: [()] * 4
    )  # all at once
    found = run(tmp_path, "refuse", "crash", "be_killed", "succeed")
    wanted = Artifact(kind="runs", dataset="bgl", fingerprint="cd" * 8, path=tmp_path)
    assert found == [
        "Not enough memory: buy some.",
        "its process failed with exit code 1, as printed on standard error",
        "its process was killed by SIGKILL (often: no memory was left)",
        wanted,
    ]
    shown = capfd.readouterr().err
    assert shown.count("Traceback") == 1
    assert "RuntimeError: nobody expected this" in shown
    assert "succeed: sees all" in lines
    assert "refuse was not run: Not enough memory: buy some." in lines
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.slow
def test_each_variant_has_a_card_of_its_own_and_as_many_run_as_there_are_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = [torch.device("cuda", number) for number in range(2)]
    monkeypatch.setattr(ablation_processes, "num_cards", lambda: 2)
    monkeypatch.setattr(ablation_processes, "devices_of", lambda number: cards[:number])
    monkeypatch.setattr(ablation_processes, "card_uuid", lambda card: f"uuid{card.index}")
    lines: list[str] = []
    logger.add(lambda message: lines.append(message.record["message"]))
    run(tmp_path, "succeed 1", "succeed 2", "succeed 3")
    on = [line.partition(": begins on ")[2] for line in lines if "begins" in line]
    assert {*on[:2]} == {"GPU-uuid0", "GPU-uuid1"}
    begun = [place for place, line in enumerate(lines) if "begins" in line]
    told = [place for place, line in enumerate(lines) if ": sees GPU-uuid" in line]
    assert len(told) == 3
    assert begun[1] < told[0] < begun[2]  # two at once, the third when one of them is done


def test_processes_that_train_together_share_a_group_of_cards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ablation_processes, "num_cards", lambda: 5)
    cards = [torch.device("cuda", number) for number in range(5)]
    monkeypatch.setattr(ablation_processes, "devices_of", lambda number: cards[:number])
    monkeypatch.setattr(ablation_processes, "card_uuid", lambda card: str(card.index))
    groups = ablation_processes._groups_of_cards
    assert groups(2) == [("GPU-0", "GPU-1"), ("GPU-2", "GPU-3")]
    assert groups(8) == [()]  # the training itself says that there are too few


@pytest.mark.slow
def test_a_killed_parent_takes_its_variants_along(tmp_path: Path) -> None:
    with program(tmp_path, "train") as started:
        pid = next_pid(started)
        started.kill()
    assert_gone([pid], within_seconds=5)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.slow
def test_a_signal_is_passed_on_and_obeyed_when_all_have_stopped(tmp_path: Path) -> None:
    with program(tmp_path, "train", "succeed") as started:
        pid = next_pid(started)
        started.send_signal(signal.SIGTERM)
        assert started.stdout is not None
        rest = started.stdout.read().splitlines()
        assert started.wait(timeout=60) == -signal.SIGTERM
    assert rest == ["Waiting for train to save and stop"]  # the second never began
    assert_gone([pid], within_seconds=0.1)


@pytest.mark.slow
def test_who_survives_the_signal_is_told_that_it_stopped(tmp_path: Path) -> None:
    def stop(message: str) -> None:
        if "pid" in message:
            signal.raise_signal(signal.SIGTERM)

    noted: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: noted.append(number))
    logger.add(stop)
    started = time.monotonic()
    try:
        with pytest.raises(LogLLMError, match="asked to stop, and did"):
            run(tmp_path, "train")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert noted == [signal.SIGTERM]
    assert time.monotonic() - started < 40
