"""A seeded log in the shape of BlueGene/L's, with known truth, for demos and tests.

What makes real logs hard is in it: alerts as bursts and as single lines among ordinary ones,
episodes whose order alone tells a failure from a recovery, new wordings and new messages after the
split (unstable logs), lines without content (0.73 %, as in BGL), bytes that are not UTF-8.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from logllm_core.errors import LogLLMError
from logllm_core.progress import track
from logllm_core.store import Json

VERSION = 1  # raise when the same seed would give another log
NORMAL = "-"
START_SECONDS = 1_117_838_570
MEAN_GAP_SECONDS = 2.0
UNSTABLE_FROM_FRACTION = 0.8  # of the lines: where new wordings and new messages set in
NO_CONTENT_FRACTION = 0.0073
ODD_BYTES_FRACTION = 0.0005
EPISODES_PER_LINE = 0.02
FLUSH_LINES = 10_000


class Ordinary(NamedTuple):
    """A message of everyday operation."""

    weight: float
    component: str
    level: str
    text: str
    later: str = ""  # its wording after the split, where that changes
    is_new: bool = False  # appears only after the split


class Line(NamedTuple):
    tag: str
    component: str
    level: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """Lines that come together, in order."""

    weight: float
    lines: tuple[Line, ...]
    repeats: tuple[int, int] = (1, 1)  # the whole, as often as drawn from this range
    gap: int = 0  # at most so many ordinary lines before each line
    is_new: bool = False  # appears only after the split


def _info(text: str) -> Line:
    return Line(NORMAL, "KERNEL", "INFO", text)


def _kernel(tag: str, text: str) -> Line:
    return Line(tag, "KERNEL", "FATAL", text)


def _app(tag: str, text: str) -> Line:
    return Line(tag, "APP", "FATAL", text)


# {d} {n} small and large numbers, {x} {h} hexadecimal, {l} a location, {i} an address, {p} a path
ORDINARY = (
    Ordinary(30, "KERNEL", "INFO", "instruction cache parity error corrected"),
    Ordinary(40, "KERNEL", "INFO", "generating core.{n}"),
    Ordinary(22, "KERNEL", "INFO", "{n} double-hummer alignment exceptions"),
    Ordinary(
        20,
        "KERNEL",
        "INFO",
        "CE sym {d}, at {x}, mask {h}",
        later="CE symptom {d} at address {x}, mask is {h}",
    ),
    Ordinary(14, "KERNEL", "INFO", "{d} ddr errors(s) detected and corrected on rank {d}, symbol"),
    Ordinary(14, "KERNEL", "INFO", "{n} L3 EDRAM error(s) (dcr {h}) detected and corrected"),
    Ordinary(12, "KERNEL", "INFO", "total of {d} ddr error(s) detected and corrected"),
    Ordinary(8, "KERNEL", "INFO", "ciod: generated {n} core files for program {p}"),
    Ordinary(8, "KERNEL", "INFO", "{n} floating point alignment exceptions"),
    Ordinary(7, "KERNEL", "INFO", "iar {x} dear {x}"),
    Ordinary(3, "KERNEL", "INFO", "shutdown complete"),
    Ordinary(
        5,
        "KERNEL",
        "INFO",
        "{n} tree receiver {d} in re-synch state event(s) (dcr {h}) detected",
        later="tree receiver {d} reported {n} re-synch state events, dcr {h}",
    ),
    Ordinary(4, "KERNEL", "INFO", "{n} torus receiver x+ input pipe error(s) (dcr {h}) corrected"),
    Ordinary(2, "KERNEL", "WARNING", "MACHINE CHECK DCR read timeout (mc={x} iar={x} lr={x})"),
    Ordinary(6, "APP", "INFO", "ciod: login of user on node {l} accepted"),
    Ordinary(2.5, "APP", "WARNING", "ciod: Error creating node map from file {p}: No child"),
    Ordinary(4, "DISCOVERY", "INFO", "Node card VPD check: U{n} node in processor card slot {l}"),
    Ordinary(2, "DISCOVERY", "INFO", "New ido chip inserted into the database: FF:F2:9F:16:C0:A1"),
    Ordinary(1.5, "DISCOVERY", "WARNING", "Node card is not fully functional"),
    Ordinary(1, "HARDWARE", "WARNING", "PrepareForService is being done on this part mLctn({l})"),
    Ordinary(1, "HARDWARE", "INFO", "Temperature Over Limit on link card, {n} was clipped"),
    Ordinary(2, "MMCS", "INFO", "idoproxydb has been started: $Name: V1R1M1 $ Input: -enableflush"),
    Ordinary(2, "MMCS", "INFO", "mmcs_server_connect started on port {n}"),
    Ordinary(3, "MONITOR", "INFO", "fan module {d} speed {n} rpm within limits"),
    Ordinary(2, "KERNEL", "INFO", "wait state enable.....................{d}"),
    Ordinary(3, "KERNEL", "INFO", "exception syndrome register: {x}"),
    Ordinary(2, "KERNEL", "INFO", "critical input interrupt enable...{d}"),
    Ordinary(2, "KERNEL", "INFO", "debug interrupt enable............{d}"),
    Ordinary(6, "KERNEL", "INFO", "program counter {x} after checkpoint to {p}", is_new=True),
    Ordinary(5, "MONITOR", "INFO", "power module {l} output current {n} mA nominal", is_new=True),
    Ordinary(5, "APP", "INFO", "job scheduler heartbeat from {i} acknowledged", is_new=True),
)
_MOUNT = "Lustre mount FAILED"
_PREFIX = "ciod: Error reading message prefix"
_RETRANSMISSIONS = "torus link sender retransmission count exceeded"
_RESET = "link reset requested by service node"
EPISODES = (
    # Alerts in bursts.
    Episode(weight=5, lines=(_kernel("KERNDTLB", "data TLB error interrupt"),), repeats=(3, 25)),
    Episode(
        weight=4, lines=(_kernel("KERNSTOR", "data storage interrupt"),), repeats=(2, 12), gap=1
    ),
    Episode(
        weight=3,
        lines=(
            _app(
                "APPSEV",
                f"{_PREFIX} after LOGIN_MESSAGE on CioStream socket to {{i}}: Link severed",
            ),
        ),
        repeats=(2, 10),
    ),
    # Alerts as single lines among ordinary ones.
    Episode(weight=5, lines=(_kernel("KERNMNTF", f"{_MOUNT} : {{l}} : block_id : location"),)),
    Episode(
        weight=5,
        lines=(
            _app(
                "APPREAD",
                "ciod: failed to read message prefix on control stream (CioStream socket to {i}",
            ),
        ),
    ),
    Episode(weight=4, lines=(_kernel("KERNPAN", "kernel panic"),)),
    Episode(weight=4, lines=(_kernel("KERNRTSP", "rts panic! - stopping execution"),)),
    # The same two lines, told apart by their order: failing after the reset is the alert.
    Episode(weight=5, lines=(_info(_RESET), _kernel("KERNLINK", _RETRANSMISSIONS)), gap=1),
    Episode(weight=14, lines=(_info(_RETRANSMISSIONS), _info(_RESET)), gap=1),
    # Everyday episodes.
    Episode(weight=60, lines=(_info("generating core.{n}"),), repeats=(4, 15)),
    Episode(
        weight=30,
        lines=(
            _info("program interrupt: illegal instruction.....{d}"),
            _info("program interrupt: privileged instruction..{d}"),
            _info("program interrupt: trap instruction........{d}"),
        ),
    ),
    # After the split: known failures in new words, and failures never seen before.
    Episode(
        weight=5,
        lines=(_kernel("KERNTLBE", "instruction TLB error interrupt"),),
        repeats=(1, 8),
        is_new=True,
    ),
    Episode(
        weight=4,
        lines=(_kernel("KERNMNTF", f"{_MOUNT} on {{l}}, giving up after {{d}} attempts"),),
        is_new=True,
    ),
    Episode(
        weight=4,
        lines=(_app("APPALLOC", f"{_PREFIX} on CioStream socket to {{i}}: Connection reset"),),
        is_new=True,
    ),
    Episode(
        weight=2,
        lines=(_kernel("KERNTERM", "rts: kernel terminated for reason {n}"),),
        is_new=True,
    ),
)

_SLOT = re.compile(r"\{([a-z])\}")
_FILLERS: dict[str, Callable[[random.Random], str]] = {
    "d": lambda rng: str(rng.randrange(1, 32)),
    "n": lambda rng: str(rng.randrange(32, 20_000)),
    "x": lambda rng: f"0x{rng.getrandbits(32):08x}",
    "h": lambda rng: f"0x{rng.getrandbits(12):04x}",
    "l": lambda rng: f"R{rng.randrange(64):02d}-M{rng.randrange(2)}-N{rng.randrange(16):X}",
    "i": lambda rng: (
        f"172.16.{rng.randrange(96, 112)}.{rng.randrange(256)}:{rng.randrange(32768, 61000)}"
    ),
    "p": lambda rng: (
        f"/p/gb{rng.randrange(1, 3)}/user{rng.randrange(40)}/run{rng.randrange(900)}/a.out"
    ),
}


def write_log(
    path: Path,
    *,
    num_lines: int,
    seed: int,
    unstable_from_fraction: float = UNSTABLE_FROM_FRACTION,
) -> dict[str, Json]:
    """Write a log of exactly `num_lines` lines and return its truth: counts and alert types.

    Raises:
        LogLLMError: the file exists already.
    """
    if path.exists():
        raise LogLLMError(f"{path} exists already. Choose another file, or delete it first.")
    first_late = num_lines * unstable_from_fraction
    unfinished = path.with_name(f".{path.name}.unfinished")
    alerts: Counter[str] = Counter()
    num_unparsable = 0
    with (
        unfinished.open("wb") as file,
        track("Simulating", total=num_lines, unit="lines") as advance,
    ):
        for number, (tag, line) in enumerate(_lines(num_lines, first_late, random.Random(seed))):
            file.write(line)
            num_unparsable += tag is None
            if tag not in (None, NORMAL):
                alerts[tag] += 1
            if number % FLUSH_LINES == FLUSH_LINES - 1:
                advance(FLUSH_LINES)
    unfinished.rename(path)
    return {
        "num_lines": num_lines,
        "num_alert_lines": alerts.total(),
        "num_unparsable_lines": num_unparsable,
        "alert_types": dict(sorted(alerts.items())),
        "size_bytes": path.stat().st_size,
    }


def _lines(
    num_lines: int, first_late: float, rng: random.Random
) -> Iterator[tuple[str | None, bytes]]:
    """Alert tag (None where the line cannot be parsed) and bytes of each line."""
    now = float(START_SECONDS)
    messages = _messages(first_late, rng)
    for _ in range(num_lines):
        tag, component, level, text = next(messages)
        now += rng.expovariate(1 / MEAN_GAP_SECONDS)
        time = datetime.fromtimestamp(now, UTC)
        node = f"{_FILLERS['l'](rng)}-C:J{rng.randrange(18):02d}-U{rng.choice(('01', '11'))}"
        head = (
            f"{tag} {int(now)} {time:%Y.%m.%d} {node} {time:%Y-%m-%d-%H.%M.%S.%f} {node} RAS "
            f"{component} {level}"
        ).encode()
        chance = rng.random()
        if tag == NORMAL and chance < NO_CONTENT_FRACTION:
            yield None, head + b"\n"
            continue
        content = _SLOT.sub(lambda slot: _FILLERS[slot[1]](rng), text).encode()
        if chance > 1 - ODD_BYTES_FRACTION:
            content += b" \xe9\xff\x00\x85"
        yield tag, head + b" " + content + b"\n"


def _messages(first_late: float, rng: random.Random) -> Iterator[Line]:
    """Endless messages as templates; what is new appears after the split."""
    num_written = 0

    def is_late() -> bool:
        return num_written >= first_late

    def ordinary() -> Line:
        known = [message for message in ORDINARY if is_late() or not message.is_new]
        chosen = rng.choices(known, [message.weight for message in known])[0]
        text = chosen.later if is_late() and chosen.later else chosen.text
        return Line(NORMAL, chosen.component, chosen.level, text)

    def episode() -> Iterator[Line]:
        known = [episode for episode in EPISODES if is_late() or not episode.is_new]
        chosen = rng.choices(known, [episode.weight for episode in known])[0]
        for _ in range(rng.randint(*chosen.repeats)):
            for line in chosen.lines:
                for _ in range(rng.randint(0, chosen.gap)):
                    yield ordinary()
                yield line

    while True:
        for line in episode() if rng.random() < EPISODES_PER_LINE else (ordinary(),):
            yield line
            num_written += 1
