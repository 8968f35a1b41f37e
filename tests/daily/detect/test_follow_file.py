import bz2
import gzip
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logllm_core.daily.detect import follow_file
from logllm_core.daily.detect.follow_file import GrowingLog, Piece
from logllm_core.daily.detect.log_identity import (
    Mark,
    Place,
    beginning,
    head_of,
    recognise,
    rotations,
)
from logllm_core.errors import LogLLMError
from tests.logs.samples import lines_as_python_reads_them

LIMIT_SECONDS = 20.0


def texts(pieces: Iterator[Piece | None]) -> list[tuple[int, str]]:
    """The numbers and texts of all lines."""
    return [
        (piece.block.first_line_number + n, text)
        for piece in pieces
        if piece
        for n, text in enumerate(piece.block.lines().to_pylist())
    ]


def read(path: Path, place: Place | None = None) -> tuple[list[tuple[int, str]], Place | None]:
    """All lines of a log from a place on, and the place behind them."""
    pieces = [piece for piece in GrowingLog(str(path), place) if piece]
    return texts(iter(pieces)), pieces[-1].place if pieces else place


def read_of(path: Path, text: str) -> Place | None:
    path.write_text(text)
    return read(path)[1]


def numbered(*lines: str, first: int = 0) -> list[tuple[int, str]]:
    return list(enumerate(lines, start=first))


class Follower:
    """Follows a log and keeps what comes; `until` waits for lines."""

    def __init__(self, path: Path, place: Place | None = None) -> None:
        self.log = GrowingLog(str(path), place, follow=True, wait_seconds=0.01)
        self._pieces = iter(self.log)
        self.lines: list[str] = []
        self.place = place
        self.is_over = False

    def step(self) -> None:
        try:
            piece = next(self._pieces)
        except StopIteration:
            self.is_over = True
            return
        if piece:
            assert piece.block.first_line_number == piece.place.num_lines - len(piece.block)
            self.lines += piece.block.lines().to_pylist()
            self.place = piece.place

    def until(self, is_so: Callable[[], bool]) -> None:
        ends = time.monotonic() + LIMIT_SECONDS
        while not is_so():
            assert time.monotonic() < ends, f"still {self.lines[-3:]}"
            self.step()

    def until_lines(self, *lines: str) -> None:
        self.until(lambda: len(self.lines) >= len(lines))
        assert self.lines == list(lines)

    def until_over(self) -> None:
        self.until(lambda: self.is_over)

    def until_over_or(self, last_line: str) -> None:
        self.until(lambda: self.is_over or last_line in self.lines[-1:])

    def look_around(self) -> None:
        for _ in range(5):
            self.step()


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@pytest.fixture(autouse=True)
def _short_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_file, "QUIET_SECONDS", 0.1)


def test_of_a_line_that_is_too_long_the_rest_is_read_over_and_the_place_is_behind_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"one\n" + b"x" * 30_000 + b"\r\ntwo\n")
    pieces = [piece for piece in GrowingLog(str(path), max_line_bytes=9) if piece]
    assert texts(iter(pieces)) == numbered("one", "x" * 9, "two")
    assert sum(len(piece.block.cut) for piece in pieces) == 1
    place = pieces[-1].place
    assert place == read(path)[1]
    append(path, "three\n")
    assert read(path, place)[0] == numbered("three", first=3)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


RAW = b"one\ntwo\r\nthree\rf\x00ur\r\n\n\xe9t\xe9\r\r\n" + b"x" * 10_000 + b"\nlast"


def test_lines_are_read_as_elsewhere_and_the_last_one_needs_no_end(log: Path) -> None:
    log.write_bytes(RAW)
    lines, place = read(log)
    assert lines == numbered(*lines_as_python_reads_them(RAW))
    assert place is not None
    assert (place.offset, place.num_lines) == (len(RAW), len(lines))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": lambda raw: pa.compress(raw, "zstd", asbytes=True),
    ".bz2": bz2.compress,
}


