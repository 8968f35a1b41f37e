"""What may change while a new log is read, or between two readings of it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from loguru import logger

from logllm_core import tables
from logllm_core.daily.detect import judged_log, told_verdicts, waiting_times
from logllm_core.daily.detect.detect import detect
from logllm_core.daily.detect.detect_result import Detected
from logllm_core.daily.detect.waiting_times import Pace
from logllm_core.daily.ledger.cursors import cursors, new_parts
from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.logs.records.line_blocks import Block
from logllm_core.logs.windows.window_stream import WindowStream
from logllm_core.scoring.new_log_judge import NewLogJudge
from tests.daily.new_logs import crown, dataset_of, lines, prepare_champion
from tests.logs.samples import EPOCH, labelled_by_session
from tests.logs.windows.streams import rows_of
from tests.scoring.setting import Setting

Rows = list[dict[str, Any]]
Act = Callable[[], None]


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return prepare_champion(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "new.log"


def judged(setting: Setting, log: Path, dataset: Dataset | None = None, **options: Any) -> Rows:
    """What was told."""
    found: Rows = []
    dataset = dataset or dataset_of(setting.store.data_dir.parent)
    given = {"tell": lambda table: found.extend(table.to_pylist())} | options
    detect(setting.store, dataset, [str(log)], **given)
    return found


def test_lines_that_the_model_reads_in_part_are_counted(tmp_path: Path, log: Path) -> None:
    # Four tokens, two of them marks: of the four messages "delta" alone is read whole.
    setting = prepare_champion(tmp_path, max_message_tokens=4)
    texts = ["delta", "alpha read ok", "delta", "beta write ok", "delta"]
    log.write_text("".join(f"{EPOCH + n} {text}\n" for n, text in enumerate(texts)))
    rows: Rows = []
    detected = detect(
        setting.store,
        dataset_of(tmp_path),
        [str(log)],
        tell=lambda table: rows.extend(table.to_pylist()),
    )
    assert [row["num_cut_lines"] for row in rows] == [2, 0]
    told = "; 2 lines are longer than the model reads, and their ends not judged."
    assert detected.sentence.endswith(told)


def kept(setting: Setting) -> Rows:
    """What the tables hold."""
    return [
        row
        for part in new_parts(setting.store, "own")
        for row in tables.read(part, tables.NEW_PREDICTIONS).to_pylist()
    ]


def spans(rows: Rows) -> list[tuple[int, int]]:
    return [(row["first_line"], row["last_line"]) for row in rows]


@pytest.fixture
def warnings() -> list[str]:
    found: list[str] = []
    logger.add(found.append, level="WARNING")
    return found


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, ...]]]:
    """The texts of the windows that were judged, batch by batch of at most eight."""
    monkeypatch.setattr(judged_log, "BATCH_WINDOWS", 8)
    real = NewLogJudge.judge
    found: list[list[tuple[str, ...]]] = []

    def judge(self: NewLogJudge, windows: Any) -> Any:
        found.append([tuple(row["texts"]) for row in rows_of(windows)])
        return real(self, windows)

    monkeypatch.setattr(NewLogJudge, "judge", judge)
    return found


@pytest.fixture
def is_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Whether lines were read, to stop then: before the log's end, so that windows stay open."""
    real = WindowStream.push
    found: list[int] = []

    def push(self: WindowStream, block: Block) -> Any:
        found.append(len(block))
        return real(self, block)

    monkeypatch.setattr(WindowStream, "push", push)
    return lambda: bool(found)


def with_masking(setting: Setting, masking: str) -> Act:
    """Promotes the same model as one that was trained with another masking."""
    other = setting.store.reuse_or_build(
        "models",
        "own",
        config={"masking": masking, "backbones": setting.folders.identity},
        inputs={},
        version=1,
        build=lambda out_dir: _copy(setting.trained.path, out_dir),
    )
    recipe = setting.recipe.model_copy(update={"masking": masking})
    return lambda: crown(setting, other, recipe=recipe)


def _copy(folder: Path, out_dir: Path) -> dict[str, object]:
    for path in folder.iterdir():
        if path.name != "manifest.json":
            (out_dir / path.name).write_bytes(path.read_bytes())
    return {}


def test_a_champion_with_templates_is_refused_at_once(setting: Setting, log: Path) -> None:
    log.write_text("".join(lines(8)))
    with_masking(setting, "drain-template")()
    with pytest.raises(LogLLMError, match="trained with --masking drain-template"):
        judged(setting, log)
    assert not list(cursors(setting.store, "own"))


