"""The line formats that a draft is guessed from: one row each, the more specific before others.

A new format is one more row, and a few lines of it in `tests/logs/drafting/test_draft.py`.
"""

from dataclasses import dataclass

from logllm_core.logs.catalog.catalog import FieldLabels
from logllm_core.logs.catalog.line_format import CONTENT, EPOCH, EPOCH_MS, ISO, LineFormat

_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
_TIME = rf"\[?(?P<time>{_ISO})\]?"
_LEVEL = (
    r"(?P<level>(?i:trace|debug|info|notice|warn(?:ing)?|err(?:or)?|crit(?:ical)?|fatal|severe|"
    r"alert|emerg|panic))"
)
_CONTENT = rf"(?P<{CONTENT}>\S.*)"
_PROGRAM = r"(?P<program>[^\s:\[]+)(?:\[(?P<pid>[^\]]*)\])?: "
_NO_YEAR = (
    "The lines name no year, so their times are read as of 1900: 29 February is read as 1 March, "
    "and January comes before December. Cut windows by count where a log crosses these."
)
_NO_ZONE = "The zone is left out: times are read as if they were UTC."


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownFormat:
    """A format that lines are recognised by.

    Args:
        title: what a person calls it.
        marks: a regular expression that the beginning of its lines matches, where words separated
            by white space alone would match other logs, too.
        labels: of a format in which lines carry them.
        note: what a person should know of it, written into the draft.
    """

    title: str
    line: LineFormat
    marks: str = ""
    labels: FieldLabels | None = None
    note: str = ""


def _words(fields: str, time_format: str, *time_fields: str) -> LineFormat:
    return LineFormat(
        fields=tuple(fields.split()), time_fields=time_fields, time_format=time_format
    )


def _pattern(pattern: str, time_format: str, *time_fields: str) -> LineFormat:
    fields = time_fields or ("time",)
    return LineFormat(pattern=pattern, time_fields=fields, time_format=time_format)


