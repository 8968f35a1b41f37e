"""Verdicts of logs in which nothing is new."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logllm_core import tables
from logllm_core.daily.detect import told_verdicts
from logllm_core.daily.detect.told_verdicts import Retelling
from logllm_core.daily.ledger import cursors
from logllm_core.daily.ledger.ledger import Ledger, register
from logllm_core.daily.ledger.log_faults import Faults
from logllm_core.store.store import Store
from tests.daily.ledger.test_ledger import commit


class Logs:
    """Judged logs, and what is told of them."""

    def __init__(self, folder: Path) -> None:
        self._dir = cursors.new_dir(Store(data_dir=folder), "own")
        self._dir.mkdir(parents=True)
        self.faults = Faults()
        self.told: list[list[int]] = []  # the windows' numbers, table by table
        self.retelling = Retelling(self._tell, self.faults)

    def _tell(self, table: pa.Table) -> None:
        assert table.schema.equals(tables.NEW_PREDICTIONS)
        self.told.append(table["window_id"].to_pylist())

    def judged(self, *nums_windows: int) -> Ledger:
        """A log whose windows were written down so many at a time."""
        ledger = Ledger(register(self._dir, "app.log", {"offset": 0}))
        for num_windows in nums_windows:
            commit(ledger, num_windows)
        return ledger

    def tell(self, *ledgers: Ledger) -> list[list[int]]:
        for number, ledger in enumerate(ledgers):
            self.retelling.add(f"{number}.log", ledger.folder, ledger.cursor)
        self.retelling.flush()
        return self.told


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def test_logs_are_told_together_in_their_order(logs: Logs) -> None:
    assert logs.tell(logs.judged(2, 1), logs.judged(), logs.judged(1)) == [[0, 1, 2, 0]]
    assert len(logs.faults) == 0


def test_one_log_is_told_table_by_table(logs: Logs) -> None:
    assert logs.tell(logs.judged(2, 1)) == [[0, 1], [2]]


def test_no_more_logs_and_windows_are_read_at_once_than_fit(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told_verdicts, "NUM_LOGS", 2)
    monkeypatch.setattr(told_verdicts, "NUM_WINDOWS", 4)
    ledgers = [logs.judged(number) for number in (1, 1, 1, 3, 5, 2)]
    # Two logs; of the next two, four windows; one that has more by itself; what is left.
    assert logs.tell(*ledgers) == [[0, 0], [0, 0, 1, 2], [0, 1, 2, 3, 4], [0, 1]]


def test_a_damaged_table_costs_no_other_log(logs: Logs) -> None:
    ledgers = [logs.judged(number) for number in (1, 2, 3)]
    (part,) = ledgers[1].cursor.parts
    path = ledgers[1].folder / part.name
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    assert logs.tell(*ledgers) == [[0], [0, 1, 2]]
    assert "1.log" in logs.faults
    assert f"{path} is damaged" in str(logs.faults)


def test_tables_of_before_are_told_with_the_column_that_they_lack(logs: Logs) -> None:
    ledgers = [logs.judged(1), logs.judged(1)]
    (part,) = ledgers[0].cursor.parts
    path = ledgers[0].folder / part.name
    table = tables.read(path, tables.NEW_PREDICTIONS).drop_columns(["num_cut_lines"])
    pq.write_table(table, path)
    before = cursors.Part(name=part.name, num_windows=1)  # nor had it a checksum
    ledgers[0].cursor = replace(ledgers[0].cursor, parts=(before,))
    assert logs.tell(*ledgers) == [[0], [0]]
