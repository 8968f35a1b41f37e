import re
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from logllm_core import tables
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog import Dataset, FieldLabels
from logllm_core.logs.simulator import EPISODES, ORDINARY, UNSTABLE_FROM_FRACTION, write_log
from logllm_core.store import Store
from tests.logs.samples import messages_of, published, rows

NUM_LINES = 40_000


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("simulator") / "simulated.log"
    return path, write_log(path, num_lines=NUM_LINES, seed=3)


@pytest.fixture(scope="module")
def lines(simulated: tuple[Path, dict[str, Any]]) -> list[str]:
    return simulated[0].read_text(encoding="latin-1").removesuffix("\n").split("\n")


@pytest.fixture(scope="module")
def tags(lines: list[str]) -> list[str]:
    return [line.split(" ", 1)[0] for line in lines]


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_log(tmp_path / name, num_lines=1_000, seed=seed)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


@pytest.mark.parametrize("num_lines", [1_000, 1_001, 10_000, 10_001])
def test_a_log_has_exactly_as_many_lines_as_asked_for(tmp_path: Path, num_lines: int) -> None:
    results = write_log(tmp_path / "own.log", num_lines=num_lines, seed=0)
    content = (tmp_path / "own.log").read_bytes()
    assert content.count(b"\n") == num_lines == results["num_lines"]
    assert content.endswith(b"\n")
    assert results["size_bytes"] == len(content)


def test_the_truth_is_what_parsing_finds(
    simulated: tuple[Path, dict[str, Any]], store: Store
) -> None:
    path, truth = simulated
    values = {**published("demo").model_dump(), "source": {"kind": "file", "path": path}}
    dataset = Dataset.parse(values, origin="a test's data set")
    assert isinstance(dataset.labels, FieldLabels)
    built = messages_of(store, dataset)
    found = rows(built.path / "messages.parquet", tables.MESSAGES)
    alerts = Counter(row["alert"] for row in found if row["alert"])
    assert dict(alerts) == truth["alert_types"]
    assert alerts.total() == truth["num_alert_lines"] == built.results["num_alert_lines"]
    assert built.results["num_unparsed_lines"] == truth["num_unparsable_lines"]
    assert built.results["num_lines"] == truth["num_lines"] == NUM_LINES
    assert built.results["num_lines_without_time"] == 0


def test_about_as_many_lines_lack_content_as_in_bgl(
    simulated: tuple[Path, dict[str, Any]],
) -> None:
    # 0.73 % of 40,000 is 292, with a standard deviation of 17.
    assert 292 - 3 * 17 <= simulated[1]["num_unparsable_lines"] <= 292 + 3 * 17


def test_some_lines_hold_bytes_that_are_not_utf_8(simulated: tuple[Path, dict[str, Any]]) -> None:
    content = simulated[0].read_bytes()
    assert 5 <= content.count(b"\xe9\xff\x00\x85") <= 50  # 20 expected
    with pytest.raises(UnicodeDecodeError):
        content.decode("utf-8")


def test_time_never_runs_backwards(lines: list[str]) -> None:
    seconds = [int(line.split(" ", 2)[1]) for line in lines]
    assert seconds == sorted(seconds)
    assert seconds[-1] > seconds[0]


def places_of(text: str, lines: list[str]) -> list[int]:
    return [number for number, line in enumerate(lines) if text in line]


def fixed_part(template: str) -> str:
    """The longest stretch of a template between its variable parts."""
    return max(re.split(r"\{[a-z]\}", template), key=len)


def test_new_messages_and_new_failures_come_only_after_the_split(
    lines: list[str], tags: list[str]
) -> None:
    split = NUM_LINES * UNSTABLE_FROM_FRACTION
    new_messages = [fixed_part(message.text) for message in ORDINARY if message.is_new]
    new_failures = [
        fixed_part(line.text) for episode in EPISODES if episode.is_new for line in episode.lines
    ]
    assert (len(new_messages), len(new_failures)) == (3, 4)
    for text in (*new_messages, *new_failures):
        found = places_of(text, lines)
        assert found, text
        assert found[0] >= split, text
    for tag in ("KERNTLBE", "APPALLOC", "KERNTERM"):
        assert tags.index(tag) >= split


def test_new_wordings_take_the_place_of_the_old_ones_at_the_split(lines: list[str]) -> None:
    split = NUM_LINES * UNSTABLE_FROM_FRACTION
    for old, new in ((" CE sym ", " CE symptom "), (" in re-synch state ", " reported ")):
        assert places_of(old, lines)
        assert places_of(new, lines)
        assert places_of(old, lines)[-1] < split <= places_of(new, lines)[0]


def test_alerts_come_as_bursts_and_as_single_lines(tags: list[str]) -> None:
    runs = [(tag, len(list(run))) for tag, run in groupby(tags)]
    alert_runs = [(tag, length) for tag, length in runs if tag != "-"]
    assert max(length for tag, length in alert_runs if tag == "KERNDTLB") >= 10
    singles = [length for tag, length in alert_runs if tag in ("KERNPAN", "KERNRTSP", "APPREAD")]
    assert len(singles) >= 10
    assert singles.count(1) >= 0.9 * len(singles)


def test_the_order_of_two_lines_tells_a_failure_from_a_recovery(lines: list[str]) -> None:
    exceeded = [
        (number, line.startswith("KERNLINK "))
        for number, line in enumerate(lines)
        if "retransmission count exceeded" in line
    ]
    assert {is_alert for _, is_alert in exceeded} == {False, True}
    for number, is_alert in exceeded:  # at most one other line stands between the two
        near = lines[number - 2 : number] if is_alert else lines[number + 1 : number + 3]
        lost_its_content = any(len(line.split()) == 9 for line in near)
        assert lost_its_content or any("link reset requested" in line for line in near)


def test_a_file_that_is_there_already_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "own.log"
    path.write_text("precious")
    with pytest.raises(LogLLMError, match="exists already"):
        write_log(path, num_lines=1_000, seed=0)
    assert path.read_text() == "precious"
