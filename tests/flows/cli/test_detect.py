"""`logllm detect` in this process: what it prints and how it exits. With processes: see
test_following.py."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flows.cli.detect import Output, as_json
from logllm_core import tables
from logllm_core.scoring import judge
from tests.daily.new_logs import MIDDLE, lines, prepare_champion
from tests.flows.conftest import Run, check_error

FIELDS = {
    *("window_id", "session_id", "probability", "verdict", "first_line", "last_line", "lines"),
    *("num_cut_lines", "source", "log_id", "start_time", "end_time", "model"),
}


@pytest.fixture(autouse=True)
def _middling_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "DECISION", MIDDLE)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return prepare_champion(tmp_path).store.data_dir


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "new.log"
    path.write_text("".join(lines(203)))
    return path


def test_json_is_one_object_a_window(logllm: Run, data: Path, log: Path) -> None:
    status, output, _ = logllm("detect", log, "--model", "own", "--data-dir", data, "--json")
    assert status == 0
    told = [json.loads(line) for line in output.splitlines()]
    assert [one["window_id"] for one in told] == list(range(51))
    for one in told:
        assert set(one) == FIELDS
        assert one["verdict"] in {"normal", "anomalous"}
        assert 0 <= one["probability"] <= 1
        assert (one["lines"] is None) == (one["verdict"] == "normal")
        for line in one["lines"] or []:
            assert set(line) == {"line_number", "content", "contribution"}
            assert one["first_line"] <= line["line_number"] <= one["last_line"]
        assert datetime.fromisoformat(one["start_time"]) <= datetime.fromisoformat(one["end_time"])
    assert told[0]["start_time"] == "2005-06-03T22:42:50"


def test_people_are_told_the_anomalous_windows_and_a_summary(
    logllm: Run, data: Path, log: Path
) -> None:
    status, output, _ = logllm("detect", log, "--model", "own", "--data-dir", data)
    assert status == 0
    *anomalous, figures, done, page = output.splitlines()
    assert 0 < len(anomalous) < 51
    assert all(f"  {log}:" in line and "2005-06-03 22:4" in line for line in anomalous)
    assert figures == f"{len(anomalous)} of 51 windows are anomalous."
    assert "203 new lines in 51 windows judged now" in done
    assert page == f"Page: {data / 'predictions' / 'own' / 'new' / 'page.html'}"
    assert Path(page.removeprefix("Page: ")).is_file()


def test_the_exit_status_follows_what_is_told(logllm: Run, data: Path, log: Path) -> None:
    options = ("--model", "own", "--data-dir", data)
    assert logllm("detect", log, *options)[0] == 0
    assert logllm("detect", log, *options, "--fail-on-anomaly")[0] == 3
    assert logllm("detect", log, *options, "--fail-on-anomaly", "--new-only")[0] == 0


def test_where_nothing_is_anomalous_the_status_is_0(
    logllm: Run, data: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "DECISION", 1.0)
    options = ("--model", "own", "--data-dir", data)
    status, output, _ = logllm("detect", log, *options, "--fail-on-anomaly")
    assert (status, output.splitlines()[0]) == (0, "0 of 51 windows are anomalous.")


def test_told_again_it_is_the_same_json(logllm: Run, data: Path, log: Path) -> None:
    options = ("--model", "own", "--data-dir", data, "--json")
    first = logllm("detect", log, *options)[1]
    assert logllm("detect", log, *options)[1] == first
    assert logllm("detect", log, *options, "--new-only")[1] == ""


def test_verdicts_can_be_queried_at_once(logllm: Run, data: Path, log: Path) -> None:
    logllm("detect", log, "--model", "own", "--data-dir", data)
    statement = "select count(*) as n from own.predictions where split = 'new'"
    status, output, _ = logllm("query", statement, "--data-dir", data, "--json")
    assert (status, json.loads(output)) == (0, [{"n": 51}])


def test_hostile_text_reaches_no_terminal(logllm: Run, data: Path, tmp_path: Path) -> None:
    log = tmp_path / "[bold]x\x1b[31m.log"
    hostile = "\x1b]0;gotcha\x07 [red]failed[/red] \x9b2J \x08\x08 disk"
    log.write_bytes("".join(f"{1117838570 + n} {hostile}\n" for n in range(8)).encode("latin-1"))
    for form in ((), ("--json",)):
        status, output, errors = logllm("detect", log, "--model", "own", "--data-dir", data, *form)
        assert status == 0
        told = output + errors
        assert not [mark for mark in told if not mark.isprintable() and mark not in "\r\n"]
    told = json.loads(
        logllm("detect", log, "--model", "own", "--data-dir", data, "--json")[1][:-1].splitlines()[
            0
        ]
    )
    assert told["source"] == str(log)


def test_of_logs_that_cannot_all_be_judged_the_others_are_and_the_status_says_so(
    logllm: Run, data: Path, log: Path
) -> None:
    damaged = log.with_name("damaged.log.gz")
    damaged.write_bytes(b"no gzip")
    status, output, errors = logllm("detect", damaged, log, "--model", "own", "--data-dir", data)
    assert status == 1
    assert "of 51 windows are anomalous." in output
    assert "1 logs could not be judged as a whole" in output
    assert "damaged.log.gz" in errors


def row(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "window_id": 3,
        "log_id": "0" * 16,
        "source": "app.log",
        "first_line": 12,
        "last_line": 15,
        "num_lines": 4,
        "probability": 0.98765,
        "verdict": "anomalous",
        "lines": [{"line_number": 13, "content": "disk failed", "contribution": 2.5}],
        "model": "f" * 16,
        "judged": datetime(2026, 1, 2, tzinfo=UTC).replace(tzinfo=None),
    }
    return dict.fromkeys(tables.NEW_PREDICTIONS.names) | values | changes


def shown(capsys: pytest.CaptureFixture[str], *rows: dict[str, Any]) -> str:
    output = Output(as_json=False)
    output.tell(pa.Table.from_pylist(list(rows), tables.NEW_PREDICTIONS))
    return capsys.readouterr().out


def test_a_line_says_how_sure_where_when_and_what(capsys: pytest.CaptureFixture[str]) -> None:
    timed = row(start_time=datetime(2005, 6, 3, 22, 42, 50))
    normal = row(verdict="normal", probability=0.1, lines=None)
    assert shown(capsys, timed, normal, row(lines=None)) == (
        "0.988  app.log:12-15  2005-06-03 22:42:50  disk failed\n0.988  app.log:12-15\n"
    )


def test_on_a_terminal_a_line_is_cut_to_its_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    long = row(lines=[{"line_number": 1, "content": "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 99}])
    line = shown(capsys, long)
    assert line.startswith("0.988  app.log:12-15  \N{CJK UNIFIED IDEOGRAPH-4E00}")
    assert line.endswith("\N{HORIZONTAL ELLIPSIS}\n")
    assert len(line) < 40


def test_json_is_ascii() -> None:
    told = as_json(row(lines=[{"line_number": 1, "content": "\x9b2J\u202e", "contribution": 1.0}]))
    assert told.isascii()
    assert json.loads(told)["lines"][0]["content"] == "\x9b2J\u202e"


def test_without_a_champion_it_is_one_clear_error(logllm: Run, data: Path, log: Path) -> None:
    (data / "models" / "own" / "champion.json").unlink()
    result = logllm("detect", log, "--model", "own", "--data-dir", data)
    check_error(result, "own has no model yet", "logllm train own")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("gone.log", "gone.log"),
        ("s3://bucket/app.log", "s3://bucket/app.log"),
        ("https://example.org/app.log", "https://example.org/app.log"),
        (os.devnull, os.devnull),
    ],
)
def test_a_file_that_is_none_is_one_clear_error(
    logllm: Run, data: Path, file: str, words: str
) -> None:
    check_error(logllm("detect", file, "--model", "own", "--data-dir", data), words)


def test_another_kind_of_log_is_one_clear_error(logllm: Run, data: Path, tmp_path: Path) -> None:
    log = tmp_path / "other.log"
    log.write_text("nonsense\n" * 2_000)
    result = logllm("detect", log, "--model", "own", "--data-dir", data)
    check_error(result, "matches the line format", "other.log")


def test_an_unknown_model_is_one_clear_error(logllm: Run, data: Path, log: Path) -> None:
    check_error(logllm("detect", log, "--model", "nothing", "--data-dir", data), "nothing", "own")


def test_the_help_teaches(logllm: Run) -> None:
    status, output, _ = logllm("detect", "--help")
    assert status == 0
    for word in ("--follow", "--json", "--fail-on-anomaly", "--max-delay", "--new-only", "zcat"):
        assert word in output
