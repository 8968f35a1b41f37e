"""What an option takes, whichever command has it."""

from pathlib import Path

import pytest

from flows.cli.flow_commands import COMMANDS as COMMANDS_OF_FLOWS
from flows.cli.settings_options import options_of, settings_of
from flows.data_settings import DataSettings
from flows.settings import CompareSettings, DetectSettings, RetrainSettings, TrainSettings
from logllm_core.config import Settings
from logllm_core.errors import LogLLMError
from tests.flows.conftest import Run, check_error

COMMANDS = [
    *(("prepare", "demo"), ("train", "demo"), ("retrain", "demo"), ("compare-detectors", "demo")),
    *(("datasets",), ("runs",), ("models",), ("query", "select 1")),
    ("detect", "x.log", "--model", "demo"),
    ("datasets", "new", "x", "--from", "x.log"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_data_folder_that_is_a_file_is_one_error_of_every_command(
    logllm: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("")
    result = logllm(*command, "--data-dir", tmp_path / "file")
    check_error(result, "The data folder cannot be", "it is no folder", "--data-dir")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("file/below", "Not a directory"),
        ("loop", "Too many levels of symbolic links"),
        ("dangling", "it is a link to nothing"),
        ("/dev/full", "it is no folder"),
        ("not-utf8-\udcff", "its name is not UTF-8"),
        ("x" * 300, "File name too long"),
        ("nul\0", "embedded null byte"),
        ("what?", "DuckDB opens no database below a name with a question mark"),
        ("back\\slash", "DuckDB opens no database below a name with .* a backslash"),
        ("s3://bucket/logs", "a folder of this machine is wanted; share an address with --remote"),
    ],
)
def test_what_can_be_no_data_folder_is_refused(tmp_path: Path, name: str, fault: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    folder = name if "://" in name else tmp_path / name
    with pytest.raises(LogLLMError, match=fault):
        DataSettings.parse({"data_dir": folder}, origin="The command line")


@pytest.mark.parametrize(
    "arguments",
    [
        *(("prepare", "demo-\udcff"), ("train", "demo", "--backbones", "a,b-\udcff")),
        *(
            ("train", "demo", "--set", "question=\udcff"),
            ("prepare", "bgl", "--mirror", "m-\udcff"),
        ),
        *(("runs", "\udcff"), ("query", "select '\udcff'"), ("models", "promote", "\udcff")),
    ],
    ids=range(7),
)
def test_an_argument_that_is_not_utf_8_is_one_error(
    logllm: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    check_error(logllm(*arguments, "--data-dir", tmp_path), "is not UTF-8. Rename what it names.")


@pytest.mark.parametrize("name", ["not there yet", "a*[b]c", "äöü"])
def test_a_folder_of_a_strange_name_may_be_a_data_folder(
    logllm: Run, tmp_path: Path, name: str
) -> None:
    status, _, fault = logllm("runs", "--data-dir", tmp_path / name)
    assert (status, fault) == (0, "")


def flags_of(kind: type[Settings]) -> list[str]:
    return [option.annotation.__metadata__[0].default for option in options_of(kind)]


def test_a_command_has_an_option_a_field_its_own_fields_first() -> None:
    assert flags_of(RetrainSettings) == [
        *("--start", "--set", "--keep", "--checkpoint-minutes", "--processes"),
        *("--mirror", "--runner", "--shards", "--data-dir", "--remote"),
    ]


def test_what_no_terminal_can_say_or_leaves_no_choice_is_no_option() -> None:
    """Limits of drift are settings of their own, and a comparison always keeps the first seed."""
    assert flags_of(DetectSettings) == ["--data-dir", "--remote"]
    assert "--keep" in flags_of(TrainSettings)
    assert "--keep" not in flags_of(CompareSettings)


def test_options_make_settings() -> None:
    given = {"only": ["cnn"], "overrides": ["beta=0.2"], "seed": 4, "mirror": None}
    assert settings_of(CompareSettings, given) == CompareSettings(
        only=("cnn",), overrides={"beta": 0.2}, seed=4
    )
    assert settings_of(CompareSettings, {"only": None, "overrides": None}) == CompareSettings()


@pytest.mark.parametrize("command", COMMANDS_OF_FLOWS)
def test_every_option_of_a_flow_is_explained(command: str) -> None:
    settings = COMMANDS_OF_FLOWS[command].settings
    assert all(option.annotation.__metadata__[0].help for option in options_of(settings))
