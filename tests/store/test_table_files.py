"""Tables in files that a longer table begins with, too."""

from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm_core.store.table_files import TableFiles

SCHEMA = pa.schema([pa.field("line_number", pa.int64(), nullable=False)])


def rows(start: int, stop: int) -> pa.Table:
    return pa.table({"line_number": range(start, stop)}, schema=SCHEMA)


def written(
    folder: Path,
    num_rows: int,
    *,
    num_at_once: int,
    stem: str = "part",
    num_in_group: int | None = None,
) -> list[Path]:
    """Files of so many rows that came so many at once, the last ones fewer."""
    with TableFiles(folder, SCHEMA, num_first=4, stem=stem, num_in_group=num_in_group) as table:
        for start in range(0, num_rows, num_at_once):
            table.write(rows(start, min(start + num_at_once, num_rows)))
    return sorted(folder.glob(f"{stem}-*"))


def numbers(path: Path) -> list[int]:
    read_numbers: list[int] = pq.read_table(path)["line_number"].to_pylist()
    return read_numbers


def test_a_file_holds_an_eighth_of_the_rows_before_it(tmp_path: Path) -> None:
    # The tenth begins after 36 rows, the eleventh after 40: an eighth is 4 and 5.
    read_numbers = [numbers(path) for path in written(tmp_path, 57, num_at_once=7)]
    assert [len(part) for part in read_numbers] == [4] * 10 + [5, 5, 6, 1]
    assert list(chain(*read_numbers)) == list(range(57))


def test_no_rows_are_one_empty_file(tmp_path: Path) -> None:
    (path,) = written(tmp_path, 0, num_at_once=1, stem="first")
    assert (path.name, numbers(path)) == ("first-0000.parquet", [])


def test_what_is_full_is_closed_and_no_empty_file_follows(tmp_path: Path) -> None:
    assert [len(numbers(path)) for path in written(tmp_path, 8, num_at_once=8)] == [4, 4]


@settings(deadline=None, max_examples=40)
@given(
    num_before=st.integers(0, 200),
    num_more=st.integers(0, 100),
    num_at_once=st.integers(1, 50),
    num_at_once_then=st.integers(1, 50),
    num_in_group=st.integers(1, 20),
)
def test_of_a_table_that_has_grown_all_files_but_the_last_are_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    num_before: int,
    num_more: int,
    num_at_once: int,
    num_at_once_then: int,
    num_in_group: int,
) -> None:
    folders = [tmp_path_factory.mktemp(name) for name in ("before", "after")]
    total = num_before + num_more
    before = written(folders[0], num_before, num_at_once=num_at_once, num_in_group=num_in_group)
    after = written(folders[1], total, num_at_once=num_at_once_then, num_in_group=num_in_group)
    contents = [path.read_bytes() for path in after]
    assert contents[: len(before) - 1] == [path.read_bytes() for path in before[:-1]]
    assert list(chain(*map(numbers, after))) == list(range(total))
