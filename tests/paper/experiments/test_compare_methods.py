"""The comparison of made-up scores, whose figures are worked out by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logllm_core.evaluation.measures.intervals import difference
from logllm_core.evaluation.measures.scored_windows import read_scores
from logllm_core.logs.windows.window_artifact import read_windows
from logllm_core.pages.figures_as_text import UNDEFINED
from logllm_core.paper.experiments.compare_methods import render
from logllm_core.paper.experiments.comparison import (
    MethodComparison,
    MethodCost,
    PublishedFigures,
    SplitSize,
    comparison_rows,
    read_comparison,
    verdict,
)
from logllm_core.paper.experiments.paper_tables import PublishedMinutes
from logllm_core.results.figures import DetectorFigures
from logllm_core.results.json_files import from_json
from tests.pages.sample_parts import HOSTILE, detector, verdicts
from tests.paper.experiments.sample_contenders import ANOMALOUS, LENGTHS, Sample, contender, sample

# Windows 2, 5 and 7 of ten are anomalous.
FINDS_TWO = [0.9, 0.1, 0.8, 0.1, 0.1, 0.7, 0.1, 0.2, 0.1, 0.1]  # and one false alarm
FINDS_ALL = [0.1, 0.1, 0.8, 0.1, 0.1, 0.7, 0.1, 0.6, 0.1, 0.1]
FINDS_ONE = [0.1, 0.1, 0.8, 0.1, 0.1, 0.2, 0.1, 0.2, 0.1, 0.1]


@pytest.fixture
def made(tmp_path: Path) -> Sample:
    return sample(tmp_path)


def logllm(made: Sample, test: list[float]) -> Any:
    stages = [made.stage(1), made.stage(2)]
    return contender(
        *("logllm", "LogLLM", made.predictions(test)),
        reads="messages",
        labels="all windows",
        settings={"name": "quick"},
        stages=stages,
    )


def absent() -> Any:
    return contender("logllm", "LogLLM", settings={"name": "quick"})


def compared(made: Sample, *contenders: Any) -> MethodComparison:
    return read_comparison(made.build(contenders))


def test_the_sample_is_what_its_tables_say(made: Sample) -> None:
    for split, length in LENGTHS.items():
        windows = read_windows(made.prepared.windows, split)
        assert windows.is_anomalous is not None
        assert len(windows) == length
        assert windows.is_anomalous.nonzero()[0].tolist() == list(ANOMALOUS[split])


def test_each_method_has_the_figures_of_its_own_scores(made: Sample) -> None:
    one = contender("deeplog", "DeepLog", made.scores("deeplog", FINDS_TWO))
    content = compared(made, one, logllm(made, FINDS_ALL))
    assert list(content.detectors)[:2] == ["DeepLog", "LogLLM"]
    decided = content.detectors["DeepLog"].at_decision
    assert (decided.true_positives, decided.false_positives) == (2, 1)
    assert decided.precision.value == decided.recall.value == pytest.approx(2 / 3)
    assert content.detectors["LogLLM"].f1.value == 1
    assert "decision tree on message counts" in content.detectors
    # Both validation windows have scores of .6 and .4, and the first is anomalous.
    chosen = content.detectors["DeepLog"].at_validation_threshold
    assert chosen
    assert chosen.threshold == pytest.approx(0.5)
    assert content.validation == SplitSize(num_windows=2, num_anomalous=1)


def test_differences_are_logllm_minus_each_other(made: Sample) -> None:
    one = made.scores("deeplog", FINDS_TWO)
    content = compared(made, contender("deeplog", "DeepLog", one), logllm(made, FINDS_ALL))
    labels = read_windows(made.prepared.windows, "test").is_anomalous
    assert labels is not None
    own = read_scores(made.predictions(FINDS_ALL), "test")
    expected = difference(labels, own, read_scores(one, "test"), "f1")
    assert expected is not None
    assert expected.difference == pytest.approx(1 / 3)
    assert content.differences["DeepLog"].f1 == expected
    assert content.differences.keys() == content.detectors.keys() - {"LogLLM"}


def test_without_logllm_there_is_no_difference_and_the_page_says_so(made: Sample) -> None:
    one = contender("deeplog", "DeepLog", made.scores("deeplog", FINDS_TWO))
    content = compared(made, one, absent())
    assert content.differences == {}
    assert content.verdict.startswith(
        "LogLLM was not run. Of the other methods of the paper, DeepLog (0.667) has the highest F1."
    )
    page = render(content)
    assert "not run: It was not asked for." in page
    assert 'id="differences"' not in page


def test_the_published_figures_stand_beside_ours(made: Sample) -> None:
    scores = made.scores("loganomaly", FINDS_TWO)
    content = compared(made, contender("loganomaly", "LogAnomaly", scores), absent())
    (method, _) = content.contenders
    assert method.published == PublishedFigures(
        precision=0.886, recall=0.893, f1=0.966, is_possible=False
    )
    assert method.published_minutes == PublishedMinutes(training=156.16, testing=7.25)
    assert content.published_windows
    assert content.published_windows.test == 115_013
    page = render(content)
    assert "0.966*" in page
    assert "9,369.6" in page  # seconds: 156.16 * 60


def test_a_data_set_that_the_paper_lacks_has_no_column_of_it(made: Sample) -> None:
    content = compared(
        made, contender("deeplog", "DeepLog", made.scores("deeplog", FINDS_TWO)), absent()
    )
    methods = tuple(replace(method, published=None) for method in content.contenders)
    page = render(replace(content, contenders=methods, published_windows=None))
    assert "The paper has no figures of this data set." in page
    assert 'class="published"' not in page


def test_costs_are_those_of_fitting_and_of_scoring(made: Sample) -> None:
    one = contender("cnn", "CNN", made.scores("cnn", FINDS_TWO))
    content = compared(made, one, logllm(made, FINDS_ALL))
    first, of_model = (method.cost for method in content.contenders)
    assert first == MethodCost(
        fit_seconds=12.5,
        score_seconds=0.25,
        num_steps=7,
        num_parameters=99,
        peak_memory_bytes=2_000_000_000,
        peak_gpu_memory_bytes=0,
    )
    # Two stages of 60 and 120 seconds; the most of any step.
    assert of_model == MethodCost(
        fit_seconds=180.0,
        score_seconds=3.0,
        num_steps=30,
        num_parameters=2_000,
        peak_memory_bytes=2,
        peak_gpu_memory_bytes=4,
    )


def test_several_seeds_have_a_spread_and_the_first_has_the_figures(made: Sample) -> None:
    scores = [made.scores("cnn", FINDS_ALL), made.scores("cnn", FINDS_ONE, seed=1)]
    content = compared(made, contender("cnn", "CNN", *scores), absent())
    assert content.detectors["CNN"].f1.value == 1
    # One of three found without a false alarm: F1 2 * 1 / (1 + 3) = .5
    seeds = content.contenders[0].seeds
    assert seeds
    spread = seeds.figures["f1"]
    assert spread
    assert (spread.values, spread.mean) == ((1.0, 0.5), 0.75)
    assert "0.750 ± 0.354" in render(content)


def test_the_rows_tell_who_was_not_run_and_why(made: Sample) -> None:
    failed = contender("rapid", "RAPID", not_run="Not enough memory: buy some.")
    one = contender("cnn", "CNN", made.scores("cnn", FINDS_TWO))
    rows = comparison_rows(compared(made, failed, one, absent()))
    assert [row["detector"] for row in rows[:4]] == ["RAPID", "CNN", "LogLLM", "always anomalous"]
    assert (rows[0]["note"], rows[0]["published_f1"]) == ("Not enough memory: buy some.", 0.924)
    assert (rows[1]["f1"], rows[1]["fit_seconds"], rows[1]["note"]) == (0.667, 12.5, "")
    assert rows[3]["published_f1"] is None


def test_nothing_run_is_a_page_of_simple_detectors(made: Sample) -> None:
    content = compared(made, absent())
    assert content.seeds == ()
    assert content.verdict.startswith("LogLLM was not run. Of the ")
    assert "Seed</dt><dd>none" in render(content)


def test_reasons_and_names_are_escaped(made: Sample) -> None:
    failed = contender("rapid", "RAPID", not_run=HOSTILE, changes={"name": HOSTILE})
    content = compared(made, failed, absent())
    page = render(replace(content, title=HOSTILE, dataset_page="javascript:x"))
    assert "<script>alert(1)" not in page
    assert "<img" not in page
    assert "javascript:" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_same_comparison_is_not_made_twice(made: Sample) -> None:
    one = contender("cnn", "CNN", made.scores("cnn", FINDS_TWO))
    assert made.build([one, absent()]) == made.build([one, absent()])
    other = contender("cnn", "CNN", made.scores("cnn", FINDS_ALL))
    assert made.build([other, absent()]) != made.build([one, absent()])


def of_f1(f1: float | None, pr_auc: float | None = None) -> DetectorFigures:
    return from_json(DetectorFigures, detector({**verdicts(0, 0, 0, 0), "f1": f1}, None, pr_auc))


def test_the_first_paragraph_says_who_is_ahead() -> None:
    simple = {"a tree": of_f1(0.4), "always": of_f1(None)}
    ahead = {"CNN": of_f1(0.7), "DeepLog": of_f1(0.5)} | simple
    assert verdict({"LogLLM": of_f1(0.9, 0.8)} | ahead, ["CNN", "DeepLog", "LogLLM"]) == (
        "LogLLM reaches F1 0.900, PR-AUC 0.800. Of the other methods of the paper, none has a "
        "higher F1; the best is CNN (0.700). Of the simple detectors, none has a higher F1; the "
        "best is a tree (0.400)."
    )
    assert verdict({"LogLLM": of_f1(0.6)} | ahead, ["CNN", "DeepLog", "LogLLM"]) == (
        f"LogLLM reaches F1 0.600, PR-AUC {UNDEFINED}. Of the other methods of the paper, 1 of 2 "
        "has a higher F1: CNN (0.700). Of the simple detectors, none has a higher F1; the best is "
        "a tree (0.400)."
    )
    many = {name: of_f1(0.9) for name in "abcde"}
    assert verdict({"LogLLM": of_f1(0.1)} | many, [*"abcde"]).endswith(
        "Of the other methods of the paper, 5 of 5 have a higher F1: a (0.900), b (0.900), "
        "c (0.900) and 2 more."
    )
