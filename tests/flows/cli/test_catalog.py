"""`logllm datasets` and `logllm datasets new` as a user meets them."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from logllm_core.logs.catalog.catalog import find_dataset
from tests.flows.conftest import Run, check_error

MAIN = "from flows.cli.main import main; main()"
LINE = "2024-05-01 12:00:00 WARN disk is full"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logllm: Run) -> Run:
    """Calls `logllm datasets ...`."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)  # where the folder `data` is nobody's
    return partial(logllm, "datasets")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "own.log"
    path.write_text(f"{LINE}\n" * 199 + "  at Disk.java:7\n")
    return path


def test_datasets_alone_are_listed(run: Run, data_dir: Path) -> None:
    _, table, _ = run("--data-dir", data_dir)
    _, output, _ = run("--data-dir", data_dir, "--json")
    names = [dataset["name"] for dataset in json.loads(output)]
    assert names == sorted(names)
    assert {"bgl", "demo", "hdfs", "small-log"} <= set(names)
    assert all(name in table for name in names)


def test_a_title_is_listed_as_it_stands(run: Run, data_dir: Path) -> None:
    path = data_dir / "datasets" / "small-log.toml"
    path.write_text(path.read_text().replace("A small", "[red]\\u001b[2J A small"))
    _, table, _ = run("--data-dir", data_dir)
    assert "[red]\N{REPLACEMENT CHARACTER}[2J" in table


def test_a_broken_file_is_said_and_stops_its_own_data_set_alone(run: Run, data_dir: Path) -> None:
    folder = data_dir / "datasets"
    (folder / "broken.toml").write_text("title = ")
    (folder / "bgl.toml").write_text("title = 'Ours'")  # and is not passed over for the tracked one
    (folder / "folder.toml").mkdir()
    (folder / "Two Words.toml").write_text((folder / "small-log.toml").read_text())
    table = run("--data-dir", data_dir)
    check_error(
        table, "broken.toml is not a TOML file", "bgl.toml has", "folder.toml: it is no file"
    )
    assert "Two Words.toml has 1 fault" in table[2]
    assert "small-log" in table[1]
    listed = run("--data-dir", data_dir, "--json")
    check_error(listed, "broken.toml is not a TOML file")
    names = [dataset["name"] for dataset in json.loads(listed[1])]
    assert {"demo", "hdfs", "small-log"} <= set(names)
    assert not {"bgl", "broken", "folder", "Two Words"} & set(names)


