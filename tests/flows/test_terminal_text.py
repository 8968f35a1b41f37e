"""What commands print of what they found."""

import io
import json
import logging

import pytest
from loguru import logger
from rich.console import Console

from flows import run_log
from flows.display import BarDisplay
from flows.terminal_text import legible, print_json, shared_notes

# Escapes of a terminal, of both kinds; a mark that turns the direction; half a surrogate pair.
HOSTILE = "\x1b[2J \x9b2J \x85 \x7f \u202e \u2066 \ud800"


def test_what_shares_a_reason_shares_a_line() -> None:
    notes = [("raw", "x"), ("20 lines", "sessions"), ("LogLLM", ""), ("50 lines", "sessions")]
    notes += [("beta", "not asked"), ("raw", "y")]
    assert shared_notes(notes, "not asked") == ["raw: x", "20 lines, 50 lines: sessions", "raw: y"]


def test_no_control_of_a_terminal_is_shown() -> None:
    assert legible(HOSTILE) == "�[2J �2J � � � � �"


def test_json_is_ascii_and_holds_what_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"line": HOSTILE + "ö"})
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert shown.strip().isprintable()
    assert json.loads(shown) == {"line": HOSTILE + "ö"}


def test_a_runs_log_lines_hold_no_control(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("prefect.logging.get_run_logger", lambda: logging.getLogger("run"))
    run_log.log_to_prefect()
    with caplog.at_level(logging.INFO, "run"):
        logger.info("{}", HOSTILE)
    assert caplog.messages == [legible(HOSTILE)]


def test_a_bar_shows_a_files_name_as_it_is_without_controls() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    display = BarDisplay(console)
    with display.track("Checking [bold]a\x9b2J.log", 3, "bytes") as advance:
        advance(1)
        console.print(display._bars)
    assert "Checking [bold]a�2J.log" in console.file.getvalue()  # type: ignore[attr-defined]
