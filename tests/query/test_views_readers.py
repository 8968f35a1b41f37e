"""A reader in another process, while the views are replaced under it."""

import subprocess
import sys
from pathlib import Path

import pytest

from logllm_core.logs.windows.window_artifact import build_windows
from logllm_core.query import views
from logllm_core.store.store import Store
from tests.logs.samples import labelled_by_line, messages_of

READER = """
import sys, duckdb
path, = sys.argv[1:]
answers = set()
print("ready", flush=True)
num_reads = 0
while not answers >= {5, 10} or num_reads < 50:
    with duckdb.connect(path, read_only=True) as connection:
        (row,) = connection.execute(
            "select count(*), sum(len(message_ids)), count(distinct message_id)"
            " from own.windows, (select message_id from own.messages limit 1)"
        ).fetchall()
    assert row in {(5, 20, 1), (10, 20, 1)}, row
    answers.add(row[0])
    num_reads += 1
print(num_reads, flush=True)
"""


@pytest.mark.timeout(60)
@pytest.mark.slow
def test_a_reader_sees_whole_views_while_a_writer_replaces_them(
    tmp_path: Path, store: Store
) -> None:
    log = tmp_path / "own.log"
    log.write_text("".join(f"- {1117838570 + i} line {i}\n" for i in range(20)))
    datasets = [
        labelled_by_line(log, windows={"kind": "count", "length": length}) for length in (4, 2)
    ]
    messages = messages_of(store, datasets[0])

    def write(place: int) -> None:
        """Windows of 4 and of 2 lines take turns in being the newest."""
        build_windows(store, datasets[place], messages, validation_fraction=0.0)
        views.refresh_views(store)

    write(0)
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(store.data_dir / "logllm.duckdb")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    turn = 0
    while reader.poll() is None:
        turn += 1
        write(turn % 2)
    output, fault = reader.communicate()
    assert reader.returncode == 0, fault
    assert int(output) >= 50
    assert turn >= 2
