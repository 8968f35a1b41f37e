"""A short run of each fuzzer, and whether they would tell of a fault."""

from random import Random

import pyarrow as pa
import pytest

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import find_dataset
from logllm_core.store import sealed_json
from tests.fuzzing import __main__, parser, settings_files


@pytest.mark.parametrize(
    ("name", "num_inputs"),
    [("parser", 1_280), ("settings files", 800), ("streams", 60), ("records", 600)],
)
def test_hostile_inputs_find_no_fault(name: str, num_inputs: int) -> None:
    assert __main__.run(name, num_inputs=num_inputs).total() == num_inputs


def test_the_same_draw_makes_the_same_inputs() -> None:
    assert parser.fuzz(Random("1/parser/7")) == parser.fuzz(Random("1/parser/7"))
    again = [settings_files.content(Random(f"1/{n}"), settings_files.OWN) for n in (5, 5)]
    assert again[0] == again[1]


def test_a_parser_that_masks_otherwise_is_told_with_the_draw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def leaves_nine(contents: pa.StringArray) -> pa.StringArray:
        return pa.array([text.replace("<*>", "9") for text in contents.to_pylist()], pa.string())

    monkeypatch.setattr(parser, "mask_messages", leaves_nine)
    with pytest.raises(RuntimeError, match=r"--only 'parser' --seed 3 --first \d+ --inputs 1"):
        __main__.run("parser", num_inputs=500, seed=3)


def test_a_reader_that_raises_anything_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises_otherwise(name: str, folders: list[object]) -> object:
        try:
            return find_dataset(name, [])
        except LogLLMError as fault:
            raise KeyError(str(fault)) from None

    monkeypatch.setattr(settings_files, "find_dataset", raises_otherwise)
    with pytest.raises(RuntimeError, match="--only 'settings files'"):
        __main__.run("settings files", num_inputs=100)


def test_a_record_that_is_believed_without_its_checksum_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    __main__.run("records", num_inputs=1)  # writes them
    monkeypatch.setattr(sealed_json, "_checksum", lambda values: values and None)
    monkeypatch.setattr(sealed_json, "CHECKSUM", "none")
    with pytest.raises(RuntimeError, match="--only 'records'"):
        __main__.run("records", num_inputs=500)


def test_an_input_that_takes_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(__main__, "MAX_SECONDS", 0.0)
    with pytest.raises(RuntimeError):
        __main__.run("streams", num_inputs=1)
