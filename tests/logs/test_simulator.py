"""Every truth is held against a parser of three lines, split on spaces."""

import csv
import re
from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from logllm_core.errors import LogLLMError
from logllm_core.logs.simulator import hdfs, traffic
from logllm_core.logs.simulator.bgl_tables import EPISODES, ORDINARY
from logllm_core.logs.simulator.writing import UNSTABLE_FROM_FRACTION, Shape, write_log

NUM_LINES = 40_000
NUM_FIELDS = {"bgl": 9, "thunderbird": 8, "hdfs": 5}  # before the content
SHAPES: tuple[Shape, ...] = ("bgl", "thunderbird", "hdfs")
BLOCK = re.compile(r"blk_-?\d+")


class Simulated(NamedTuple):
    path: Path
    truth: dict[str, Any]
    lines: list[str]


def simulate(path: Path, num_lines: int, seed: int, shape: Shape = "bgl") -> Simulated:
    truth = write_log(path, num_lines=num_lines, seed=seed, shape=shape)
    text = path.read_text(encoding="latin-1")
    return Simulated(path, truth, text.removesuffix("\n").split("\n"))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    return simulate(tmp_path_factory.mktemp("bgl") / "own.log", NUM_LINES, seed=3)


@pytest.fixture(scope="module")
def lines(simulated: Simulated) -> list[str]:
    return simulated.lines


@pytest.fixture(scope="module")
def tags(lines: list[str]) -> list[str]:
    return [line.split(" ", 1)[0] for line in lines]


