"""How a line is read: its fields, its time, its session."""

import re
from datetime import UTC, datetime
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from logllm_core.config import Settings
from logllm_core.logs.records.line_cutter import MAX_LINE_BYTES

CONTENT = "content"
EPOCH, EPOCH_MS, ISO = "epoch", "epoch_ms", "iso"
NAMED_TIME_FORMATS = (EPOCH, EPOCH_MS, ISO)
# Of a format as strptime reads it. Others are passed over without a word, or take a width, and what
# is long takes its time with every line.
TIME_DIRECTIVES = "aAbBcdDeFhHIjkmMnprRsStTxXyYzZ%"
TIME_FORMAT = re.compile(rf"(?:[^%\0]|%[{TIME_DIRECTIVES}]){{1,100}}")
# A format without a year is read as of 1900, which began on the same day of the week.
EXAMPLE_TIME = datetime(2018, 6, 13, 15, 42, 50, tzinfo=UTC)
FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*")
MAX_PATTERN_CHARACTERS = 4_096  # RE2 itself takes the square of this
SINGLE_BYTE = re.compile(r"(?<!\\)(?:\\\\)*+\\C")


def whole(pattern: str) -> str:
    """The pattern for a whole line."""
    return f"^(?:{pattern})$"


def first_match(pattern: str) -> str:
    """The pattern with its match as the group `match`."""
    return f"(?P<match>{pattern})"


def group_names(pattern: str) -> tuple[str, ...] | None:
    """The names of a pattern's groups, in order; None where one has none.

    RE2 is asked, which runs it: Python's engine knows other patterns, and takes years over some.

    Raises:
        ValueError: it is no pattern, too long, or could cut a character in two.
    """
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise ValueError(f"the pattern is longer than {MAX_PATTERN_CHARACTERS:,} characters")
    if SINGLE_BYTE.search(pattern):
        raise ValueError(r"\C matches a part of a character; write . for any character")
    nothing = pa.array([""])
    try:
        pc.match_substring_regex(nothing, pattern)
        pc.match_substring_regex(nothing, whole(pattern))  # not so where a \Q has no \E
    except pa.ArrowInvalid as fault:
        raise ValueError(f"not a regular expression as RE2 reads them: {fault}") from None
    try:
        return tuple(field.name for field in pc.extract_regex(nothing, pattern).type)
    except pa.ArrowInvalid:
        return None


def check_match(pattern: str, *, is_called: str) -> None:
    """Whether the matches of a pattern are texts of their own; `is_called` tells what one is.

    Raises:
        ValueError: it has groups, or matches the empty text.
    """
    if group_names(pattern) != ():
        raise ValueError(f"the whole match {is_called}; write (?:...) for groups")
    # A boundary such as \b is nowhere in the empty text, but is empty itself.
    matches = pc.extract_regex(pa.array(["", "a", " a b "]), first_match(pattern))
    if pc.any(pc.equal(matches.field("match"), "").filter(matches.is_valid())).as_py():
        raise ValueError("the pattern matches the empty text; it must match at least one sign")


class LineFormat(Settings):
    """How a line is cut into fields, by one of two rules.

    `fields`: separated by runs of white space; the last one, `content`, is the rest of the line.
    `pattern`: a regular expression (RE2) with named groups, `content` among them, that matches the
    whole line. Only the content reaches the model.
    """

    fields: tuple[str, ...] = ()
    pattern: str | None = None
    time_fields: tuple[str, ...] = ()
    # "epoch" (seconds), "epoch_ms", "iso" (2024-05-01T12:00:00.123), or as strptime reads it.
    time_format: str | None = None
    session_pattern: str | None = None  # every distinct match in the content is a session id
    session_field: str | None = None  # or: the field that holds the session id
    max_unparsed_fraction: float = Field(default=0.01, ge=0, le=1)
    max_line_bytes: int = Field(default=MAX_LINE_BYTES, ge=1_000, le=256 << 20)  # more is cut

    @property
    def names(self) -> tuple[str, ...]:
        """All fields of a line."""
        return self.fields if self.pattern is None else group_names(self.pattern) or ()

    @property
    def wanted(self) -> str:
        """What a line should look like, for errors."""
        return self.pattern or " ".join(self.fields)

    @property
    def has_sessions(self) -> bool:
        return self.session_pattern is not None or self.session_field is not None

    @model_serializer(mode="wrap")
    def _as_before(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        """The usual limit is not named: what was made before there was one stays what it is."""
        values: dict[str, object] = serialize(self)
        if self.max_line_bytes == MAX_LINE_BYTES:
            values.pop("max_line_bytes", None)
        return values

    @field_validator("fields")
    @classmethod
    def _fields_are_names(cls, fields: tuple[str, ...]) -> tuple[str, ...]:
        if fields and fields[-1] != CONTENT:
            raise ValueError(f'the last field must be "{CONTENT}"')
        _check_names(fields)
        return fields

    @field_validator("pattern")
    @classmethod
    def _pattern_names_the_content(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        names = group_names(pattern)
        if names is None:
            raise ValueError("every group needs a name; write (?:...) for the others")
        if CONTENT not in names:
            raise ValueError(f"a group (?P<{CONTENT}>...) is missing")
        _check_names(names)
        return pattern

    @field_validator("session_pattern")
    @classmethod
    def _session_pattern_matches_something(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            check_match(pattern, is_called="is the session id")
        return pattern

    @field_validator("time_format")
    @classmethod
    def _time_format_is_read(cls, time_format: str | None) -> str | None:
        if time_format is None or time_format in NAMED_TIME_FORMATS:
            return time_format
        if not _is_read_back(time_format):
            raise ValueError(
                f"a time cannot be read back with it; wanted {', '.join(NAMED_TIME_FORMATS)}, or a "
                'format such as "%Y-%m-%d %H:%M:%S", of at most 100 signs and of the directives '
                f'{" ".join(TIME_DIRECTIVES)} (fractions of a second are read by "iso" alone)'
            )
        return time_format

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if bool(self.fields) == (self.pattern is not None):
            raise ValueError("give either fields or pattern")
        if strange := set(self.time_fields) - set(self.names):
            raise ValueError(f"time_fields names {sorted(strange)}, which are not among the fields")
        if bool(self.time_fields) != (self.time_format is not None):
            raise ValueError("time_fields and time_format go together")
        if self.session_field is not None and self.session_field not in self.names:
            raise ValueError(f'session_field "{self.session_field}" is not among the fields')
        if self.session_field is not None and self.session_pattern is not None:
            raise ValueError("give either session_pattern or session_field")
        return self


def _is_read_back(time_format: str) -> bool:
    """Whether a time that is written so is read as one that is written the same."""
    if "%" not in time_format or not TIME_FORMAT.fullmatch(time_format):
        return False  # Arrow crashes on a format that is empty
    written = EXAMPLE_TIME.strftime(time_format)
    times = pc.strptime(pa.array([written]), format=time_format, unit="s", error_is_null=True)
    time = times[0].as_py()
    return time is not None and time.replace(tzinfo=UTC).strftime(time_format) == written


def _check_names(names: tuple[str, ...]) -> None:
    if any(not FIELD_NAME.fullmatch(name) for name in names):
        raise ValueError("field names are lower-case letters, digits and underscores")
    if len(set(names)) < len(names):
        raise ValueError("field names must differ from each other")