@pytest.mark.parametrize("ending", PACKERS)
def test_a_packed_log_is_read_and_is_the_same_log(log: Path, ending: str) -> None:
    log.write_bytes(RAW)
    lines, place = read(log)
    packed = log.with_name(f"app.log{ending}")
    packed.write_bytes(PACKERS[ending](RAW))
    assert read(packed) == (lines, place)
    assert place is not None
    assert recognise(str(packed), {"it": place}) == "it"
    assert read(packed, place) == ([], place)


def test_a_packed_file_of_several_members_is_one_log(log: Path) -> None:
    packed = log.with_name("app.log.gz")
    packed.write_bytes(gzip.compress(b"one\nt") + gzip.compress(b"wo\nthree\n"))
    assert read(packed)[0] == numbered("one", "two", "three")


def test_a_packed_file_that_is_damaged_is_told(log: Path) -> None:
    packed = log.with_name("app.log.gz")
    packed.write_bytes(gzip.compress(os.urandom(50_000))[:-1_000])
    with pytest.raises(LogLLMError, match=r"app\.log\.gz is damaged or cut off"):
        read(packed)


def test_an_empty_log_has_no_lines_and_a_missing_one_is_told(log: Path) -> None:
    with pytest.raises(LogLLMError, match=r"There is no file .*app\.log"):
        read(log)
    log.touch()
    assert read(log) == ([], None)
    assert head_of(str(log)) == b""


@settings(max_examples=80, deadline=None)
@given(
    lines=st.lists(
        st.tuples(
            st.sampled_from(["", "a", "bc", "\x00", "d" * 2_000]),
            st.sampled_from(["\n", "\r\n", "\r"]),
        ),
        min_size=1,
        max_size=12,
    ),
    size=st.integers(1, 3_000),
    packing=st.sampled_from(["", ".gz"]),
)
def test_from_every_place_the_rest_of_the_lines_is_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[tuple[str, str]],
    size: int,
    packing: str,
) -> None:
    raw = "".join(line + end for line, end in lines).encode()
    path = tmp_path_factory.mktemp("log") / f"app.log{packing}"
    path.write_bytes(gzip.compress(raw) if packing else raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follow_file, "BLOCK_BYTES", size)
        pieces = [piece for piece in GrowingLog(str(path)) if piece]
    whole = numbered(*lines_as_python_reads_them(raw))
    assert texts(iter(pieces)) == whole
    for piece in pieces:
        place = Place.from_json(piece.place.as_json())
        assert place == piece.place
        assert recognise(str(path), {"it": place}) == "it"
        assert read(path, place)[0] == whole[place.num_lines :]
    begin = beginning(head_of(str(path)))
    nowhere = replace(begin, head=Mark.of(b""))  # of a log that was empty
    assert recognise(str(path), {"it": nowhere}) is None
    assert recognise(str(path), {"it": begin}) == "it"
    assert read(path, begin)[0] == whole


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (b"one\n", b"two\n", [(1, "two")]),
        (b"one", b"\ntwo\n", [(1, "two")]),
        (b"one\r", b"\ntwo\n", [(1, "two")]),
        (b"one\r", b"two\n", [(1, "two")]),
        (b"one", b" and more\ntwo\n", [(1, "two")]),  # a line is read once
        (b"one", b" more", []),
    ],
)
def test_a_log_that_has_grown_is_read_on(
    log: Path, before: bytes, after: bytes, lines: list[tuple[int, str]]
) -> None:
    log.write_bytes(before)
    _, place = read(log)
    log.write_bytes(before + after)
    assert read(log, place)[0] == lines


