from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm_core.errors import LogLLMError
from logllm_core.store.sealed_json import read_record, seal, unseal

VALUES = {"question": "Is this sequence normal?", "num": 3, "share": 0.1, "none": None}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text().filter(lambda name: name != "checksum"), JSON))
def test_what_was_sealed_comes_out(values: dict[str, object]) -> None:
    assert unseal(seal(values)) == values


def test_every_flipped_bit_is_refused_or_changes_nothing() -> None:
    content = seal(VALUES)
    num_refused = 0
    for place in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[place] ^= 1 << bit
            try:
                assert unseal(bytes(flipped)) == VALUES  # between two values: a tab for a space
            except ValueError:
                num_refused += 1
    assert num_refused > 7 * len(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not JSON"),
        (b"null", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b'{"num": 3}', "its checksum is missing"),
        (b'{"num": 3, "checksum": null}', "its checksum is missing"),
        (b'{"a":' * 100_000, "nests too deeply"),
        (b"\xff", "it is not JSON"),
    ],
)
def test_a_damaged_record_is_one_clear_error(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "cursor.json"
    path.write_bytes(content)
    with pytest.raises(LogLLMError, match=reason) as caught:
        read_record(path, advice="Delete it.")
    assert str(caught.value).startswith(f"{path} is damaged: ")
    assert str(caught.value).endswith(". Delete it.")


def test_a_record_that_is_not_there_is_no_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path / "cursor.json", advice="")


def test_a_folder_in_a_record_s_place_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LogLLMError, match="is damaged: Is a directory"):
        read_record(tmp_path, advice="")
