"""What BlueGene/L logs, and when: everyday lines, episodes, and the words that fill them.

Alerts as bursts and as single lines among ordinary ones, episodes whose order alone tells a failure
from a recovery, new wordings and new messages after the split (unstable logs).
"""

from logllm_core.logs.simulator.traffic import NORMAL, Episode, Line, Ordinary


def _info(text: str) -> Line:
    return Line(NORMAL, "KERNEL INFO", text)


def _kernel(tag: str, text: str) -> Line:
    return Line(tag, "KERNEL FATAL", text)


def _app(tag: str, text: str) -> Line:
    return Line(tag, "APP FATAL", text)


# The slots are in `bgl`: {d} {c} {n} numbers from small to large, {x} any word, {a} one of few
# addresses, {h} a mask, {l} a location, {i} an address of the net, {p} a path.
ORDINARY = (
    Ordinary(30, "KERNEL INFO", "instruction cache parity error corrected"),
    Ordinary(40, "KERNEL INFO", "generating core.{n}"),
    Ordinary(22, "KERNEL INFO", "{n} double-hummer alignment exceptions"),
    Ordinary(
        20,
        "KERNEL INFO",
        "CE sym {d}, at {a}, mask {h}",
        later="CE symptom {d} at address {a}, mask is {h}",
    ),
    Ordinary(14, "KERNEL INFO", "{d} ddr errors(s) detected and corrected on rank {d}, symbol"),
    Ordinary(14, "KERNEL INFO", "{c} L3 EDRAM error(s) (dcr {h}) detected and corrected"),
    Ordinary(12, "KERNEL INFO", "total of {d} ddr error(s) detected and corrected"),
    Ordinary(8, "KERNEL INFO", "ciod: generated {d} core files for program {p}"),
    Ordinary(8, "KERNEL INFO", "{n} floating point alignment exceptions"),
    Ordinary(7, "KERNEL INFO", "iar {x} dear {x}"),
    Ordinary(3, "KERNEL INFO", "shutdown complete"),
    Ordinary(
        5,
        "KERNEL INFO",
        "{d} tree receiver {d} in re-synch state event(s) (dcr {h}) detected",
        later="tree receiver {d} reported {d} re-synch state events, dcr {h}",
    ),
    Ordinary(4, "KERNEL INFO", "{c} torus receiver x+ input pipe error(s) (dcr {h}) corrected"),
    Ordinary(2, "KERNEL WARNING", "MACHINE CHECK DCR read timeout (mc={x} iar={x} lr={x})"),
    Ordinary(6, "APP INFO", "ciod: login of user on node {l} accepted"),
    Ordinary(2.5, "APP WARNING", "ciod: Error creating node map from file {p}: No child"),
    Ordinary(4, "DISCOVERY INFO", "Node card VPD check: U01 node in processor card slot {l}"),
    Ordinary(2, "DISCOVERY INFO", "New ido chip inserted into the database: FF:F2:9F:16:C0:A1"),
    Ordinary(1.5, "DISCOVERY WARNING", "Node card is not fully functional"),
    Ordinary(1, "HARDWARE WARNING", "PrepareForService is being done on this part mLctn({l})"),
    Ordinary(1, "HARDWARE INFO", "Temperature Over Limit on link card, {c} was clipped"),
    Ordinary(2, "MMCS INFO", "idoproxydb has been started: $Name: V1R1M1 $ Input: -enableflush"),
    Ordinary(2, "MMCS INFO", "mmcs_server_connect started on port {n}"),
    Ordinary(3, "MONITOR INFO", "fan module {d} speed {c} rpm within limits"),
    Ordinary(2, "KERNEL INFO", "wait state enable.....................{d}"),
    Ordinary(3, "KERNEL INFO", "exception syndrome register: {a}"),
    Ordinary(2, "KERNEL INFO", "critical input interrupt enable...{d}"),
    Ordinary(2, "KERNEL INFO", "debug interrupt enable............{d}"),
    # Rare ones, and many: each word makes another masked message.
    Ordinary(0.25, "KERNEL INFO", "{d} {trouble} on the {unit}"),
    Ordinary(0.1, "KERNEL INFO", "{flag} enable.............{d}"),
    Ordinary(0.05, "HARDWARE WARNING", "{unit} replaced on {l}, {trouble} cleared"),
    Ordinary(6, "KERNEL INFO", "program counter {a} after checkpoint to {p}", is_new=True),
    Ordinary(5, "MONITOR INFO", "power module {l} output current {d} mA nominal", is_new=True),
    Ordinary(5, "APP INFO", "job scheduler heartbeat from {i} acknowledged", is_new=True),
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

UNITS = (
    "data cache",
    "instruction cache",
    "prefetch buffer",
    "memory controller",
    "torus injection queue",
    "tree arbiter",
    "service port",
    "lockbox",
    "floating point unit",
    "interrupt controller",
    "ethernet receiver",
    "global barrier",
    "scratch memory",
    "clock generator",
    "processor local bus",
)
TROUBLES = (
    "parity errors",
    "retries",
    "resets",
    "underruns",
    "overflows",
    "timeouts",
    "stale entries",
    "lost credits",
    "dropped packets",
    "sequence errors",
)
FLAGS = (
    "machine check",
    "problem state",
    "trace mode",
    "write buffer",
    "store gathering",
    "broadcast",
    "imprecise exception",
    "external input",
    "watchdog timer",
    "fixed interval timer",
    "guarded storage",
    "speculative load",
    "address translation",
    "branch prediction",
    "byte ordering",
    "cache inhibit",
)
