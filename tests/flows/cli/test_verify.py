import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from flows.cli.main import app
from logllm_core.store.store import Store
from tests.daily.sample_champions import model

RUNNER = CliRunner()


def ask(folder: Path, *options: str) -> tuple[int, str]:
    done = RUNNER.invoke(app, ["verify", "--data-dir", str(folder), *options])
    return done.exit_code, done.output


def test_a_whole_folder_is_told_and_a_damaged_one_ends_in_status_1(tmp_path: Path) -> None:
    trained = model(Store(data_dir=tmp_path), 1)
    assert ask(tmp_path) == (0, "1 artifacts and 0 records were read: all as they were written.\n")
    (trained.path / "weights").write_text("2")
    status, output = ask(tmp_path)
    assert status == 1
    assert output.startswith(f"damaged  {trained.path}\n")
    assert "weights is missing or not as it was written" in output
    assert output.endswith("1 artifacts and 0 records were read: 1 damaged.\n")


def test_repair_says_where_the_damaged_one_is_now(tmp_path: Path) -> None:
    trained = model(Store(data_dir=tmp_path), 1)
    (trained.path / "weights").write_text("2")
    status, output = ask(tmp_path, "--repair", "--json")
    (damage,) = json.loads(output)["damages"]
    assert status == 0
    aside = Path(damage["set_aside"])
    assert (aside / "weights").read_text() == "2"
    assert not trained.path.exists()
    assert ask(tmp_path)[0] == 0


def test_the_help_says_what_it_is_for() -> None:
    found: Any = RUNNER.invoke(app, ["verify", "--help"])
    assert "Read every file of the data folder again" in found.output
