"""`logllm query` as a user meets it: what is shown, what is left out, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from logllm_core.store.store import Store
from tests.flows.conftest import Run, check_error
from tests.flows.served import ended_after
from tests.query.test_views import prepare

MAIN = "from flows.cli.main import main; main()"
# Neither ever ends; the second is one call of a function that DuckDB does not interrupt.
ENDLESS = {
    "rows": f"from range({10**15})",
    "none": f"select count(*) from range({10**9}) a, range({10**9}) b where a.range + b.range = -1",
    "deaf": "select levenshtein(repeat('ab', 200_000), repeat('ba', 200_000))",
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("query")
    prepare(Store(data_dir=folder / "data"), folder)
    return folder / "data"


@pytest.fixture
def query(data_dir: Path, logllm: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "100")
    return partial(logllm, "query", "--data-dir", data_dir)


def process(data_dir: Path, *arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments, "--data-dir", str(data_dir)],
        env=os.environ | {"TMPDIR": str(data_dir.parent)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_a_table_shows_a_thousand_rows_and_counts_the_others(query: Run) -> None:
    status, output, _ = query("from range(25_000)")
    assert status == 0
    lines = [line.strip() for line in output.splitlines()]
    assert [line for line in lines if line.isdigit()] == [str(number) for number in range(1000)]
    assert lines[-1] == "24,000 more rows are left out. All of them: --json"
    _, output, _ = query("from range(1_000)")
    assert "left out" not in output
    _, output, _ = query("from range(25_000)", "--json")
    assert json.loads(output) == [{"range": number} for number in range(25_000)]


def test_a_long_cell_is_cut_and_says_so(query: Run) -> None:
    _, output, _ = query("select repeat('x', 2_345) as long")
    assert "and 345 more characters" in " ".join(output.split())
    assert output.count("x") == 2_000
    _, output, _ = query("select repeat('x', 2_345) as long", "--json")
    assert json.loads(output) == [{"long": "x" * 2_345}]


def test_lines_of_a_cell_stay_lines_without_their_control_characters(query: Run) -> None:
    _, output, _ = query("select 'above' || chr(10) || 'below' || chr(27) || '[2J'")
    (above,) = (line for line in output.splitlines() if line.strip() == "above")
    assert above
    assert "below\N{REPLACEMENT CHARACTER}[2J" in output
    _, output, _ = query("explain select 1")
    assert "Projection" in output
    assert "\N{REPLACEMENT CHARACTER}" not in output


def test_json_keeps_every_column_and_any_key(query: Run) -> None:
    check_error(query("select 1 as a, 2 as a", "--json"), "Several columns are called a", "AS name")
    _, output, _ = query("select map {date '2024-05-01': [map {1: 2}]} as m", "--json")
    assert json.loads(output) == [{"m": {"2024-05-01": [{"1": 2}]}}]
    assert json.loads(query("select 1 where false", "--json")[1]) == []


def test_what_does_not_read_is_one_error(query: Run, data_dir: Path) -> None:
    file = data_dir / "logllm.duckdb"
    before = file.read_bytes()
    result = query(f"copy (select 1) to '{file}'")
    check_error(result, "A query only reads, found COPY", "SELECT")
    assert file.read_bytes() == before
    check_error(query("select * from read_text('/etc/shadow')"), "Cannot access file")
    check_error(query("select interval '1000000000 days'"), "DuckDB refuses the query")


def test_a_warning_is_one_line_without_control_characters(
    logllm: Run, data_dir: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "\x1b[2J"
    copy.mkdir()
    for name in ("messages", "windows", "logllm.duckdb"):
        (copy / name).symlink_to(data_dir / name)
    status, _, errors = logllm("query", "select 1", "--data-dir", copy)
    assert status == 0
    (line,) = errors.splitlines()
    assert line.startswith(f"warning: {tmp_path}/\N{REPLACEMENT CHARACTER}[2J/logllm.duckdb is not")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENDLESS)
def test_an_interrupt_ends_a_query_at_once(data_dir: Path, kind: str) -> None:
    running = process(data_dir, "query", ENDLESS[kind], "--json")
    with ended_after(running):
        if kind == "rows":
            assert running.stdout
            assert running.stdout.read(10) == b'[{"range":'
        else:
            wait_until_busy(running)
        running.send_signal(signal.SIGINT)
        started = time.monotonic()
        _, errors = running.communicate(timeout=30)
        assert time.monotonic() - started < 10  # on a machine that does much else
        assert (running.returncode, errors) == (128 + signal.SIGINT, b"")


def wait_until_busy(running: "subprocess.Popen[bytes]") -> None:
    """Until DuckDB's own threads are at work: Python starts with one."""
    tasks = Path("/proc", str(running.pid), "task")
    while running.poll() is None and len(list(tasks.iterdir())) < 2:
        time.sleep(0.05)
    time.sleep(0.5)


@pytest.mark.slow
def test_a_reader_that_leaves_ends_it_without_a_traceback(data_dir: Path) -> None:
    running = process(data_dir, "query", ENDLESS["rows"], "--json")
    with ended_after(running):
        assert running.stdout
        assert running.stderr
        assert running.stdout.read(10) == b'[{"range":'
        running.stdout.close()
        assert running.wait(timeout=30) == 1
        assert b"Traceback" not in running.stderr.read()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "shown"), [((), b"caf\\xe9 \\u4e16"), (("--json",), b'"caf\\u00e9 \\u4e16"')]
)
def test_a_terminal_without_unicode_is_no_traceback(
    data_dir: Path, form: tuple[str, ...], shown: bytes
) -> None:
    text = "select 'caf\xe9 \u4e16' as word"
    with process(data_dir, "query", text, *form, PYTHONIOENCODING="ascii") as running:
        output, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (0, b"")
    assert shown in output
