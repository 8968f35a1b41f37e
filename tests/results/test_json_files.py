"""People's programs read `report.json`: what is in it, and what of before is still read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.results.figures import Figure, Interval
from logllm_core.results.json_files import as_json, from_json, read_report, write
from logllm_core.results.report import Report
from logllm_core.store.store import Artifact
from tests.pages.sample_report import bare_content, report_of, small_content


def run_with(folder: Path, content: dict[str, Any]) -> Artifact:
    (folder / "report.json").write_text(json.dumps(content))
    return Artifact(kind="runs", dataset="x", fingerprint="0123456789abcdef", path=folder)


@pytest.mark.parametrize("content", [small_content(), bare_content()], ids=["small", "bare"])
def test_a_report_is_written_with_the_keys_that_it_was_read_with(content: dict[str, Any]) -> None:
    assert as_json(from_json(Report, content)) == content


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    report = report_of(small_content())
    write(tmp_path / "report.json", report)
    run = Artifact(kind="runs", dataset="x", fingerprint="0123456789abcdef", path=tmp_path)
    assert read_report(run) == report
    assert json.loads((tmp_path / "report.json").read_text()) == small_content()


def test_a_number_that_json_does_not_know_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(tmp_path / "x.json", Figure(float("inf")))


def test_a_report_knows_its_figures_its_page_and_its_verdict(tmp_path: Path) -> None:
    report = read_report(run_with(tmp_path, small_content()))
    assert report.f1 == Figure(4 / 7, Interval(4 / 7 - 0.04, 4 / 7 + 0.02))
    assert report.f1.low == 4 / 7 - 0.04
    assert report.pr_auc.value == 0.75
    assert report.page == tmp_path / "report.html"
    assert report.dataset_page == "https://example.org/log"
    assert report.verdict.startswith("LogLLM reaches F1 0.571")
    assert repr(report) == (
        "Report(hostile: F1 0.571 (0.531 to 0.591), PR-AUC 0.750 (0.710 to 0.770))"
    )
    assert repr(report.detectors["always anomalous"].pr_auc) == "0.400 (0.360 to 0.420)"


def test_what_is_undefined_is_neither_high_nor_low() -> None:
    undefined = report_of(bare_content()).f1
    assert (undefined.value, undefined.low, undefined.high) == (None, None, None)
    assert repr(undefined) == "undefined"


def without_what_came_later(content: dict[str, Any]) -> None:
    """As reports were before seeds were kept, and before rounding and long windows were told."""
    del content["learned"], content["seeds"]["kept"]
    for name in ("rounding", "num_windows_within_rounding", "num_long_windows", "num_cut_lines"):
        del content["scoring"][name]


def with_keys_of_tomorrow(content: dict[str, Any]) -> None:
    content["weather"] = content["stages"][0]["weather"] = "fine"


@pytest.mark.parametrize("change", [without_what_came_later, with_keys_of_tomorrow])
def test_reports_of_other_versions_are_read(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    content = small_content()
    change(content)
    report = read_report(run_with(tmp_path, content))
    assert report.model == report_of(small_content()).model


def test_a_report_that_tells_too_little_is_one_error_that_names_what_it_lacks(
    tmp_path: Path,
) -> None:
    content = small_content()
    del content["lines"], content["calibration"]["ece"], content["scoring"]["num_windows"]
    del content["settings"]
    wanted = (
        r"report of 0123456789abcdef was written by an earlier version: it lacks lines, "
        r"calibration\.ece, scoring\.num_windows and 1 more\. Run logllm evaluate x"
    )
    with pytest.raises(LogLLMError, match=wanted):
        read_report(run_with(tmp_path, content))
