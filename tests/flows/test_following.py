"""`logllm detect --follow` as a process: killed, interrupted, beside another one."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from logllm_core import tables
from logllm_core.daily.ledger.cursors import new_parts
from logllm_core.store.store import Store
from tests.daily.new_logs import MIDDLE, lines, prepare_champion, row_key
from tests.flows.served import PATIENCE_SECONDS, ended_after, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = f"""
import sys
from logllm_core.scoring import judge
judge.DECISION = {MIDDLE}
from flows.cli.main import main
sys.argv[0] = "logllm"
main()
"""
KILLS = 4


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return prepare_champion(tmp_path).store.data_dir


@contextmanager
def started(data: Path, *arguments: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """`logllm detect ... --model own --json`; killed at the end if it still runs."""
    command = [sys.executable, "-c", PROGRAM, "detect", *map(str, arguments)]
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    process = subprocess.Popen(
        [*command, "--model", "own", "--data-dir", str(data), "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        **given,
    )
    with ended_after(process):
        yield process


def kept(data: Path) -> list[dict[str, Any]]:
    return [
        row
        for part in new_parts(Store(data_dir=data), "own")
        for row in tables.read(part, tables.NEW_PREDICTIONS).to_pylist()
    ]


def window_ids(output: str) -> list[int]:
    return [json.loads(line)["window_id"] for line in output.splitlines()]


def uninterrupted(tmp_path: Path, log: Path) -> list[dict[str, Any]]:
    """What one call over the whole log says."""
    (tmp_path / "other").mkdir()
    other = prepare_champion(tmp_path / "other").store.data_dir
    with started(other, log) as process:
        process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0
    return kept(other)


def append(log: Path, text: str) -> None:
    with log.open("a") as stream:
        stream.write(text)


def test_killed_at_any_moment_each_window_is_kept_once(data: Path, tmp_path: Path) -> None:
    log = tmp_path / "new.log"
    log.write_text("")
    dice = random.Random(0)
    written = lines(4 * 40 * (KILLS + 1))
    told: list[dict[str, Any]] = []
    output_path = tmp_path / "output"
    for number in range(KILLS + 1):
        share = "".join(written[number * 160 : (number + 1) * 160])
        with (
            output_path.open("w") as output,
            started(data, log, "--follow", "--max-delay", "600", stdout=output) as process,
        ):
            half = dice.randrange(len(share))
            append(log, share[:half])  # a line in pieces, too
            if number < KILLS:
                wait_until(lambda: output_path.stat().st_size > 0)
                append(log, share[half:])
                time.sleep(dice.uniform(0, 0.15))
                os.killpg(process.pid, signal.SIGKILL)
            else:
                append(log, share[half:])
                wait_until(lambda: len(kept(data)) >= len(written) // 4)
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=PATIENCE_SECONDS) == 0
        # The last line of one that was killed may be cut off.
        told += [json.loads(line) for line in output_path.read_text().split("\n")[:-1]]
    found = sorted(kept(data), key=lambda row: row["window_id"])
    assert [row["window_id"] for row in found] == list(range(len(written) // 4))
    wanted = uninterrupted(tmp_path, log)
    assert list(map(row_key, found)) == list(map(row_key, wanted))
    assert [row["lines"] and [one["line_number"] for one in row["lines"]] for row in found] == [
        row["lines"] and [one["line_number"] for one in row["lines"]] for row in wanted
    ]
    assert {one["window_id"] for one in told} == {row["window_id"] for row in found}


def test_interrupted_it_ends_well_and_output_too_has_each_window_once(
    data: Path, tmp_path: Path
) -> None:
    log = tmp_path / "new.log"
    log.write_text("")
    written = lines(600)
    told: list[int] = []
    for number, asked in enumerate((signal.SIGTERM, signal.SIGINT, signal.SIGTERM)):
        output_path = tmp_path / f"output-{number}"
        with (
            output_path.open("w") as output,
            started(data, log, "--follow", "--max-delay", "600", stdout=output) as process,
        ):
            append(log, "".join(written[number * 200 : (number + 1) * 200]))
            wait_until(lambda path=output_path: path.stat().st_size > 0)  # type: ignore[misc]
            process.send_signal(asked)
            _, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        told += window_ids(output_path.read_text())
    with started(data, log, "--new-only") as process:
        rest, _ = process.communicate(timeout=PATIENCE_SECONDS)
    told += window_ids(rest)
    assert told == list(range(150))
    assert [row["window_id"] for row in kept(data)] == list(range(150))


def read_line(stream: IO[str] | None) -> str:
    assert stream
    return stream.readline()


def test_two_at_once_judge_each_window_once_and_both_tell_all(data: Path, tmp_path: Path) -> None:
    log = tmp_path / "new.log"
    log.write_text("".join(lines(2_000)))
    # Into files: who waits for a reader of its pipe holds the log meanwhile.
    paths = [tmp_path / "one", tmp_path / "other"]
    with (
        paths[0].open("w") as first,
        paths[1].open("w") as second,
        started(data, log, stdout=first, stderr=None) as one,
        started(data, log, stdout=second, stderr=None) as other,
    ):
        assert one.wait(timeout=PATIENCE_SECONDS) == 0
        assert other.wait(timeout=PATIENCE_SECONDS) == 0
    for path in paths:
        assert window_ids(path.read_text()) == list(range(500))
    assert [row["window_id"] for row in kept(data)] == list(range(500))


def test_beside_a_follower_another_call_tells_what_it_judged_and_does_not_wait(
    data: Path, tmp_path: Path
) -> None:
    log = tmp_path / "new.log"
    log.write_text("".join(lines(42)))
    with started(data, log, "--follow", "--max-delay", "0.5") as follower:
        for _ in range(11):
            read_line(follower.stdout)
        with started(data, log) as process:
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0
        assert window_ids(output) == list(range(11))
        follower.send_signal(signal.SIGTERM)
        assert follower.wait(timeout=PATIENCE_SECONDS) == 0


def test_a_reader_who_has_enough_ends_it_quietly(data: Path, tmp_path: Path) -> None:
    log = tmp_path / "new.log"
    log.write_text("".join(lines(20_000)))
    with started(data, log) as process:
        read_line(process.stdout)
        assert process.stdout
        process.stdout.close()
        assert process.wait(timeout=PATIENCE_SECONDS) == 141
        errors = process.stderr.read() if process.stderr else ""
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


def test_a_pipe_is_judged_to_its_end(data: Path) -> None:
    with started(data, "-", stdin=subprocess.PIPE) as process:
        output, errors = process.communicate("".join(lines(10)), timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, errors
    assert [json.loads(line)["last_line"] for line in output.splitlines()] == [3, 7, 9]


def test_what_came_through_a_pipe_is_judged_also_when_interrupted(
    data: Path, tmp_path: Path
) -> None:
    output_path = tmp_path / "output"
    with (
        output_path.open("w") as output,
        started(data, "-", stdin=subprocess.PIPE, stdout=output) as process,
    ):
        assert process.stdin
        process.stdin.write("".join(lines(10)))
        process.stdin.flush()
        wait_until(lambda: output_path.stat().st_size > 0)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    told = [json.loads(line) for line in output_path.read_text().splitlines()]
    assert [one["last_line"] for one in told] == [3, 7, 9]