@pytest.fixture(scope="module")
def thunderbird(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    folder = tmp_path_factory.mktemp("thunderbird")
    return simulate(folder / "own.log", 100_000, seed=3, shape="thunderbird")


@pytest.fixture(scope="module")
def sessions_log(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    return simulate(tmp_path_factory.mktemp("hdfs") / "own.log", 100_000, seed=3, shape="hdfs")


def fields(line: str, shape: Shape) -> list[str]:
    """The fields of a line; the last is the content, which may be missing."""
    return line.split(" ", NUM_FIELDS[shape])


def labels(log: Simulated) -> dict[str, str]:
    with log.path.with_name("own_label.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["BlockId", "Label"]
    gathered: dict[str, str] = dict(rows[1:])
    assert len(gathered) == len(rows) - 1
    return gathered


def blocks_of(line: str) -> list[str]:
    return list(dict.fromkeys(BLOCK.findall(line)))


@pytest.fixture(scope="module")
def sequences(sessions_log: Simulated) -> dict[str, list[str]]:
    return sequences_of(sessions_log)


def sequences_of(log: Simulated) -> dict[str, list[str]]:
    """Each session's messages, without what varies from line to line."""
    gathered = defaultdict(list)
    for line in log.lines:
        content = fields(line, "hdfs")[5]
        message = re.sub(r"/\S+|\S*\d\S*", "*", content)
        for block in blocks_of(content):
            gathered[block].append(message)
    return gathered


def assert_truth(log: Simulated, shape: Shape) -> None:
    rows = [fields(line, shape) for line in log.lines]
    bare = [row for row in rows if len(row) <= NUM_FIELDS[shape]]
    assert all(len(row) == NUM_FIELDS[shape] and row[0] == "-" for row in bare)
    assert log.truth["num_lines"] == len(rows)
    assert log.truth["num_unparsable_lines"] == len(bare)
    assert log.truth["size_bytes"] == log.path.stat().st_size
    if shape == "hdfs":
        assert log.truth["alert_types"] == {}
        assert log.truth["num_alert_lines"] == 0
        verdicts = labels(log)
        assert set(verdicts) == {block for line in log.lines for block in blocks_of(line)}
        assert set(verdicts.values()) <= {"Normal", "Anomaly"}
        assert log.truth["num_sessions"] == len(verdicts)
        num_anomalous = list(verdicts.values()).count("Anomaly")
        assert log.truth["num_anomalous_sessions"] == num_anomalous
        return
    alerts = Counter(row[0] for row in rows if row[0] != "-")
    assert alerts
    assert log.truth["alert_types"] == dict(sorted(alerts.items()))
    assert log.truth["num_alert_lines"] == alerts.total()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_seed_gives_the_same_bytes_and_another_one_others(
    tmp_path: Path, shape: Shape
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", -1)):
        write_log(tmp_path / name, num_lines=1_000, seed=seed, shape=shape)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()
    if shape == "hdfs":
        assert (tmp_path / "a_label.csv").read_bytes() == (tmp_path / "b_label.csv").read_bytes()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("num_lines", [1, 20, 1_000, 1_001, 10_001])
def test_a_log_has_exactly_as_many_lines_as_asked_for(
    tmp_path: Path, num_lines: int, shape: Shape
) -> None:
    results = write_log(tmp_path / "own.log", num_lines=num_lines, seed=0, shape=shape)
    content = (tmp_path / "own.log").read_bytes()
    assert content.count(b"\n") == num_lines == results["num_lines"]
    assert content.endswith(b"\n")
    assert b"\n\n" not in content
    assert results["size_bytes"] == len(content)


def test_the_truth_is_what_parsing_finds(
    simulated: Simulated, thunderbird: Simulated, sessions_log: Simulated
) -> None:
    for log, shape in zip((simulated, thunderbird, sessions_log), SHAPES, strict=True):
        assert_truth(log, shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_truth_holds_across_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: Shape
) -> None:
    monkeypatch.setattr(traffic, "EVENTS_PER_BATCH", 700)
    monkeypatch.setattr(hdfs, "SESSIONS_PER_BATCH", 40)
    log = simulate(tmp_path / "own.log", 20_000, seed=5, shape=shape)
    assert len(log.lines) == 20_000
    assert_truth(log, shape)
    assert_time_never_runs_backwards(log.lines, shape)
    if shape == "bgl":
        assert_order_tells_failure_from_recovery(log.lines)


def assert_time_never_runs_backwards(lines: list[str], shape: Shape) -> None:
    which = slice(0, 2) if shape == "hdfs" else slice(1, 2)  # day and time, or the epoch
    times = [[int(part) for part in line.split(" ", 2)[which]] for line in lines]
    assert times == sorted(times)
    assert times[-1] > times[0]


def test_time_never_runs_backwards(
    simulated: Simulated, thunderbird: Simulated, sessions_log: Simulated
) -> None:
    for log, shape in zip((simulated, thunderbird, sessions_log), SHAPES, strict=True):
        assert_time_never_runs_backwards(log.lines, shape)


def test_lines_look_like_those_of_the_real_logs(
    lines: list[str], thunderbird: Simulated, sessions_log: Simulated
) -> None:
    node = r"R\d\d-M[01]-N[0-9A-F]-C:J\d\d-U[01]1"
    date = r"\d{4}\.\d\d\.\d\d"
    full = r"\d{4}-\d\d-\d\d-\d\d\.\d\d\.\d\d\.\d{6}"
    bgl = rf"[A-Z-]+ \d{{10}} {date} ({node}) {full} \1 RAS [A-Z]+ "
    host = r"[a-z0-9-]+"
    syslog = rf"[A-Z_-]+ \d{{10}} {date} ({host}) [A-Z][a-z]{{2}} \d+ \d\d:\d\d:\d\d \1/\1( |$)"
    block = r"\d{6} \d{6} \d+ (INFO|WARN) dfs\.[A-Za-z$]+: .*blk_-?\d+"
    for pattern, gathered in (
        (bgl + "(INFO|WARNING|FATAL)( |$)", lines),
        (syslog, thunderbird.lines),
        (block, sessions_log.lines),
    ):
        assert [line for line in gathered if not re.match(pattern, line)] == []
        assert not any("{" in line or "}" in line for line in gathered)


def test_both_times_of_a_line_are_the_same(lines: list[str], thunderbird: Simulated) -> None:
    for line in lines[::997]:
        _, epoch, date, _, full = line.split(" ")[:5]
        time = datetime.fromtimestamp(int(epoch), UTC)
        assert (date, full[:19]) == (f"{time:%Y.%m.%d}", f"{time:%Y-%m-%d-%H.%M.%S}")
    for line in thunderbird.lines[::997]:
        _, epoch, date, _, month, day, clock = line.split(" ")[:7]
        time = datetime.fromtimestamp(int(epoch), UTC)
        assert (date, month, int(day)) == (f"{time:%Y.%m.%d}", f"{time:%b}", time.day)
        assert clock == f"{time:%H:%M:%S}"


def test_about_as_many_lines_lack_content_as_in_the_real_logs(
    simulated: Simulated, thunderbird: Simulated
) -> None:
    # BGL: 0.73 % of 40,000 is 292, with a standard deviation of 17.
    assert 292 - 3 * 17 <= simulated.truth["num_unparsable_lines"] <= 292 + 3 * 17
    # Thunderbird: 0.004 % of 100,000 is 4, with a standard deviation of 2.
    assert 1 <= thunderbird.truth["num_unparsable_lines"] <= 10


@pytest.mark.parametrize(
    ("shape", "distinct_range", "alert_range"),
    # Distinct contents: at the size of the real sets 7.6 %, about 15 % and nearly all; more in a
    # million lines, since most of what can be said has been said by then. Alerts: on average 1.9 %
    # and 0.05 %.
    [
        ("bgl", (0.14, 0.18), (0.017, 0.021)),
        ("thunderbird", (0.3, 0.4), (0.0004, 0.0007)),
        ("hdfs", (0.93, 0.97), (0, 0)),
    ],
)
@pytest.mark.slow
def test_so_many_contents_are_distinct_and_so_many_lines_are_alerts(
    tmp_path: Path,
    shape: Shape,
    distinct_range: tuple[float, float],
    alert_range: tuple[float, float],
) -> None:
    truth = write_log(tmp_path / "own.log", num_lines=1_000_000, seed=0, shape=shape)
    with (tmp_path / "own.log").open("rb") as file:
        distinct = {hash(line.split(b" ", NUM_FIELDS[shape])[-1]) for line in file}
    assert distinct_range[0] < len(distinct) / 1_000_000 < distinct_range[1]
    num_alerts = truth["num_alert_lines"]
    assert isinstance(num_alerts, int)
    assert alert_range[0] <= num_alerts / 1_000_000 <= alert_range[1]


def test_some_lines_hold_bytes_that_are_not_utf_8(simulated: Simulated) -> None:
    content = simulated.path.read_bytes()
    assert 5 <= content.count(b"\xe9\xff\x00\x85") <= 50  # 20 expected
    with pytest.raises(UnicodeDecodeError):
        content.decode("utf-8")


def places_of(text: str, lines: list[str]) -> list[int]:
    return [number for number, line in enumerate(lines) if text in line]


def fixed_part(template: str) -> str:
    """The longest stretch of a template between its variable parts."""
    return max(re.split(r"\{[a-z]+\}", template), key=len)


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
        gathered = places_of(text, lines)
        assert gathered, text
        assert gathered[0] >= split, text
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


def assert_order_tells_failure_from_recovery(lines: list[str]) -> None:
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


def test_the_order_of_two_lines_tells_a_failure_from_a_recovery(lines: list[str]) -> None:
    assert_order_tells_failure_from_recovery(lines)


def test_an_episode_runs_on_beyond_the_split() -> None:
    pair = (traffic.Line("-", "", "first"), traffic.Line("-", "", "second"))
    rows = traffic.Traffic(
        (traffic.Ordinary(1, "", "everyday"),),
        (traffic.Episode(weight=1, lines=pair),),
        episodes_per_line=1 - 1e-12,
    )
    rng = np.random.default_rng(0)
    (early, late) = rows.batches(100, 11, rng)
    assert [rows.lines[row].text for row in (*early, *late)] == ["first", "second"] * 50
    assert (len(early), len(late)) == (12, 88)


def test_the_split_may_stand_at_either_end_of_the_log(tmp_path: Path) -> None:
    for name, fraction, is_old, is_new in (("a", 0.0, False, True), ("b", 1.0, True, False)):
        path = tmp_path / name
        write_log(path, num_lines=5_000, seed=0, unstable_from_fraction=fraction)
        text = path.read_text(encoding="latin-1")
        assert (" CE sym " in text, " CE symptom " in text) == (is_old, is_new)


def test_sessions_run_at_the_same_time_and_are_as_long_as_in_hdfs(
    sessions_log: Simulated,
) -> None:
    places = defaultdict(list)
    for number, line in enumerate(sessions_log.lines):
        for block in blocks_of(line):
            places[block].append(number)
    # 19.4 lines a session in HDFS.
    assert 18 < sum(map(len, places.values())) / len(places) < 21
    spans = [(numbers[0], numbers[-1]) for numbers in places.values()]
    middle = len(sessions_log.lines) // 2
    assert sum(first <= middle <= last for first, last in spans) > 100
    alone = sum(
        last - first + 1 == len(places[block])
        for block, (first, last) in zip(places, spans, strict=True)
    )
    assert alone <= 2


def test_few_lines_name_several_blocks(sessions_log: Simulated) -> None:
    several = [line for line in sessions_log.lines if len(blocks_of(line)) > 1]
    assert 10 <= len(several) <= 0.001 * len(sessions_log.lines)
    assert all(" to delete " in line for line in several)


def test_sequences_of_messages_repeat_as_in_hdfs(sequences: dict[str, list[str]]) -> None:
    distinct = {tuple(messages) for messages in sequences.values()}
    # 14 % in a piece of HDFS of this size, 5 % in the whole.
    assert 0.1 < len(distinct) / len(sequences) < 0.2
    assert 28 <= len({message for messages in distinct for message in messages}) <= 50


def test_three_of_a_hundred_sessions_are_anomalous(sessions_log: Simulated) -> None:
    verdicts = list(labels(sessions_log).values())
    # On average 3.1 %; of 10,000 sessions, with a standard deviation of 0.17 %.
    assert 0.025 < verdicts.count("Anomaly") / len(verdicts) < 0.04


def test_in_some_sessions_the_order_alone_tells_that_they_are_anomalous(
    sessions_log: Simulated, sequences: dict[str, list[str]]
) -> None:
    verdicts = labels(sessions_log)
    normal: set[tuple[str, ...]] = set()
    anomalous: list[list[str]] = []
    for block, messages in sequences.items():
        if verdicts[block] == "Normal":
            normal.add(tuple(sorted(messages)))
            assert not is_deleted_before_it_is_stored(messages), block
        else:
            anomalous.append(messages)
    same_messages = [messages for messages in anomalous if tuple(sorted(messages)) in normal]
    assert sum(map(is_deleted_before_it_is_stored, same_messages)) >= 10


def test_no_normal_block_is_deleted_before_it_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdfs, "MEDIAN_DISORDER_SECONDS", 1e6)
    log = simulate(tmp_path / "own.log", 20_000, seed=0, shape="hdfs")
    verdicts = labels(log)
    early = {
        verdicts[block]
        for block, messages in sequences_of(log).items()
        if is_deleted_before_it_is_stored(messages)
    }
    assert early == {"Anomaly"}


def is_deleted_before_it_is_stored(messages: list[str]) -> bool:
    stored = [place for place, text in enumerate(messages) if "blockMap updated" in text]
    deleted = [place for place, text in enumerate(messages) if "invalidSet" in text]
    return bool(stored) and bool(deleted) and min(deleted) < min(stored)


def test_a_new_kind_of_session_begins_after_the_split(sessions_log: Simulated) -> None:
    moved = places_of("dfs.Balancer", sessions_log.lines)
    assert moved
    assert moved[0] > UNSTABLE_FROM_FRACTION * len(sessions_log.lines)


def test_labels_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    label_path = tmp_path / "truth.csv"
    write_log(tmp_path / "a.log", num_lines=1_000, seed=0, shape="hdfs", label_path=label_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "truth.csv"]


@pytest.mark.parametrize("name", ["own.log", "own_label.csv"])
def test_neither_a_log_nor_its_labels_are_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(LogLLMError, match=f"{name} exists already"):
        write_log(tmp_path / "own.log", num_lines=1_000, seed=0, shape="hdfs")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_what_cannot_be_asked_for_is_said(tmp_path: Path) -> None:
    path = tmp_path / "own.log"
    with pytest.raises(LogLLMError, match='"spirit" is no shape of log'):
        write_log(path, num_lines=1_000, seed=0, shape="spirit")  # type: ignore[arg-type]
    with pytest.raises(LogLLMError, match="carries its labels itself"):
        write_log(path, num_lines=1_000, seed=0, label_path=tmp_path / "labels.csv")


def test_a_file_that_is_there_already_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "own.log"
    path.write_text("precious")
    with pytest.raises(LogLLMError, match="exists already"):
        write_log(path, num_lines=1_000, seed=0)
    assert path.read_text() == "precious"