def test_a_successor_with_templates_is_told_and_the_judge_stays(
    setting: Setting, log: Path, warnings: list[str], batches: list[Any]
) -> None:
    log.write_text("".join(lines(81)))  # the last one waits, and is judged later
    promote = with_masking(setting, "drain-template")
    told: Rows = []

    def tell(table: pa.Table) -> None:
        if not told:
            promote()
        told.extend(table.to_pylist())

    def is_stopped() -> bool:
        return len(told) >= 21 or time.monotonic() > deadline

    deadline = time.monotonic() + 60
    judged(setting, log, tell=tell, is_following=True, is_stopped=is_stopped, max_delay_seconds=0.3)
    assert {row["model"] for row in told} == {setting.trained.fingerprint}
    assert len(warnings) == 1
    assert "goes on judging" in warnings[0]


def test_a_successor_with_another_masking_reads_lines_as_it_was_trained(
    setting: Setting, tmp_path: Path, batches: list[Any]
) -> None:
    promote = with_masking(setting, "none")
    for name in "ab":  # addresses are what the masking hides
        text = "".join(f"{EPOCH + n} {name} 127.0.0.{n}\n" for n in range(6))
        (tmp_path / f"{name}.log").write_text(text)
    told: Rows = []

    def tell(table: pa.Table) -> None:
        told.extend(table.to_pylist())
        if len(told) == 2:
            promote()

    deadline = time.monotonic() + 60
    detect(
        setting.store,
        dataset_of(tmp_path),
        [str(tmp_path / name) for name in ("a.log", "b.log")],
        tell=tell,
        is_following=True,
        is_stopped=lambda: len(told) >= 4 or time.monotonic() > deadline,
        max_delay_seconds=0.5,
    )
    assert [row["num_lines"] for row in told] == [4, 4, 2, 2]
    texts = [text for batch in batches for window in batch for text in window]
    assert not any("127" in text for text in texts[:8])
    assert sorted(texts[8:]) == [f"{name} 127.0.0.{n}" for name in "ab" for n in (4, 5)]


OTHERWISE: dict[str, dict[str, Any]] = {
    "length": {"windows": {"kind": "count", "length": 3}},
    "by time": {"windows": {"kind": "time", "length_seconds": 5}},
    "pattern": {"line": {"pattern": "(?P<epoch>[0-9]+) (?P<content>.*)"}, "labels": None},
}


@pytest.mark.parametrize("kind", [*OTHERWISE, "back"])
def test_where_the_data_sets_file_was_changed_nothing_is_lost_or_doubled(
    setting: Setting, log: Path, is_read: Callable[[], bool], kind: str
) -> None:
    before, after = dataset_of(log.parent), dataset_of(log.parent)
    changes = dict(OTHERWISE["by time" if kind == "back" else kind])
    if "line" in changes:
        changes["line"] = {**changes["line"], "time_fields": ["epoch"], "time_format": "epoch"}
    other = dataset_of(log.parent, **changes)
    before, after = (other, before) if kind == "back" else (before, other)
    text = lines(20)
    log.write_text("".join(text[:10]))
    first = judged(setting, log, before, is_stopped=is_read)
    with log.open("a") as stream:
        stream.writelines(text[10:])
    assert [bool(cursor.pending) for _, cursor in cursors(setting.store, "own")] == [True]
    second = judged(setting, log, after, is_new_only=True)
    rows = first + second
    assert [row["window_id"] for row in rows] == list(range(len(rows)))
    assert rows == kept(setting)
    held = sorted(n for row in rows for n in range(row["first_line"], row["last_line"] + 1))
    assert held == list(range(20))
    assert judged(setting, log, after, is_new_only=True) == []


def test_lines_that_wait_as_they_came_are_read_as_the_file_says_now(
    setting: Setting, log: Path, is_read: Callable[[], bool]
) -> None:
    """Under a wrong time format no line told whether there are labels."""
    log.write_text("".join(lines(6)))
    right = dataset_of(log.parent)
    line = right.line.model_copy(update={"time_format": "%Y-%m-%d"})
    wrong = right.model_copy(update={"line": line})
    assert judged(setting, log, wrong, is_stopped=is_read) == []
    assert [bool(cursor.pending) for _, cursor in cursors(setting.store, "own")] == [True]
    assert spans(judged(setting, log, right)) == [(0, 3), (4, 5)]


def sessions(folder: Path) -> Dataset:
    return labelled_by_session(folder / "own.log", folder / "labels.csv")


