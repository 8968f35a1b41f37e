"""What commands print of what they found."""

from flows.showing import shared_notes


def test_what_shares_a_reason_shares_a_line() -> None:
    notes = [("raw", "x"), ("20 lines", "sessions"), ("LogLLM", ""), ("50 lines", "sessions")]
    notes += [("beta", "not asked"), ("raw", "y")]
    assert shared_notes(notes, "not asked") == ["raw: x", "20 lines, 50 lines: sessions", "raw: y"]
