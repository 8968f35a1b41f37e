"""The benchmarks run; how fast is not asserted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_benchmark_writes_its_figures(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    command = [sys.executable, "-m", "tests.benchmarks", "--lines", "20000", "--out", out]
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True, capture_output=True)
    rows = json.loads(out.read_text())["prepare"]
    assert [(row["shape"], row["num_lines"]) for row in rows] == [("bgl", 20_000), ("hdfs", 20_000)]
    for row in rows:
        for step in ("simulate", "parse", "mask", "window", "prepare"):
            assert row["lines_per_second"][step] > 0
        # Numbers that must fit each other, however fast they are.
        steps = ("checksum", "parse_and_mask", "messages", "window", "views")
        assert sum(row["seconds"][step] for step in steps) <= row["seconds"]["prepare"] * 1.01
        ratio = row["lines_per_second"]["prepare"] / row["plain_lines_per_second"]
        assert row["prepare_to_plain"] == pytest.approx(ratio)
        assert row["peak_memory_bytes"] > 50 * 2**20
    assert list(tmp_path.iterdir()) == [out]
