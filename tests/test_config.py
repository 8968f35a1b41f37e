import os
import time
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from logllm_core.config import Settings
from logllm_core.errors import LogLLMError


class Inner(Settings):
    depth: int = Field(ge=1)


class Outer(Settings):
    title: str
    rate: float = 0.1
    inner: Inner = Inner(depth=1)


def test_good_values_are_taken_and_the_rest_is_filled_in() -> None:
    found = Outer.parse({"title": "t", "inner": {"depth": 2}}, origin="here")
    assert found == Outer(title="t", rate=0.1, inner=Inner(depth=2))


def test_every_fault_has_its_line_with_place_wish_and_find() -> None:
    with pytest.raises(LogLLMError) as fault:
        Outer.parse({"rate": "fast", "inner": {"depth": 0, "width": 3}}, origin="own.toml")
    assert str(fault.value).splitlines() == [
        "own.toml has 4 faults:",
        "  title: missing",
        "  rate: Input should be a valid number, unable to parse string as a number, found 'fast'",
        "  inner.depth: Input should be greater than or equal to 1, found 0",
        "  inner.width: no such setting; remove it or correct its spelling",
    ]


def test_a_single_fault_is_told_in_the_singular() -> None:
    with pytest.raises(LogLLMError, match=r"^here has 1 fault:\n  title: missing$"):
        Outer.parse({}, origin="here")


def test_what_is_no_table_at_all_is_a_fault_of_the_whole() -> None:
    with pytest.raises(LogLLMError, match=r"\(the whole\): "):
        Outer.parse([1, 2], origin="here")


def test_a_long_value_is_cut_in_the_error() -> None:
    with pytest.raises(LogLLMError) as fault:
        Outer.parse({"title": "t", "rate": "x" * 10_000}, origin="here")
    assert len(str(fault.value)) < 300


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Outer(title="t").title = "u"


def test_a_toml_file_is_read_together_with_more_values(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("rate = 0.5 # caf\xe9\n[inner]\ndepth = 3\n", encoding="utf-8")
    assert Outer.load(path, title="own") == Outer(title="own", rate=0.5, inner=Inner(depth=3))


def test_faults_of_a_toml_file_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("titel = 't'\n")
    with pytest.raises(LogLLMError) as fault:
        Outer.load(path)
    assert str(fault.value).splitlines()[0] == f"{path} has 2 faults:"


@pytest.mark.parametrize("content", [b"title = \n", b"\xff\xfe", b"[inner]\n[inner]\n"])
def test_a_file_that_is_not_toml_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.toml").write_bytes(content)
    with pytest.raises(LogLLMError, match=r"own.toml is not a TOML file: "):
        Outer.load(tmp_path / "own.toml")


def test_an_error_of_the_user_is_a_value_error() -> None:
    assert issubclass(LogLLMError, ValueError)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = " + b"[" * 20_000, "nests too deeply"),
        (b"a = " + b"{a = " * 20_000, "nests too deeply"),
        (b"a = " + b"9" * 5_000, "is not a TOML file: Exceeds the limit"),
        (b"a" + b".a" * 20_000 + b" = 1", r"Line 1 of .* has more than 64 dots"),
        (b"\n[a" + b".a" * 20_000 + b"]", r"Line 2 of .* has more than 64 dots"),
        (b"# " + b"x" * 200_000, "larger than 131,072 bytes"),
        (b'title = "\xff"', "is not a TOML file"),
        (b'title = "t"\nrate = nan', "rate: Input should be a finite number, found nan"),
        (b'title = "t"\nrate = inf', "rate: Input should be a finite number, found inf"),
        (b'title = "t"\ninner.depth = ' + b"9" * 20, "inner.depth: .* at most 64 bits"),
    ],
    ids=range(10),
)
def test_a_hostile_file_is_one_clear_error_and_takes_no_time(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    began = time.thread_time()
    with pytest.raises(LogLLMError, match=message):
        Outer.load(path)
    assert time.thread_time() - began < 1


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null/own.toml", "own\0.toml"])
def test_a_path_that_is_no_file_is_one_clear_error(path: str) -> None:
    with pytest.raises(LogLLMError, match=r"Cannot read|larger than"):
        Outer.load(Path(path))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "own.toml")
    with pytest.raises(LogLLMError, match=r"Cannot read .*own.toml: it is no file"):
        Outer.load(tmp_path / "own.toml")