def test_a_log_that_is_where_it_was_is_read_on_without_a_look_at_those_beside_it(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = read_of(log, "one\n")
    log.write_text("one\ntwo\n")
    looks = []

    def candidates(path: str) -> Iterator[str]:
        looks.append(path)
        yield from ()

    monkeypatch.setattr(follow_file, "candidates", candidates)
    assert read(log, place)[0] == [(1, "two")]
    # Among ten thousand logs a look for each of them would take their square.
    assert looks == []


def test_a_log_is_recognised_by_its_content_the_furthest_place_first(tmp_path: Path) -> None:
    raw = "".join(f"line {n}\n" for n in range(2_000)).encode()
    places = {}
    for name, size in [("short", 9), ("middle", 4_000), ("long", len(raw))]:
        part = tmp_path / name
        part.write_bytes(raw[:size])
        place = read(part)[1]
        assert place
        places[name] = place
    other = tmp_path / "other"
    other.write_bytes(raw[:-9] + b"X" + raw[-8:])  # begins alike
    found = {
        path.name: recognise(str(path), places)
        for path in (tmp_path / "long", tmp_path / "middle", other)
    }
    assert found == {"long": "long", "middle": "middle", "other": "middle"}
    log = tmp_path / "new"
    log.write_bytes(b"X" + raw[1:])
    assert recognise(str(log), {"it": places["long"]}) is None
    assert recognise("-", {"it": places["long"]}) is None


def test_what_is_appended_comes_line_by_line_once_each_line_has_ended(log: Path) -> None:
    log.write_text("one\ntw")
    follower = Follower(log)
    follower.until_lines("one")
    follower.look_around()
    append(log, "o")
    follower.look_around()
    assert follower.lines == ["one"]
    append(log, "\nthree\n")
    follower.until_lines("one", "two", "three")
    assert not follower.is_over


def test_a_log_that_does_not_exist_yet_is_waited_for(log: Path) -> None:
    follower = Follower(log)
    follower.look_around()
    log.write_text("one\n")
    follower.until_lines("one")


def test_a_renamed_log_is_read_to_its_end_and_the_writer_may_turn_late(log: Path) -> None:
    log.write_text("one\n")
    follower = Follower(log)
    follower.until_lines("one")
    old = log.rename(log.with_name("app.log.1"))
    append(old, "two\n")
    follower.until_lines("one", "two")
    assert not follower.is_over  # nothing stands at the path yet
    log.write_text("new\n")
    append(old, "three\nno end")
    follower.until_over()
    assert follower.lines == ["one", "two", "three", "no end"]
    assert not follower.log.is_cut_short
    new = Follower(log)
    new.until_lines("new")


def test_a_renamed_log_is_over_only_when_nobody_writes_to_it_any_more(log: Path) -> None:
    log.write_text("0\n")
    follower = Follower(log)
    follower.until_lines("0")
    old = log.rename(log.with_name("app.log.1"))
    log.write_text("new\n")
    for n in range(1, 9):
        append(old, f"{n}\n")
        follower.until_lines(*map(str, range(n + 1)))
        follower.look_around()
        time.sleep(0.02)
    follower.until_over()
    assert follower.lines == [str(n) for n in range(9)]


def test_a_deleted_log_is_over_when_another_one_is_made(log: Path) -> None:
    log.write_text("one\n")
    follower = Follower(log)
    follower.until_lines("one")
    append(log, "two\n")
    log.unlink()
    follower.until_lines("one", "two")
    log.write_text("new\n")
    follower.until_over()
    assert follower.lines == ["one", "two"]


def test_the_rest_of_a_truncated_log_is_read_from_its_copy(log: Path) -> None:
    log.write_text("one\ntw")
    follower = Follower(log)
    follower.until_lines("one")
    append(log, "o\nthree\n")
    shutil.copy(log, log.with_name("app.log.1"))
    os.truncate(log, 0)
    follower.until_over()
    assert follower.lines == ["one", "two", "three"]
    assert not follower.log.is_cut_short


def test_a_log_that_is_truncated_and_soon_as_long_again_is_noticed(log: Path) -> None:
    log.write_text("one\n")
    follower = Follower(log)
    follower.until_lines("one")
    log.write_text("another log, longer\n")  # the same inode
    follower.until_over()
    assert follower.lines == ["one"]
    assert follower.log.is_cut_short  # nobody kept a copy, so nobody knows


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("rotated", ["app.log.1", "app.log.2.gz", "app-20240501.log"])
def test_the_rest_of_a_log_that_was_rotated_while_nobody_read_is_found(
    log: Path, rotated: str, follow: bool
) -> None:
    place = read_of(log, "one\ntwo\n")
    raw = b"one\ntwo\nthree\nfour\n"
    old = log.with_name(rotated)
    old.write_bytes(gzip.compress(raw) if rotated.endswith("gz") else raw)
    log.with_name("app.log.9").write_text("one\nand another log\n")
    log.write_text("new\n")
    assert place
    assert recognise(str(log), {"it": place}) is None
    rest = GrowingLog(str(log), place, follow=follow, wait_seconds=0.01)
    assert texts(iter(rest)) == numbered("three", "four", first=2)
    assert (rest.location, rest.is_cut_short) == (str(old), False)


def test_where_the_rest_of_a_log_is_not_found_it_is_told(log: Path) -> None:
    place = read_of(log, "one\ntwo\n")
    log.write_text("new\n")
    rest = GrowingLog(str(log), place, follow=True)
    assert list(rest) == []
    assert rest.is_cut_short


def test_a_log_whose_folder_is_gone_is_told_too(log: Path) -> None:
    place = read_of(log, "one\n")
    rest = GrowingLog(str(log.parent / "gone" / "app.log"), place)
    assert list(rest) == []
    assert rest.is_cut_short


def test_of_a_log_that_is_written_and_rotated_all_the_time_no_line_is_lost(log: Path) -> None:
    num_lines, each = 20_000, 2_500

    def write() -> None:
        for first in range(0, num_lines, each):
            with log.open("w", buffering=1_000) as file:
                for n in range(first, first + each):
                    file.write(f"line {n}\n")
                    if n % 500 == 0:
                        file.flush()
                        time.sleep(0.005)
            if first + each < num_lines:
                time.sleep(0.05)
                log.rename(log.with_name(f"app.log.{first}"))

    writer = threading.Thread(target=write)
    writer.start()
    found: list[str] = []
    is_over = False
    while not is_over:
        follower = Follower(log)
        follower.until_over_or(f"line {num_lines - 1}")
        found += follower.lines
        found += [line for path in follower.log.missed for _, line in read(Path(path))[0]]
        is_over = not follower.is_over
    writer.join()
    assert found == [f"line {n}" for n in range(num_lines)]


def test_logs_that_were_rotated_away_while_nobody_looked_are_named_in_their_order(
    log: Path,
) -> None:
    for name in ("app.log.5", "app.err.1", "other"):
        log.with_name(name).write_text("older, or no part of it\n")
    time.sleep(0.01)
    log.write_text("one\n")
    follower = Follower(log)
    follower.until_lines("one")
    time.sleep(0.01)
    log.with_name("app.log.3.gz").write_bytes(gzip.compress(b"one\n"))  # a copy
    log.rename(log.with_name("app.log.4"))
    for name in ("app.log.2", "app.log.1"):
        time.sleep(0.01)
        log.write_text(f"was {name}\n")
        log.rename(log.with_name(name))
    log.with_name("app.err.2").write_text("another log\n")
    log.write_text("new\n")
    follower.until_over()
    assert [Path(path).name for path in follower.log.missed] == ["app.log.2", "app.log.1"]


@pytest.mark.parametrize("way", ["packed", "copied"])
def test_they_are_named_too_where_the_rest_itself_was_packed_or_copied(log: Path, way: str) -> None:
    place = read_of(log, "one\n")
    append(log, "two\n")
    if way == "packed":
        log.with_name("app.log.2.gz").write_bytes(gzip.compress(log.read_bytes()))
        log.unlink()
    else:
        shutil.copy(log, log.with_name("app.log.2"))
    time.sleep(0.01)
    log.with_name("app.log.1").write_text("missed\n")
    log.write_text("new, and as long as the one before\n")
    follower = Follower(log, place)
    follower.until_over()
    assert follower.lines == ["two"]
    assert [Path(path).name for path in follower.log.missed] == ["app.log.1"]


def test_they_are_named_too_where_a_log_was_copied_and_truncated_twice(log: Path) -> None:
    log.write_text("one\n")
    follower = Follower(log)
    follower.until_lines("one")
    append(log, "two\n")
    for name, successor in (("app.log.2", "missed log\n"), ("app.log.1", "the new log\n")):
        time.sleep(0.01)
        shutil.copy(log, log.with_name(name))
        log.write_text(successor)
    follower.until_over()
    assert follower.lines == ["one", "two"]
    assert [Path(path).name for path in follower.log.missed] == ["app.log.1"]


def test_the_look_is_at_the_file_that_is_read_and_not_at_its_successor(log: Path) -> None:
    log.write_text("one\n")
    follower = Follower(log)
    follower.until_lines("one")
    inode = log.stat().st_ino
    log.rename(log.with_name("app.log.1"))
    log.write_text("two\n")  # as long
    follower.look_around()
    assert follower.log.look
    assert (follower.log.look.inode, follower.log.look.size_bytes) == (inode, 4)


def test_a_deleted_log_is_followed_no_longer_than_its_writer_may_need(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_file, "GONE_SECONDS", 0.1)
    with log.open("w", buffering=1) as writer:
        writer.write("one\n")
        follower = Follower(log)
        follower.until_lines("one")
        log.unlink()
        writer.write("two\n")
    follower.until_over()
    assert follower.lines == ["one", "two"]


def test_rotated_logs_are_known_by_the_names_beside_them() -> None:
    live = ["a/app.log", "a/app2.log", "a/web-2026-11-20.log", "b/app.log.1", "a/syslog", "a/1.log"]
    rotated = ["a/app.log.1", "a/app.log-20261120", "a/app-2026-11-20.log", "a/syslog.2.gz"]
    assert rotations(live + rotated) == set(rotated)


@contextmanager
def standard_input(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A pipe in its place; gives the end to write to."""
    source, sink = os.pipe()
    with os.fdopen(source) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield sink


def test_a_pipe_gives_lines_as_they_come_and_ends_with_its_writer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with standard_input(monkeypatch) as sink:
        pieces = iter(GrowingLog("-", wait_seconds=0.01))
        assert next(pieces) is None
        os.write(sink, b"one\ntw")
        piece = next(pieces)
        assert piece
        assert piece.block.lines().to_pylist() == ["one"]
        assert next(pieces) is None
        os.write(sink, b"o")
        os.close(sink)
        assert texts(pieces) == [(1, "two")]


def test_what_a_pipe_holds_does_not_wait_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with standard_input(monkeypatch) as sink:
        os.write(sink, b"one\n")
        began = time.monotonic()
        assert next(iter(GrowingLog("-", wait_seconds=LIMIT_SECONDS)))
        assert time.monotonic() - began < LIMIT_SECONDS / 2
        os.close(sink)


@pytest.mark.slow
def test_a_pipe_of_another_program_is_read_at_once_in_large_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = "for n in range(50_000): print('line', n)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout
        monkeypatch.setattr(sys, "stdin", child.stdout)
        lines = texts(iter(GrowingLog("-")))
    assert lines == numbered(*(f"line {n}" for n in range(50_000)))


def test_a_follower_gives_its_reader_a_turn_while_nothing_comes(log: Path) -> None:
    log.touch()
    pieces = iter(GrowingLog(str(log), follow=True))
    began = time.monotonic()
    assert [next(pieces) for _ in range(4)] == [None] * 4
    assert time.monotonic() - began < 1