@pytest.mark.slow
def test_titles_are_listed_in_a_terminal_without_unicode(data_dir: Path) -> None:
    path = data_dir / "datasets" / "small-log.toml"
    path.write_text(path.read_text().replace("A small", "Caf\xe9"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "datasets", "--data-dir", str(data_dir)],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Caf\\xe9" in done.stdout


@pytest.mark.parametrize(
    ("folder", "words"),
    [("a\\b", "a question mark or a backslash"), (os.fsdecode(b"caf\xe9"), "not UTF-8")],
)
def test_a_data_folder_that_duckdb_cannot_name_is_one_error(
    run: Run, logllm: Run, log: Path, tmp_path: Path, folder: str, words: str
) -> None:
    where = ("--data-dir", tmp_path / folder)
    check_error(run(*where), words)
    check_error(run("new", "own", "--from", log, *where), words)
    check_error(logllm("prepare", "demo", *where), words)
    assert not (tmp_path / folder).exists()


def test_help_tells_how_to_begin(run: Run) -> None:
    status, output, _ = run("--help")
    assert status == 0
    assert "new" in output
    status, output, _ = run("new", "--help")
    assert status == 0
    for word in ("--from", "--like", "--data-dir", "--json", "DATA_DIR/datasets/NAME.toml"):
        assert word in output
    assert "logllm prepare shop" in output


def test_a_new_data_set_is_written_and_listed(run: Run, log: Path, tmp_path: Path) -> None:
    status, output, _ = run("new", "own", "--from", log, "--data-dir", tmp_path)
    assert status == 0
    path = tmp_path / "datasets" / "own.toml"
    assert find_dataset("own", [path.parent]).line.time_format == "iso"
    assert "2024-05-01 12:00:00" in output
    assert "disk is full" in output
    first = "the first that does not, line 199: '  at Disk.java:7'."
    assert f"199 of 200 lines match; {first}" in output
    assert "not trained on" in output
    assert f"Written: {path}" in output
    assert f"logllm prepare own --data-dir {tmp_path}\n" in output
    _, table, _ = run("--data-dir", tmp_path)
    assert "own: time (ISO 8601) and level" in table


def test_json_tells_what_a_program_needs(run: Run, log: Path, tmp_path: Path) -> None:
    _, output, _ = run("new", "own", "--from", log, "--data-dir", tmp_path, "--json")
    found = json.loads(output)
    assert found["path"] == str(tmp_path / "datasets" / "own.toml")
    assert (found["num_lines"], found["num_unparsed"]) == (200, 1)
    assert found["rejects"] == [{"line_number": 199, "line": "  at Disk.java:7"}]
    first: dict[str, object] = {"time": "2024-05-01 12:00:00", "alert": None, "session_ids": []}
    assert found["lines"] == [{**first, "content": "disk is full"}] * 5


def test_options_before_the_word_new_hold_for_it(run: Run, log: Path, tmp_path: Path) -> None:
    status, output, _ = run("--data-dir", tmp_path, "--json", "new", "own", "--from", log)
    assert status == 0
    assert json.loads(output)["path"] == str(tmp_path / "datasets" / "own.toml")


def test_a_data_set_like_another_shows_alerts_and_sessions(
    run: Run, log: Path, tmp_path: Path
) -> None:
    log.write_text("081109 203530 147 INFO dfs.Node: Receiving block blk_43\n")
    options = ("--from", log, "--data-dir", tmp_path)
    _, output, _ = run("new", "blocks", *options, "--like", "hdfs")
    assert "blk_43" in output.splitlines()[3]
    log.write_text("KERNDTLB 1117838570 a b c d e f g TLB error\n")
    _, output, _ = run("new", "kernel", *options, "--like", "bgl")
    assert "KERNDTLB" in output
    assert "1 of the lines are alerts" in output


def test_log_text_is_shown_as_it_is(run: Run, log: Path, tmp_path: Path) -> None:
    hostile = "[red]x[/nonsense] \x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}"
    log.write_text(f"{LINE} {hostile}\n" * 2 + f"{hostile}\n")
    folder = tmp_path / "[b]\x1b[2J"
    folder.mkdir()
    log = log.rename(folder / log.name)
    status, output, _ = run("new", "own", "--from", log, "--data-dir", folder)
    assert status == 0
    assert "disk is full [red]x[/nonsense] \N{REPLACEMENT CHARACTER}[2J" in output
    assert "line 2: '[red]x[/nonsense] \\x1b[2J" in output
    assert "/[b]\N{REPLACEMENT CHARACTER}[2J/own.log" in output
    assert "/[b]\N{REPLACEMENT CHARACTER}[2J/datasets/own.toml" in output
    assert "\x1b" not in output


def test_lines_are_cut_to_the_width_of_the_terminal(run: Run, log: Path, tmp_path: Path) -> None:
    log.write_text(f"{LINE} {'x' * 500}\n" * 3)
    _, output, _ = run("new", "own", "--from", log, "--data-dir", tmp_path)
    shown = [line for line in output.splitlines() if "disk is full" in line]
    assert len(shown) == 3
    assert all("2024-05-01 12:00:00" in line and len(line) <= 80 for line in shown)


def test_a_draft_that_would_be_refused_says_so(run: Run, log: Path, tmp_path: Path) -> None:
    log.write_text(f"{LINE}\n" * 3 + "  at Disk.java:7\n")
    _, output, _ = run("new", "own", "--from", log, "--data-dir", tmp_path)
    assert "More than 1.00% do not match: mend the format there, or raise the limit." in output


def test_mistakes_are_one_error_and_leave_nothing(run: Run, log: Path, tmp_path: Path) -> None:
    options = ("--data-dir", tmp_path)
    given = (*options, "--from", log)
    check_error(run("new", "own", *options, "--from", "no.log"), "There is no file", "no.log")
    check_error(run("new", "own", *given, "--like", "typo"), 'There is no data set "typo"')
    check_error(run("new", "own", *given, "--like", "bgl"), "is like those of bgl")
    check_error(run("new", "Own", *given), "lower-case letters", "found 'Own'")
    check_error(run("new", "bgl", *given), "There is a data set bgl already", "bgl.toml")
    assert not (tmp_path / "datasets").exists()
    run("new", "own", *given)
    check_error(run("new", "own", *given), "There is a data set own already")
