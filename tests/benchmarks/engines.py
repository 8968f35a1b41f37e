"""Which engine parses and masks fastest: the measurement that chose NumPy and pyarrow.

`python -m tests.benchmarks.engines`; Polars takes part where it is installed.
"""

import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from rich import box
from rich.console import Console
from rich.table import Table

from logllm_core.logs.messages import masking, parsing
from logllm_core.logs.records.line_blocks import Block, read_blocks
from logllm_core.logs.simulator.writing import write_log
from tests.benchmarks.preparing import dataset_of

NUM_LINES = 200_000
NUM_RUNS = 5
# A line of BGL as a regular expression that keeps only what is needed, so that RE2 is at its best.
PATTERN = r"^(?P<label>\S+)\s+(?P<epoch>\S+)\s+(?:\S+\s+){7}(?P<content>\S(?s:.*))$"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bgl.log"
        write_log(path, num_lines=NUM_LINES, seed=0)
        dataset, text = dataset_of("bgl", path), path.read_bytes()
    blocks = list(read_blocks(io.BytesIO(text)))
    lines = pa.concat_arrays([block.lines() for block in blocks])
    contents = pa.concat_arrays([parsing.parse_block(dataset, b).contents for b in blocks])

    def again() -> list[Block]:
        """Blocks that remember nothing of an earlier run."""
        return [Block(first_line_number=b.first_line_number, text=b.text) for b in blocks]

    works: dict[str, Callable[[], Any]] = {
        "cut: NumPy over bytes (chosen)": lambda: [
            parsing._cut_by_white_space(dataset, block) for block in again()
        ],
        "cut: pyarrow extract_regex": lambda: pc.extract_regex(lines, PATTERN),
        "cut: DuckDB regexp_extract": lambda: in_duckdb(
            "regexp_extract(text, $pattern, ['label', 'epoch', 'content'])",
            lines,
            PATTERN.replace("?P<label>", "").replace("?P<epoch>", "").replace("?P<content>", ""),
        ),
        "mask: pyarrow (chosen)": lambda: masking.mask_messages(contents),
        "mask: DuckDB regexp_replace": lambda: in_duckdb(
            "regexp_replace(text, $pattern, '<*>', 'g')", contents, masking.ALTERNATION
        ),
    }
    works |= polars_works(lines, contents)
    table = Table("engine, one thread", "microseconds a line", box=box.SIMPLE)
    for name, work in works.items():
        taken = []
        for _ in range(NUM_RUNS):
            begun = time.perf_counter()
            work()
            taken.append(time.perf_counter() - begun)
        table.add_row(name, f"{statistics.median(taken) / NUM_LINES * 1e6:.2f}")
    Console().print(table)


def in_duckdb(expression: str, texts: pa.StringArray, pattern: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        connection.register("lines", pa.table({"text": texts}))
        connection.execute(
            f"create temp table made as select {expression} from lines", {"pattern": pattern}
        )


def polars_works(lines: pa.StringArray, contents: pa.StringArray) -> dict[str, Callable[[], Any]]:
    """Polars' threads are as many as POLARS_MAX_THREADS says."""
    try:
        import polars
    except ImportError:
        return {}
    series = {
        name: polars.Series(name, polars.from_arrow(array))
        for name, array in (("lines", lines), ("contents", contents))
    }
    # Rust's engine has no \x{...} below two digits and other names for white space.
    return {
        "cut: Polars extract_groups": lambda: series["lines"].str.extract_groups(PATTERN),
        "mask: Polars replace_all": lambda: series["contents"].str.replace_all(
            masking.ALTERNATION, "<*>"
        ),
    }


if __name__ == "__main__":
    main()
