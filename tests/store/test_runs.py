"""Runs: listed, and found by what a person calls them."""

import os
import shutil
from pathlib import Path

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.store.runs import find_run, list_runs
from logllm_core.store.store import Artifact, Store
from tests.evaluation.sample_runs import (
    make_content,
    make_predictions,
    make_run,
    make_windows,
    run_of_seed_0,
    run_of_seed_1,
)
from tests.rewriting import rewrite


@pytest.fixture
def one(store: Store) -> Artifact:
    return run_of_seed_0(store)


@pytest.fixture
def other(store: Store) -> Artifact:
    return run_of_seed_1(store)


def test_a_run_is_found_by_folder_file_fingerprint_and_beginning(
    store: Store, one: Artifact, other: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given in (
        *(one.path, one.path / "report.html", one.path / "report.json", one.path / "manifest.json"),
        *(one.fingerprint, one.fingerprint[:8]),
    ):
        listed = find_run(store, str(given))
        assert (listed.fingerprint, listed.dataset) == (one.fingerprint, "x")
    monkeypatch.chdir(one.path)
    assert find_run(store, ".").path == one.path.resolve()
    assert find_run(store, "report.html").fingerprint == one.fingerprint


@pytest.mark.parametrize(
    "given", ["abc", "ffff", "no/such/folder", "", "*", "-", "ABCD", "a" * 5_000]
)
def test_what_is_no_run_is_one_error_that_tells_what_there_is(
    store: Store, one: Artifact, given: str
) -> None:
    with pytest.raises(LogLLMError) as fault:
        find_run(store, given)
    assert f'There is no run "{given}". There are: {one.fingerprint} (x).' in str(fault.value)


def test_without_any_run_the_error_says_so(store: Store) -> None:
    with pytest.raises(LogLLMError, match=r"There is no run in .*/data\. Name one"):
        find_run(store, "abcd")
    assert list_runs(store) == []


def test_an_ambiguous_beginning_is_one_error(store: Store, one: Artifact) -> None:
    twin = one.path.with_name(one.fingerprint[:6] + "0" * 10)
    shutil.copytree(one.path, twin)
    with pytest.raises(LogLLMError) as fault:
        find_run(store, one.fingerprint[:5])
    assert f"{one.fingerprint[:5]} is the beginning of 2 runs" in str(fault.value)
    assert one.fingerprint in str(fault.value)
    assert twin.name in str(fault.value)
    assert find_run(store, one.fingerprint).path == one.path


def test_a_run_that_was_copied_without_its_manifest_is_one_error(
    store: Store, one: Artifact, tmp_path: Path
) -> None:
    copied = tmp_path / "copied"
    copied.mkdir()
    shutil.copy(one.path / "report.json", copied)
    with pytest.raises(LogLLMError, match=r"manifest\.json is missing or does not fit"):
        find_run(store, str(copied))


def made_on(run: Artifact, created: str) -> None:
    """Change when a run was made."""
    rewrite(run.path, {"created": created})


def test_runs_are_listed_the_newest_first(store: Store, one: Artifact, other: Artifact) -> None:
    windows, predictions = make_windows(store, "regex"), make_predictions(store, 0, [1.0])
    content = make_content(4)
    third = make_run(store, content, windows, predictions, others=(5, 6), dataset="y")
    days = {one: "2024-05-02", other: "2024-05-03", third: "2024-05-01"}
    for run, day in days.items():
        made_on(run, f"{day}T00:00:00+00:00")
    os.utime(one.path / "manifest.json")  # being reused makes it no newer
    listed = list_runs(store)
    assert [run.run for run in listed] == [run.fingerprint for run in (other, one, third)]
    assert listed[0].f1 == 0.75
    assert (listed[0].recipe, listed[0].backbones) == ("quick", "small")
    assert listed[0].overrides == {"seed": 1}
    assert listed[2].seeds == [4, 5, 6]
    assert [run.dataset for run in list_runs(store, "y")] == ["y"]
    with pytest.raises(LogLLMError, match=r'no run of "z" in .*Runs there are of: x, y'):
        list_runs(store, "z")


def test_a_damaged_run_is_not_listed(store: Store, one: Artifact, other: Artifact) -> None:
    (one.path / "report.html").unlink()
    assert [run.run for run in list_runs(store)] == [other.fingerprint]