def test_the_sessions_of_a_logs_end_are_judged_until_it_is_stopped(
    setting: Setting, log: Path, batches: list[Any]
) -> None:
    log.write_text("".join(f"{EPOCH + n} blk_{n % 30} up\n" for n in range(60)))
    dataset = sessions(log.parent)
    first = judged(setting, log, dataset, is_stopped=lambda: len(batches) >= 2)
    assert [len(batch) for batch in batches] == [8, 8]
    assert [row["session_id"] for row in first] == [f"blk_{n}" for n in range(16)]
    assert kept(setting) == first
    second = judged(setting, log, dataset, is_new_only=True)
    assert [len(batch) for batch in batches[2:]] == [8, 6]
    assert [row["session_id"] for row in second] == [f"blk_{n}" for n in range(16, 30)]
    assert spans(first + second) == [(n, n + 30) for n in range(30)]


def test_the_sessions_of_a_logs_end_are_written_down_now_and_then(
    setting: Setting, log: Path, batches: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_times, "INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(waiting_times, "MAX_SHARE", 1e9)
    log.write_text("".join(f"{EPOCH + n} blk_{n} up\n" for n in range(20)))
    counts: list[int] = []
    told = judged(
        setting, log, sessions(log.parent), is_stopped=lambda: counts.append(len(kept(setting)))
    )
    assert sorted(set(counts)) == [0, 8, 16, 20][: len(set(counts))]
    assert len(set(counts)) >= 3
    assert len(told) == len(kept(setting)) == 20


def test_what_nobody_heard_is_not_told_yet(setting: Setting, log: Path) -> None:
    log.write_text("".join(lines(8)))
    judged(setting, log, tell=None)
    assert [cursor.num_told for _, cursor in cursors(setting.store, "own")] == [0]
    assert spans(judged(setting, log, is_new_only=True)) == [(0, 3), (4, 7)]
    assert judged(setting, log, is_new_only=True) == []


def test_where_nobody_listens_tables_are_not_read_again(
    setting: Setting, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_text("".join(lines(8)))
    judged(setting, log, tell=None)
    monkeypatch.setattr(judged_log, "written", None)
    monkeypatch.setattr(told_verdicts, "written", None)
    monkeypatch.setattr(told_verdicts, "_read_together", None)
    judged(setting, log, tell=None)


@pytest.mark.parametrize(
    ("windows", "num_seconds"),
    [({"kind": "count", "length": 4}, 10.0), ({"kind": "time", "length_seconds": 300}, 310.0)],
)
def test_a_window_by_time_waits_until_its_time_is_over(
    tmp_path: Path, windows: dict[str, Any], num_seconds: float
) -> None:
    assert waiting_times.patience(dataset_of(tmp_path, windows=windows)) == num_seconds


def test_time_in_which_other_logs_were_judged_is_not_waiting(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log a has half a window, and waits while b is judged."""
    (tmp_path / "a.log").write_text("".join(lines(2)))
    (tmp_path / "b.log").write_text("".join(lines(4, seed=2)))
    judge, close = NewLogJudge.judge, WindowStream.close
    delays: list[float] = []

    def slowly(self: NewLogJudge, windows: Any) -> Any:
        time.sleep(0.5)
        return judge(self, windows)

    def noted(self: WindowStream, older_than_seconds: float = 0.0, **options: Any) -> Any:
        delays.append(older_than_seconds)
        return close(self, older_than_seconds, **options)

    monkeypatch.setattr(NewLogJudge, "judge", slowly)
    monkeypatch.setattr(WindowStream, "close", noted)
    deadline = time.monotonic() + 10
    detect(
        setting.store,
        dataset_of(tmp_path),
        [str(tmp_path / "a.log"), str(tmp_path / "b.log")],
        is_following=True,
        is_stopped=lambda: sum(one >= 30.5 for one in delays) >= 2 or time.monotonic() > deadline,
        max_delay_seconds=30.0,
    )
    assert delays[:2] == pytest.approx([30.0, 30.0], abs=0.2)
    assert sum(delay >= 30.5 for delay in delays) >= 2  # of both


def test_what_is_done_now_and_then_is_not_put_off_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pace = Pace()
    with pace.timed():
        now = 60.0  # a share of 5 % would be 20 minutes
    now = 359.0
    assert not pace.is_due
    now = 360.0
    assert pace.is_due


def test_counts_of_a_log_are_of_all_its_readings(setting: Setting, log: Path) -> None:
    log.write_text("".join(lines(8)))
    detected: list[Detected] = []
    for _ in range(2):
        detected.append(detect(setting.store, dataset_of(log.parent), [str(log)]))
    assert [one.num_lines for one in detected] == [8, 0]
