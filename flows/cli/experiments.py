"""The command line of the paper's experiments: `logllm compare-detectors` and `ablate`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from flows.cli.options import (
    AsJson,
    BackboneName,
    CheckpointMinutes,
    DataDir,
    MaskingName,
    Mirror,
    Name,
    Overrides,
    Processes,
    Quantization,
    RecipeName,
    Remote,
    Runner,
    Seed,
    Seeds,
    Shards,
)
from flows.data_settings import DATA_DIR
from flows.server.prefect_environment import set_up_prefect
from flows.showing import plain, print_json, read_changes, shared_notes

if TYPE_CHECKING:
    from logllm_core.store.store import Artifact

# Of a row of the comparison, those that fit a terminal.
COLUMNS = {
    "f1": "F1",
    "f1_interval": "95 %",
    "precision": "precision",
    "recall": "recall",
    "pr_auc": "PR-AUC",
    "published_f1": "paper",
    "fit_seconds": "fit, s",
}
# The same of an ablation's.
VARIANT_COLUMNS = {
    "f1": "F1",
    "f1_interval": "95 %",
    "precision": "precision",
    "recall": "recall",
    "published_f1": "paper",
    "training_minutes": "min",
}
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="METHOD",
        help="deeplog, loganomaly, plelog, fastlogad, logbert, logrobust, cnn, neurallog, rapid or "
        "logllm. May be repeated. Default: all.",
    ),
]
MethodOverrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SETTING=VALUE",
        help="Change the recipe, such as stages.3.num_epochs=5, or a method, such as "
        "deeplog.num_epochs=2. May be repeated.",
    ),
]
OnlyVariants = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="NAME",
        help="A group (preprocessing, embedder, stages, beta, window-length, seeds) or a variant, "
        "such as raw, without-1-2 or beta-0.5. May be repeated. Default: all.",
    ),
]
Sizes = Annotated[
    list[str] | None,
    typer.Option(
        "--size",
        metavar="BACKBONES",
        help="Further backbones, to compare sizes of the decoder. May be repeated.",
    ),
]
NumSeeds = Annotated[
    int, typer.Option("--seeds", min=1, help="So many seeds, from --seed upwards.")
]


def compare_detectors(
    name: Name,
    only: Only = None,
    data_dir: DataDir = DATA_DIR,
    mirror: Mirror = None,
    remote: Remote = None,
    recipe: RecipeName = "quick",
    masking: MaskingName = None,
    backbones: BackboneName = "small",
    quantization: Quantization = None,
    seed: Seed = None,
    num_seeds: Seeds = 1,
    changes: MethodOverrides = None,
    checkpoint_minutes: CheckpointMinutes = 10.0,
    num_processes: Processes = 1,
    runner: Runner = "threads",
    num_shards: Shards = None,
    as_json: AsJson = False,
) -> None:
    """Stand LogLLM and the paper's nine other methods side by side, on the same windows.

    All are fitted on the training split and measured on the test split. What is there is reused.
    """
    given = locals() | {"overrides": read_changes(changes or []), "only": tuple(only or ())}
    set_up_prefect(data_dir)
    from flows.compare import compare_detectors as compare
    from flows.display import shown_progress
    from flows.settings import CompareSettings

    options = {key: given[key] for key in CompareSettings.model_fields if key in given}
    settings = CompareSettings.parse(options, origin="The command line")
    with shown_progress():
        comparison = compare(name, settings)
    _print_comparison(comparison, as_json=as_json)


def ablate(
    name: Name,
    only: OnlyVariants = None,
    sizes: Sizes = None,
    data_dir: DataDir = DATA_DIR,
    mirror: Mirror = None,
    remote: Remote = None,
    recipe: RecipeName = "quick",
    masking: MaskingName = None,
    backbones: BackboneName = "small",
    quantization: Quantization = None,
    seed: Seed = None,
    num_seeds: NumSeeds = 3,
    changes: Overrides = None,
    checkpoint_minutes: CheckpointMinutes = 10.0,
    num_processes: Processes = 1,
    runner: Runner = "threads",
    num_shards: Shards = None,
    as_json: AsJson = False,
) -> None:
    """Train and evaluate variants of the recipe: the paper's ablations, window lengths, seeds.

    They run side by side, one a card. What is there is reused.
    """
    given = locals() | {"overrides": read_changes(changes or [])}
    given |= {"only": tuple(only or ()), "sizes": tuple(sizes or ())}
    set_up_prefect(data_dir)
    from flows.ablate import ablate_logllm
    from flows.display import shown_progress
    from flows.settings import AblateSettings

    options = {key: given[key] for key in AblateSettings.model_fields if key in given}
    settings = AblateSettings.parse(options, origin="The command line")
    with shown_progress():
        ablation = ablate_logllm(name, settings)
    _print_ablation(ablation, as_json=as_json)


def _print_ablation(ablation: "Artifact", *, as_json: bool) -> None:
    """The figures of all variants, the verdict, and where the page lies."""
    from logllm_core.paper.experiments.ablation_page import PAGE_NAME, ablation_rows, read_ablation
    from logllm_core.paper.experiments.ablation_table import NOT_ASKED

    content = read_ablation(ablation)
    rows, page = ablation_rows(content), ablation.path / PAGE_NAME
    if as_json:
        print_json({"dataset": ablation.dataset, "variants": rows, "page": str(page)})
        return
    table = Table("variant", box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    for column in VARIANT_COLUMNS.values():
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        cells = [_shown(row[key], 1 if key == "training_minutes" else 3) for key in VARIANT_COLUMNS]
        table.add_row(
            plain(row["variant"]), *(["not run"] if row["note"] else cells[:1]), *cells[1:]
        )
    notes = shared_notes([(row["variant"], row["note"]) for row in rows], NOT_ASKED)
    _print(table, *notes, content["verdict"], f"Ablation: {page}")


def _print_comparison(comparison: "Artifact", *, as_json: bool) -> None:
    """The figures of all detectors, the verdict, and where the page lies."""
    from logllm_core.paper.experiments.compare_methods import PAGE_NAME, read_comparison
    from logllm_core.paper.experiments.contenders import NOT_ASKED
    from logllm_core.paper.experiments.standing import comparison_rows

    content = read_comparison(comparison)
    rows, page = comparison_rows(content), comparison.path / PAGE_NAME
    if as_json:
        print_json({"dataset": comparison.dataset, "detectors": rows, "page": str(page)})
        return
    notes = shared_notes([(row["detector"], row["note"]) for row in rows], NOT_ASKED)
    _print(_table(rows), *notes, content["verdict"], f"Comparison: {page}")


def _print(table: Table, *lines: str) -> None:
    output = Console()
    output.print(table)
    for line in lines:
        output.print(plain(line), soft_wrap=True, highlight=False)


def _table(rows: list[dict[str, Any]]) -> Table:
    from logllm_core.pages import MODEL

    table = Table(box=box.SIMPLE, pad_edge=False, collapse_padding=True, show_edge=False)
    table.add_column("detector", min_width=15)
    for column in COLUMNS.values():
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        cells = ["not run" if row["note"] else _shown(row["f1"], 3)]
        cells += [_shown(row.get(key), 1 if "seconds" in key else 3) for key in [*COLUMNS][1:]]
        table.add_row(row["detector"], *cells, style="bold" if row["detector"] == MODEL else None)
    return table


def _shown(value: object, num_digits: int) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:,.{num_digits}f}"
