"""What `logllm compare-detectors` and `logllm ablate` print."""

from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from flows.terminal_text import plain, print_json, shared_notes

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


def print_ablation(ablation: "Artifact", *, as_json: bool) -> None:
    """The figures of all variants, the verdict, and where the page lies."""
    from logllm_core.paper.experiments.ablation import PAGE_NAME, ablation_rows, read_ablation
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
    reasons = [(str(row["variant"]), str(row["note"])) for row in rows]
    notes = shared_notes(reasons, NOT_ASKED)
    _print(table, *notes, content.verdict, f"Ablation: {page}")


def print_comparison(comparison: "Artifact", *, as_json: bool) -> None:
    """The figures of all detectors, the verdict, and where the page lies."""
    from logllm_core.paper.experiments.comparison import PAGE_NAME, comparison_rows, read_comparison
    from logllm_core.paper.experiments.contenders import NOT_ASKED

    content = read_comparison(comparison)
    rows, page = comparison_rows(content), comparison.path / PAGE_NAME
    if as_json:
        print_json({"dataset": comparison.dataset, "detectors": rows, "page": str(page)})
        return
    reasons = [(str(row["detector"]), str(row["note"])) for row in rows]
    notes = shared_notes(reasons, NOT_ASKED)
    _print(_table(rows), *notes, content.verdict, f"Comparison: {page}")


def _print(table: Table, *lines: str) -> None:
    output = Console()
    output.print(table)
    for line in lines:
        output.print(plain(line), soft_wrap=True, highlight=False)


def _table(rows: list[dict[str, Any]]) -> Table:
    from logllm_core.results import MODEL

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
