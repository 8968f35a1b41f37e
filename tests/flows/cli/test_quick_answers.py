"""Help, and what a person has to correct, come before what takes seconds to import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.conftest import write_small_log

pytestmark = pytest.mark.slow

SLOW = ("torch", "transformers", "prefect", "bitsandbytes", "peft", "sklearn", "matplotlib")
PROGRAM = f"""
import atexit, os, sys
def tell():
    os.write(1, ("IMPORTED " + " ".join(n for n in {SLOW!r} if n in sys.modules)).encode())
atexit.register(tell)
from flows.cli.main import main
main()
"""
COMMANDS = (
    *("prepare", "train", "evaluate", "retrain", "compare-detectors", "ablate", "detect"),
    *("verify", "runs", "compare", "simulate", "query", "datasets", "models"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a labelled log, and the same log as `bare`, unlabelled."""
    folder = tmp_path_factory.mktemp("quick") / "data"
    write_small_log(folder)
    labelled = (folder / "datasets" / "small-log.toml").read_text()
    bare = labelled.replace('[labels]\nkind = "field"\n', "")
    (folder / "datasets" / "bare.toml").write_text(bare)
    return folder


def asked(folder: Path, *arguments: str, **more: str) -> tuple[int, str, list[str]]:
    """Exit status, standard error, and what slow things were imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=os.environ | {"DATA_DIR": str(folder)} | more,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr, done.stdout.rpartition("IMPORTED")[2].split()


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_imports_nothing_slow(folder: Path, command: str | None) -> None:
    """Nor does it need a home, which Prefect makes when it is imported."""
    words = ("--help",) if command is None else (command, "--help")
    assert asked(folder, *words, HOME="/proc/none") == (0, "", [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "bare"), "can be scored by a model, not trained on"),
        (("evaluate", "bare"), "can be scored by a model, not trained on"),
        (("compare-detectors", "bare"), "can be scored by a model, not trained on"),
        (("ablate", "bare"), "can be scored by a model, not trained on"),
        (("prepare", "typo"), 'There is no data set "typo"'),
        (("train", "typo"), 'There is no data set "typo"'),
        (("retrain", "typo"), 'There is no data set "typo"'),
        (("detect", "x.log", "--model", "typo"), 'There is no data set "typo"'),
        (("detect", "gone.log", "--model", "small-log"), "There is no file gone.log"),
        (("train", "small-log", "--keep", "worst"), "keep: "),
        (("train", "small-log", "--recipe", "typo"), 'no recipe "typo"'),
        (("train", "small-log", "--backbones", "typo"), '"typo"'),
        (("train", "small-log", "--set", "beta=2"), "beta: "),
        (("train", "small-log", "--keep", "best", "--seeds", "2", "--recipe", "paper"), "--keep"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else "",
)
def test_a_refusal_imports_nothing_slow(
    folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    status, fault, imported = asked(folder, *arguments, "--data-dir", str(folder))
    assert (status, imported) == (1, [])
    assert fault.startswith("error: ")
    assert words in fault
    assert not (folder / "raw").exists()
    assert not (folder / ".prefect-runs").exists()


def test_a_log_that_is_prepared_is_found_without_prefect(folder: Path) -> None:
    from logllm_core.pipeline import Pipeline
    from tests.flows.conftest import settings_of

    settings = settings_of(folder, "small").model_copy(update={"recipe": "quick"})
    dataset, recipe = settings.find_dataset("small-log"), settings.find_recipe()
    prepared = Pipeline(store=settings.store).prepare(dataset, recipe)
    before = prepared.windows.path / "manifest.json"
    status, said, imported = asked(folder, "prepare", "small-log", "--data-dir", str(folder))
    assert (status, imported) == (0, [])
    assert "small-log: all of it is there already" in said
    assert before.exists()
