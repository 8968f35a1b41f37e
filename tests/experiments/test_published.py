"""The paper's tables, held against the means that it prints itself."""

from statistics import mean

import pytest

from logllm_core.experiments import published


@pytest.mark.parametrize(
    ("table", "row", "printed"),
    [
        (published.DETECTION, "LogAnomaly", 0.521),
        (published.DETECTION, "PLELog", 0.810),
        (published.DETECTION, "FastLogAD", 0.341),
        (published.DETECTION, "LogBERT", 0.456),
        (published.DETECTION, "LogRobust", 0.771),
        (published.DETECTION, "CNN", 0.818),
        (published.DETECTION, "NeuralLog", 0.893),
        (published.DETECTION, "RAPID", 0.602),
        (published.DETECTION, "LogLLM", 0.959),
        (published.PREPROCESSING, "Raw", 0.895),
        (published.PREPROCESSING, "Template ID", 0.591),
        (published.PREPROCESSING, "Template", 0.902),
        (published.STAGES, "W/O Stage 2", 0.934),
        (published.STAGES, "W/O Stage 1&2", 0.927),
        (published.STAGES, "W/O Stage 3", 0.854),
    ],
)
def test_the_mean_over_the_data_sets_is_the_printed_one(
    table: dict[str, published.Rows], row: str, printed: float
) -> None:
    found = [rows[row] for rows in table.values()]
    assert round(mean(one.f1 for one in found if one), 3) == pytest.approx(printed, abs=0.0006)


def test_one_published_figure_contradicts_itself() -> None:
    tables = {
        "II": published.DETECTION,
        "IV": published.PREPROCESSING,
        "V": published.EMBEDDER,
        "VI": published.STAGES,
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
        for dataset, rows in published.EMBEDDER.items()
        for row, found in rows.items()
        if found is None
    }
    assert missing == {
        ("bgl", "L.-1B"),
        *((dataset, "L.-8B") for dataset in ("bgl", "liberty", "thunderbird")),
    }
    assert missing == {
        (dataset, row)
        for dataset, rows in published.EMBEDDER_COSTS.items()
        for row, cost in rows.items()
        if cost is None
    }
