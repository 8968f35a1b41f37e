"""The model's part of the benchmark: training and scoring, each beside the plain way."""

import os
import tempfile
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from tests.benchmarks.alone import Figures, run_alone

# What is measured, by the module that does so. A quick run takes the last of each.
STEPS = {"stage 2 step": "2", "stage 3 step": "3"}
SCORINGS = {"scoring, sample": "sample", "scoring, repetition": "repetition"}
PLAIN = ("plain_float32", "plain_bfloat16")
OURS = ("ours", "ours_compiled")
MIRROR_VARIABLE = "LOGLLM_MIRROR"


def measure_model(data_dir: Path, folder: Path, *, is_quick: bool) -> list[Figures]:
    """A row for each thing that is measured, with the figures of each way.

    Args:
        data_dir: keeps the backbones.
        folder: gets the logs.
    """
    rows = []
    scale = "quick" if is_quick else "full"
    mirror = os.environ.get(MIRROR_VARIABLE)
    for what, stage in list(STEPS.items())[-1 if is_quick else 0 :]:
        # Compiling takes long, and a quick run asks for no speed.
        ways = {way: "training" for way in (*PLAIN, *OURS) if not (is_quick and way == OURS[1])}
        rows.append(_row(what, ways, (stage, scale, data_dir, folder)))
    for what, kind in list(SCORINGS.items())[-1 if is_quick else 0 :]:
        if kind == "sample" and not mirror:
            Console().print(
                f"{what}: left out, since {MIRROR_VARIABLE} names no folder with HDFS_v1.zip."
            )
            continue
        ways = dict.fromkeys((*PLAIN, OURS[0]), "scoring")
        more = [Path(mirror).absolute()] if mirror and kind == "sample" else []
        rows.append(_row(what, ways, (kind, scale, data_dir, folder, *more)))
    return rows


def _row(what: str, ways: dict[str, str], arguments: tuple[object, ...]) -> Figures:
    found = {way: _run(module, way, arguments) for way, module in ways.items()}
    for way in OURS:
        if way in found:
            for plain in PLAIN:
                found[way][f"to_{plain}"] = found[plain]["seconds"] / found[way]["seconds"]
    if OURS[1] in found:
        compiled = found[OURS[1]]
        compiled["compile_seconds"] = compiled["first_step_seconds"] - compiled["seconds"]
    row = {"what": what, "ways": found}
    show_model([row])
    return row


def _run(module: str, way: str, arguments: tuple[object, ...]) -> Figures:
    # What an earlier run compiled would otherwise be taken from torch's cache.
    with tempfile.TemporaryDirectory() as cache:
        return run_alone(module, way, *arguments, environment={"TORCHINDUCTOR_CACHE_DIR": cache})


def show_model(rows: list[Figures]) -> None:
    table = Table(box=box.SIMPLE)
    table.add_column("what", no_wrap=True)
    table.add_column("way", no_wrap=True)
    for column in (
        *("seconds", "windows/s", "to plain f32", "to plain bf16"),
        *("compile, s", "peak, MiB"),
    ):
        table.add_column(column, justify="right")
    for row in rows:
        for way, figures in row["ways"].items():
            ratios = [figures.get(f"to_{plain}") for plain in PLAIN]
            compiling = figures.get("compile_seconds")
            table.add_row(
                row["what"],
                f"{way.replace('_', ', ')}" + ("" if way in PLAIN else f" ({figures['dtype']})"),
                f"{figures['seconds']:,.2f}",
                f"{figures['windows_per_second']:,.1f}",
                *("" if ratio is None else f"{ratio:,.1f}" for ratio in ratios),
                "" if compiling is None else f"{compiling:,.0f}",
                f"{figures['peak_memory_bytes'] / 2**20:,.0f}",
            )
    output = Console(width=max(Console().width, 120))
    output.print("Seconds of a step, or of scoring all windows (plain: scaled from a slice).")
    output.print(table)
    for row in rows:
        if "num_positions" in row["ways"][OURS[0]]:
            output.print(_sharing(row["what"], row["ways"][OURS[0]]))


def _sharing(what: str, figures: Figures) -> str:
    positions = figures["num_positions"]
    computed, distinct = positions["computed"], positions["distinct_windows"]
    return (
        f"{what}: {figures['num_windows']:,} windows, {figures['num_distinct_windows']:,} distinct;"
        f" {computed:,} decoder positions, where the distinct windows each on its own have"
        f" {distinct:,} (shared beginnings saved {1 - computed / distinct:.0%}) and all windows"
        f" {positions['all_windows']:,} (saved {1 - computed / positions['all_windows']:.1%})"
    )
