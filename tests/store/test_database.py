from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logllm_core.query.views import query, refresh_views
from logllm_core.store.database import as_it_stands, bounded_connection
from logllm_core.store.store import Store
from tests.logs.samples import labelled_by_line, windows_of

SIGNS = ["a*b", "a?b", "a[xy]b", "a[*]b", "[", "**", "{a,b}", "it's"]


@pytest.mark.parametrize("name", SIGNS)
def test_a_folders_name_is_no_pattern(name: str, tmp_path: Path) -> None:
    for folder in (name, "axb", "aXXb"):  # the others are what a pattern would find besides
        (tmp_path / folder).mkdir()
        pq.write_table(pa.table({"x": [folder]}), tmp_path / folder / "part.parquet")
    with bounded_connection() as connection:
        rows = connection.read_parquet(as_it_stands(tmp_path / name / "part.parquet")).fetchall()
    assert rows == [(name,)]


def test_a_data_folder_with_the_signs_of_a_pattern_reads_its_own_tables_alone(
    tmp_path: Path,
) -> None:
    for folder in ("a*b", "axb"):
        path = tmp_path / f"{folder}.log"
        path.write_text("".join(f"- {n} {folder} {n}\n" for n in range(20)))
        store = Store(data_dir=tmp_path / folder)
        windows_of(store, labelled_by_line(path))
    store = Store(data_dir=tmp_path / "a*b")
    refresh_views(store)
    assert query(store, "select count(*) from own.messages")[1] == [(20,)]
    assert query(store, "select sum(len(line_numbers)) from own.windows")[1] == [(20,)]