KNOWN_FORMATS = (
    KnownFormat(
        title="BlueGene/L",
        line=_words(
            "label epoch date node full_time node_repeated type component level content",
            *(EPOCH, "epoch"),
        ),
        marks=r"\S+ \d{9,10} \d{4}\.\d\d\.\d\d \S+ \d{4}-\d\d-\d\d-\d\d\.\d\d\.\d\d",
        labels=FieldLabels(kind="field"),
    ),
    KnownFormat(
        title="Thunderbird, Liberty or Spirit",
        line=_words(
            "label epoch date admin month day time admin_address content", *(EPOCH, "epoch")
        ),
        marks=r"\S+ \d{9,10} \d{4}\.\d\d\.\d\d \S+ [A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d ",
        labels=FieldLabels(kind="field"),
    ),
    KnownFormat(
        title="HDFS",
        line=_words("date time pid level component content", "%y%m%d %H%M%S", "date", "time"),
        marks=r"\d{6} \d{6} \d+ [A-Z]+ \S+: ",
        note="The lines of one block are one session: --like hdfs drafts that.",
    ),
    KnownFormat(
        title="a label, then seconds since 1970",
        line=_words("label epoch content", EPOCH, "epoch"),
        marks=r"- 1\d{9}\s",  # of the normal lines; most lines must be
        labels=FieldLabels(kind="field"),
    ),
    KnownFormat(
        title="syslog (RFC 5424)",
        line=_pattern(
            rf"(?:<\d{{1,3}}>)?\d{{1,2}} (?P<time>{_ISO}) (?P<host>\S+) (?P<program>\S+) "
            r"(?P<pid>\S+) (?P<message_code>\S+) (?P<facts>-|(?:\[(?:[^\]\\]|\\.)*\])+) "
            rf"{_CONTENT}",
            ISO,
        ),
    ),
    KnownFormat(
        title="syslog (RFC 3164)",
        line=_pattern(
            r"(?:<\d{1,3}>)?(?P<time>[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d) (?P<host>\S+) "
            rf"(?:{_PROGRAM})?{_CONTENT}",
            "%b %d %H:%M:%S",
        ),
        note=_NO_YEAR,
    ),
    KnownFormat(
        title="Apache or nginx access log",
        line=_pattern(
            r"(?:\S+:\d+ )?(?P<client>\S+) (?P<identity>\S+) (?P<user>.+?) "
            r"\[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d)(?: [+-]\d{4})?\] "
            rf"{_CONTENT}",
            "%d/%b/%Y:%H:%M:%S",
        ),
        note=_NO_ZONE,
    ),
    KnownFormat(
        title="Apache error log",
        line=_pattern(
            r"\[(?P<date>[A-Z][a-z]{2} [A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d)(?:\.\d+)? "
            rf"(?P<year>\d{{4}})\] (?:\[(?P<level>[^\]]*)\] )?{_CONTENT}",
            *("%a %b %d %H:%M:%S %Y", "date", "year"),
        ),
    ),
    KnownFormat(
        title="nginx error log",
        line=_pattern(
            r"(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(?P<level>[a-z]+)\] "
            rf"(?P<pid>\d+)#\d+: {_CONTENT}",
            "%Y/%m/%d %H:%M:%S",
        ),
    ),
    KnownFormat(
        title="Spring Boot",
        line=_pattern(
            rf"{_TIME}\s+{_LEVEL}\s+(?P<pid>\d+) --- (?:\[[^\]]*\]\s*)+(?P<logger>\S+)\s*: "
            rf"\s*{_CONTENT}",
            ISO,
        ),
    ),
    KnownFormat(
        title="time, level, logger (log4j, logback, Python)",
        line=_pattern(
            rf"{_TIME}\s+(?:\[[^\]]*\]\s+)?{_LEVEL}\s+(?:\[[^\]]*\]\s+)?"
            rf"(?P<logger>\S+?)(?::| -)\s+{_CONTENT}",
            ISO,
        ),
    ),
    KnownFormat(
        title="time, logger, level (Python)",
        line=_pattern(rf"{_TIME} - (?P<logger>\S+) - {_LEVEL} - {_CONTENT}", ISO),
    ),
    KnownFormat(
        title="time (ISO 8601) and level",
        line=_pattern(
            rf"{_TIME}[\s,|:-]+(?:\[?\d+\]?\s+)?\[?{_LEVEL}\b[\]:,]*\s+(?:[|:-]\s+)?{_CONTENT}", ISO
        ),
    ),
    KnownFormat(
        title="syslog with times in ISO 8601",
        line=_pattern(rf"(?P<time>{_ISO}) (?P<host>\S+) {_PROGRAM}{_CONTENT}", ISO),
    ),
    KnownFormat(
        title="time (ISO 8601)",
        line=_pattern(rf"{_TIME}(?:,|:|\s+[|:-])?\s+{_CONTENT}", ISO),
    ),
    KnownFormat(
        title="Spark",
        line=_pattern(
            rf"(?P<time>\d\d/\d\d/\d\d \d\d:\d\d:\d\d) {_LEVEL} (?P<logger>\S+): {_CONTENT}",
            "%y/%m/%d %H:%M:%S",
        ),
    ),
    KnownFormat(
        title="Go",
        line=_pattern(
            rf"(?P<time>\d{{4}}/\d\d/\d\d \d\d:\d\d:\d\d)(?:\.\d+)? {_CONTENT}",
            "%Y/%m/%d %H:%M:%S",
        ),
    ),
    KnownFormat(
        title="Kubernetes (klog, glog)",
        line=_pattern(
            r"(?P<level>[IWEF])(?P<time>\d{4} \d\d:\d\d:\d\d)\.\d+\s+(?P<pid>\d+) "
            rf"(?P<place>[^\]\s]+)\] {_CONTENT}",
            "%m%d %H:%M:%S",
        ),
        note=_NO_YEAR,
    ),
    KnownFormat(
        title="milliseconds since 1970",
        line=_pattern(rf"\[?(?P<epoch>1\d{{12}})\]?[:,]?\s+{_CONTENT}", EPOCH_MS, "epoch"),
    ),
    KnownFormat(
        title="seconds since 1970",
        line=_pattern(rf"\[?(?P<epoch>1\d{{9}})(?:\.\d+)?\]?[:,]?\s+{_CONTENT}", EPOCH, "epoch"),
    ),
)
# Where none of them is recognised: every line is a message, and has no time.
BARE_LINES = KnownFormat(
    title="no known format",
    line=LineFormat(fields=(CONTENT,)),
    note="Where a line begins with a time or other fields, name them: the model should not "
    "read them.",
)
