"""The command line as a user meets it: output, exit status, one clear error."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from tests.flows.conftest import Run, check_error
from tests.flows.served import ended_after, wait_until

COLUMNS = [
    *("label", "epoch", "date", "node", "full_time", "node_repeated", "type", "component"),
    *("level", "content"),
]


@pytest.fixture
def run(without_prefect: None, monkeypatch: pytest.MonkeyPatch, logllm: Run) -> Run:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("LOGLLM_MIRROR", raising=False)
    return logllm


def dataset_toml(folder: Path, name: str, source: str, rest: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.toml").write_text(
        f"""
title = "a test"
{rest}
[source]
{source}
[line]
fields = {json.dumps(COLUMNS)}
[labels]
kind = "field"
[windows]
kind = "count"
length = 10
"""
    )


def bgl_line(number: int, label: str = "-") -> str:
    return f"{label} {number} 2005.06.03 R02 2005-06-03-15.42.50.6 R02 RAS KERNEL INFO up {number}"


def test_help_teaches_every_command(run: Run) -> None:
    status, output, _ = run("--help")
    assert status == 0
    for command in (
        *("datasets", "prepare", "train", "evaluate", "runs", "compare", "simulate", "query"),
    ):
        assert command in output
        status, its_help, _ = run(command, "--help")
        assert status == 0
        assert "--data-dir" in its_help
        assert "--json" in its_help


def test_datasets_are_listed(run: Run, data_dir: Path) -> None:
    _, table, _ = run("datasets", "--data-dir", data_dir)
    _, output, _ = run("datasets", "--data-dir", data_dir, "--json")
    names = [dataset["name"] for dataset in json.loads(output)]
    assert names == ["bgl", "demo", "hdfs", "liberty", "small-log", "spirit", "thunderbird"]
    assert all(name in table for name in names)


def test_simulate_writes_the_same_log_for_the_same_seed(run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        arguments = ("simulate", tmp_path / name, "--num-lines", 1_000, "--seed", 5, "--json")
        status, output, _ = run(*arguments)
        assert status == 0
        assert json.loads(output)["num_lines"] == 1_000
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    status, _, fault = run("simulate", tmp_path / "one")
    assert status == 1
    assert "exists already" in fault


def test_prepare_then_query(run: Run, data_dir: Path) -> None:
    status, output, _ = run("prepare", "small-log", "--data-dir", data_dir, "--json")
    assert status == 0
    splits = json.loads(output)["splits"]
    status, output, _ = run(
        "query",
        "select split, count(*) n, sum(is_anomalous::int) a"
        ' from "small-log".windows group by split',
        *("--data-dir", data_dir, "--json"),
    )
    assert status == 0
    found = {row["split"]: (row["n"], row["a"]) for row in json.loads(output)}
    assert found == {k: (v["num_windows"], v["num_anomalous"]) for k, v in splits.items()}


def test_train_prints_the_figures_and_the_reports_path(
    run: Run, trained_dir: Path, tiny_backbones: str
) -> None:
    arguments = ("small-log", "--data-dir", trained_dir, "--recipe", trained_dir / "tiny.toml")
    status, output, log = run("train", *arguments, "--backbones", tiny_backbones)
    assert status == 0
    for word in ("precision", "recall", "F1", "PR-AUC", "LogLLM", "logistic regression"):
        assert word in output
    page = Path(output.split("Report: ")[1].strip())
    assert page.is_file()
    assert "models of small-log: reused" in log
    assert "Traceback" not in log
    status, output, _ = run("evaluate", *arguments, "--backbones", tiny_backbones, "--json")
    assert status == 0
    found = json.loads(output)
    assert found["report"] == str(page)
    assert found["figures"]["at_decision"]["f1"] is not None
    assert found["seeds"] is None
    assert found["learned"]["last_loss"] > 0


def test_the_best_seed_without_a_validation_split_is_one_error(run: Run, data_dir: Path) -> None:
    given = ("small-log", "--data-dir", data_dir, "--recipe", "paper", "--seeds", 2)
    result = run("train", *given, "--keep", "best")
    check_error(result, "The recipe paper has no validation split", "--keep first")
    assert not (data_dir / "raw").exists()
    check_error(run("train", *given, "--keep", "worst"), "keep: ", "worst")


def test_log_text_in_a_table_is_shown_as_it_is(run: Run, data_dir: Path) -> None:
    run("prepare", "small-log", "--data-dir", data_dir)
    _, output, _ = run(
        "query", "select '[red]x[/red]' a, chr(27) || '[2J' b", "--data-dir", data_dir
    )
    assert "[red]x[/red]" in output
    assert "\x1b" not in output


def test_column_names_are_shown_as_they_are(run: Run, data_dir: Path) -> None:
    run("prepare", "small-log", "--data-dir", data_dir)
    status, output, _ = run("query", "select '[/b]'", "--data-dir", data_dir)
    assert status == 0
    assert "[/b]" in output


def test_an_unknown_data_set_is_one_error(run: Run, data_dir: Path) -> None:
    result = run("prepare", "hfds", "--data-dir", data_dir)
    check_error(result, 'There is no data set "hfds". Known: bgl, demo, hdfs')


def test_an_unknown_key_in_a_settings_file_is_one_error(run: Run, data_dir: Path) -> None:
    dataset_toml(data_dir / "datasets", "odd", 'kind = "file"\npath = "x"\ncolour = 1')
    result = run("prepare", "odd", "--data-dir", data_dir)
    check_error(result, "odd.toml has 1 fault", "colour: no such setting")


def test_a_missing_log_file_is_one_error(run: Run, data_dir: Path) -> None:
    dataset_toml(data_dir / "datasets", "mine", 'kind = "file"\npath = "no.log"')
    check_error(run("prepare", "mine", "--data-dir", data_dir), "There is no file", "no.log")


def test_a_log_without_a_parsable_line_is_one_error(run: Run, data_dir: Path) -> None:
    (data_dir / "datasets" / "x.log").write_text("nothing\nto see\n")
    dataset_toml(data_dir / "datasets", "mine", 'kind = "file"\npath = "x.log"')
    result = run("prepare", "mine", "--data-dir", data_dir)
    check_error(result, "2 of 2 lines do not match the line format", "'nothing'")
    assert not list(data_dir.glob("messages/mine/[!.]*"))


def test_a_training_split_with_one_class_is_one_error(
    run: Run, data_dir: Path, tiny_backbones: str
) -> None:
    lines = [bgl_line(number) for number in range(200)]
    (data_dir / "datasets" / "x.log").write_text("\n".join(lines))
    dataset_toml(data_dir / "datasets", "mine", 'kind = "file"\npath = "x.log"')
    arguments = ("--data-dir", data_dir, "--recipe", data_dir / "tiny.toml")
    result = run("train", "mine", *arguments, "--backbones", tiny_backbones)
    check_error(result, "training split of 15 windows holds no anomalous ones")


def test_a_missing_archive_is_one_error(run: Run, data_dir: Path, tmp_path: Path) -> None:
    result = run("prepare", "bgl", "--data-dir", data_dir, "--mirror", tmp_path)
    check_error(result, "has no BGL.zip")


def test_a_cut_archive_is_one_error(run: Run, data_dir: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "BGL.zip", "w") as archive:
        archive.writestr("BGL.log", "\n".join(map(bgl_line, range(50))))
    content = (tmp_path / "BGL.zip").read_bytes()
    (tmp_path / "BGL.zip").write_bytes(content[: len(content) // 2])
    result = run("prepare", "bgl", "--data-dir", data_dir, "--mirror", tmp_path)
    check_error(result, "BGL.zip is damaged or cut off")
    assert not list(data_dir.glob("messages/bgl/*/manifest.json"))


def test_a_wrong_checksum_is_one_error(run: Run, data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "BGL.zip").write_bytes(b"PK")
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  BGL.zip\n")
    result = run("prepare", "bgl", "--data-dir", data_dir, "--mirror", tmp_path)
    check_error(result, "has the SHA-256", "says 000000")


def test_an_unknown_value_of_an_option_is_one_error(run: Run, data_dir: Path) -> None:
    result = run("train", "demo", "--data-dir", data_dir, "--quantization", "int8")
    check_error(result, "quantization", "'nf4' or 'none'", "found 'int8'")
    check_error(run("train", "demo", "--data-dir", data_dir, "--recipe", "x"), 'no recipe "x"')


def test_a_wrong_name_is_told_before_any_work(run: Run, data_dir: Path) -> None:
    for option in ("--recipe", "--backbones"):
        check_error(run("train", "small-log", "--data-dir", data_dir, option, "typo"), '"typo"')
    missing = data_dir / "missing.toml"
    check_error(run("train", "small-log", "--data-dir", data_dir, "--recipe", missing), "missing")
    assert not (data_dir / "raw").exists()


def test_a_simulated_log_that_cannot_be_written_is_one_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check_error(run("simulate", tmp_path / "file" / "x.log"), "Cannot write")


def test_a_query_that_duckdb_refuses_is_one_error(run: Run, data_dir: Path) -> None:
    check_error(run("query", "select 1", "--data-dir", data_dir), "Prepare a data set first")
    run("prepare", "small-log", "--data-dir", data_dir)
    check_error(run("query", "selekt", "--data-dir", data_dir), "DuckDB refuses the query")


@pytest.mark.slow
def test_the_program_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Without a Prefect server: a temporary one is started for the flow.

    Its database may quote the log, and nobody need have a home.
    """
    dataset_toml(tmp_path / "datasets", "mine", 'kind = "simulator"\nnum_lines = 1_000')
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment["HOME"] = "/proc/none"  # where not even root can write
    program = Path(sys.executable).with_name("logllm")
    command = [str(program), "prepare", "mine", "--data-dir", str(tmp_path), "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["splits"]["test"]["num_windows"] > 0
    lines = done.stderr.splitlines()
    assert [line[10:16] for line in lines] == ["mine: ", "mine: "], done.stderr
    home_dir = tmp_path / ".prefect-runs"
    assert stat.S_IMODE(home_dir.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home_dir.iterdir()}
    assert "prefect.db" in modes
    assert set(modes.values()) == {0o600}, modes


@pytest.mark.slow
def test_an_unreachable_server_is_one_error(tmp_path: Path) -> None:
    dataset_toml(tmp_path / "datasets", "mine", 'kind = "simulator"\nnum_lines = 1_000')
    environment = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    program = Path(sys.executable).with_name("logllm")
    command = [str(program), "prepare", "mine", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    check_error((done.returncode, done.stdout, done.stderr), "Failed to reach API")


@pytest.mark.slow
def test_an_interrupt_is_one_line_and_keeps_what_was_finished(
    data_dir: Path, tiny_backbones: str, tmp_path: Path
) -> None:
    recipe = (data_dir / "tiny.toml").read_text()
    short, long = (f"num_epochs = {num}\nlearning_rate = 1e-2" for num in (1, 5000))
    (data_dir / "long.toml").write_text(recipe.replace(short, long, 1))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment["PREFECT_HOME"] = str(tmp_path / "prefect")
    options = ["--data-dir", str(data_dir), "--recipe", str(data_dir / "long.toml")]
    program = str(Path(sys.executable).with_name("logllm"))

    def finished() -> list[Path]:
        return list(data_dir.glob("models/small-log/[!.]*/manifest.json"))

    running = subprocess.Popen(
        [program, "train", "small-log", *options, "--backbones", tiny_backbones],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with ended_after(running):
        assert running.stderr is not None
        seen = ""
        for line in running.stderr:
            seen += line
            if "stage 1:" in line:  # stage 2 is long
                wait_until(lambda: len(finished()) == 1)
                time.sleep(0.5)  # into it
                os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        assert running.wait(timeout=60) == 130, seen
    assert seen.splitlines()[-1].startswith("Interrupted. What was finished is kept"), seen
    assert "Traceback" not in seen
    assert len(finished()) == 1
    assert not list(data_dir.glob("models/small-log/.*.building"))


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_log_without_labels_is_prepared_and_no_more(
    run: Run, data_dir: Path, command: str
) -> None:
    own = data_dir / "datasets" / "unlabelled.toml"
    labelled = (data_dir / "datasets" / "small-log.toml").read_text()
    own.write_text(labelled.replace('[labels]\nkind = "field"\n', ""))
    status, output, _ = run("prepare", "unlabelled", "--data-dir", data_dir)
    assert status == 0
    assert "not labelled" in output
    found = run(command, "unlabelled", "--data-dir", data_dir)
    check_error(found, "can be scored by a model, not trained on")
