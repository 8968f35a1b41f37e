"""`make gpu-check`: the paper's configuration on a GPU, a few steps of each stage, then scoring.

All of it is the training itself, on simulated windows of BGL's shape; the weights are thrown away.
"""

import argparse
import importlib.metadata
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

import torch
from loguru import logger
from rich import box
from rich.console import Console
from rich.table import Table

from logllm_core import progress
from logllm_core.errors import LogLLMError
from logllm_core.model import Quantization, devices, gpu_locks
from logllm_core.model.backbones import find_backbones
from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.model.window_answers import score_windows
from logllm_core.store.store import Artifact, Json, Store
from logllm_core.training import trained_model
from logllm_core.training.process_team import Team
from logllm_core.training.recipes import Recipe, recipe_named
from logllm_core.training.stage import VERSION, Order, train_in_team
from logllm_core.training.stage_plan import Execution, StagePlan
from tests.benchmarks.alone import ROOT, Figures
from tests.benchmarks.material import Prepared, simulated
from tests.benchmarks.training import Laps

NUM_LINES = 50_000  # of the simulated log
NUM_SCORED = 64  # windows
ON_CPU = "--device cpu --backbones small --quantization none"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu_check")
    parser.add_argument("--backbones", default="llama3-8b")
    parser.add_argument("--quantization", choices=get_args(Quantization), default="nf4")
    parser.add_argument("--device", default="cuda", help="as torch names it: cuda, cuda:1, cpu")
    parser.add_argument("--steps", type=int, default=5, help="of each stage")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(
            f"No GPU was found (torch {torch.__version__} sees none that it can use); one with "
            "CUDA is wanted; the same steps can be tried on a CPU: "
            f"python -m tests.benchmarks.gpu_check {ON_CPU}",
            file=sys.stderr,
        )
        sys.exit(2)
    logger.remove()
    logger.add(sys.stderr, level="INFO", format="{message}")
    try:
        check(options.backbones, device, options.quantization, num_steps=options.steps)
    except LogLLMError as error:
        sys.exit(str(error))


def check(
    backbones: str, device: torch.device, quantization: Quantization, *, num_steps: int
) -> None:
    output = Console(width=max(Console().width, 120))
    recipe = recipe_named("paper")
    sizes = {"quantization": quantization, "micro_batch_size": "auto"}
    num_samples = num_steps * recipe.batch_size
    amounts = {"num_epochs": 1, "num_samples": num_samples, "min_samples": num_samples}
    recipe = recipe.overridden(
        sizes
        | {
            f"stages.{stage.name}.{name}": amount
            for stage in recipe.stages
            for name, amount in amounts.items()
        }
    )
    folders = find_backbones(Store(data_dir=ROOT / "data"), backbones)
    with tempfile.TemporaryDirectory() as folder, gpu_locks.claim(device):
        for line in described(device):
            output.print(line)
        store = Store(data_dir=Path(folder))
        prepared = simulated(store, "bgl", NUM_LINES)
        num_messages = max(map(len, prepared.train.message_ids))
        rows = measure(store, prepared, recipe, folders, device)
    table = Table(box=box.SIMPLE)
    table.add_column("what", no_wrap=True)
    for column in (
        *("s/step", "first", "windows/s", "micro-batch"),
        *("loss", "GPU peak", "process peak"),
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["what"],
            *(f"{row[name]:.3f}" if name in row else "" for name in ("step", "first_step")),
            f"{row['windows_per_second']:,.2f}",
            str(row.get("micro_batch_size", "")),
            row.get("loss", ""),
            f"{row['peak_gpu_memory_bytes'] / 2**20:,.0f} MiB",
            f"{row['peak_memory_bytes'] / 2**20:,.0f} MiB",
        )
    output.print(
        f"Recipe {recipe.name}, backbones {backbones}, quantization {recipe.quantization}, "
        f"{devices.fastest_dtype(device)}, batches of {recipe.batch_size} windows of "
        f"{num_messages} messages; {num_steps} steps a stage, the median without the first."
    )
    output.print(table)


def described(device: torch.device) -> list[str]:
    """The device and the versions that count."""
    name = f"the CPU ({torch.get_num_threads()} threads)"
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        name = f"{found.name}, {found.total_memory / 2**30:.1f} GiB, CUDA {torch.version.cuda}"
    packages = ("torch", "transformers", "peft", "bitsandbytes")
    versions = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    return [f"Device: {name}", f"Versions: {', '.join(versions)}"]


def measure(
    store: Store, prepared: Prepared, recipe: Recipe, folders: BackboneFolders, device: torch.device
) -> list[Figures]:
    """Each stage trained after the one before it, as `logllm train` does, then scoring."""
    rows: list[Figures] = []
    previous: Artifact | None = None
    for stage in recipe.stages:
        plan = StagePlan(
            dataset=prepared.dataset.name,
            stage=stage,
            recipe=recipe,
            folders=folders,
            messages=prepared.messages,
            windows=prepared.windows,
            previous=previous,
        )
        laps = Laps()
        progress.display.set(laps)
        previous = trained_on(device, store, plan)
        results = previous.results
        median = statistics.median(laps.seconds[1:] or laps.seconds)
        rows.append(
            {
                "what": f"stage {stage.name}",
                "step": median,
                "first_step": laps.seconds[0],
                "windows_per_second": recipe.batch_size / median,
                "loss": f"{results['first_loss']:.3f} -> {results['last_loss']:.3f}",
                **results,
            }
        )
    with gpu_locks.claim(device):
        return [*rows, scored(prepared, recipe, folders, device, previous)]


def trained_on(device: torch.device, store: Store, plan: StagePlan) -> Artifact:
    """`train_stage` chooses the device; here it is given."""

    def build(out_dir: Path) -> dict[str, Json]:
        order = Order(
            plan=plan,
            execution=Execution(checkpoint_minutes=math.inf),
            out_dir=out_dir,
        )
        with gpu_locks.claim(device):
            return train_in_team(order, Team(rank=0, num_processes=1, device=device))

    return store.reuse_or_build(
        *("models", plan.dataset),
        config=plan.config,
        inputs=plan.inputs,
        version=VERSION,
        build=build,
    )


def scored(
    prepared: Prepared,
    recipe: Recipe,
    folders: BackboneFolders,
    device: torch.device,
    last: Artifact | None,
) -> Figures:
    """Scoring some windows of the test split, the second time."""
    model, collator = trained_model.load_model(
        folders, recipe, last, messages=prepared.messages, windows=prepared.windows, device=device
    )
    windows = prepared.test.message_ids[:NUM_SCORED]
    score_windows(model, collator, windows)
    devices.begin_peak_memory(device)
    begun = time.perf_counter()
    chances = score_windows(model, collator, windows)
    taken = time.perf_counter() - begun
    if not all(map(math.isfinite, chances.tolist())):
        raise LogLLMError(
            "Some windows were scored as not a number. Compare with --quantization none, and "
            "report the versions above."
        )
    peak = devices.peak_memory(device)
    return {
        "what": f"scoring {len(windows)} windows",
        "windows_per_second": len(windows) / taken,
        "peak_memory_bytes": peak.ram_bytes,
        "peak_gpu_memory_bytes": peak.gpu_bytes,
    }


if __name__ == "__main__":
    main()
