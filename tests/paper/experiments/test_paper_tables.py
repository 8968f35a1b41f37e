"""The paper's tables, held against the means that it prints itself."""

from statistics import mean

import pytest

from logllm_core.paper.experiments import paper_tables


@pytest.mark.parametrize(
    ("table", "row", "printed"),
    [
        (paper_tables.DETECTION, "LogAnomaly", 0.521),
        (paper_tables.DETECTION, "PLELog", 0.810),
        (paper_tables.DETECTION, "FastLogAD", 0.341),
        (paper_tables.DETECTION, "LogBERT", 0.456),
        (paper_tables.DETECTION, "LogRobust", 0.771),
        (paper_tables.DETECTION, "CNN", 0.818),
        (paper_tables.DETECTION, "NeuralLog", 0.893),
        (paper_tables.DETECTION, "RAPID", 0.602),
        (paper_tables.DETECTION, "LogLLM", 0.959),
        (paper_tables.PREPROCESSING, "Raw", 0.895),
        (paper_tables.PREPROCESSING, "Template ID", 0.591),
        (paper_tables.PREPROCESSING, "Template", 0.902),
        (paper_tables.STAGES, "W/O Stage 2", 0.934),
        (paper_tables.STAGES, "W/O Stage 1&2", 0.927),
        (paper_tables.STAGES, "W/O Stage 3", 0.854),
    ],
)
def test_the_mean_over_the_data_sets_is_the_printed_one(
    table: dict[str, paper_tables.Rows], row: str, printed: float
) -> None:
    found = [rows[row] for rows in table.values()]
    assert round(mean(one.f1 for one in found if one), 3) == pytest.approx(printed, abs=0.0006)


def test_one_published_figure_contradicts_itself() -> None:
    tables = {
        "II": paper_tables.DETECTION,
        "IV": paper_tables.PREPROCESSING,
        "V": paper_tables.EMBEDDER,
        "VI": paper_tables.STAGES,
    }
    impossible = [
        (number, dataset, row)
        for number, table in tables.items()
        for dataset, rows in table.items()
        for row, found in rows.items()
        if found and not found.is_possible
    ]
    assert impossible == [("II", "hdfs", "LogAnomaly")]


def test_what_did_not_fit_into_memory_has_neither_figures_nor_costs() -> None:
    missing = {
        (dataset, row)
        for dataset, rows in paper_tables.EMBEDDER.items()
        for row, found in rows.items()
        if found is None
    }
    assert missing == {
        ("bgl", "L.-1B"),
        *((dataset, "L.-8B") for dataset in ("bgl", "liberty", "thunderbird")),
    }
    assert missing == {
        (dataset, row)
        for dataset, rows in paper_tables.EMBEDDER_COSTS.items()
        for row, cost in rows.items()
        if cost is None
    }
