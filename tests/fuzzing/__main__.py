"""`python -m tests.fuzzing --inputs 1000000`: hostile inputs, counted; stops at the first fault."""

import argparse
import faulthandler
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from tests.fuzzing import parser, records, settings_files, streams

Fuzzer = Callable[[Random], list[str]]  # what became of each input
FUZZERS: dict[str, tuple[Fuzzer, float]] = {  # with its share of the inputs
    "parser": (parser.fuzz, 0.6),
    "settings files": (settings_files.fuzz, 0.35),
    "streams": (streams.fuzz, 0.03),
    "records": (records.fuzz, 0.02),
}
MAX_SECONDS = 1.0  # of the processor, for one draw
HANGS_SECONDS = 120.0


def run(name: str, *, num_inputs: int, seed: int = 0, first: int = 0) -> Counter[str]:
    """Try so many inputs, or a few more, from that draw on; what became of them.

    Raises:
        RuntimeError: naming the draw whose fault is its cause.
    """
    fuzz, _ = FUZZERS[name]
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    began = time.perf_counter()
    number = first
    while outcomes.total() < num_inputs:
        started = time.thread_time()
        try:
            with _never_hanging():
                outcomes.update(fuzz(Random(f"{seed}/{name}/{number}")))
            seconds = time.thread_time() - started
            assert seconds < MAX_SECONDS, f"it took {seconds:.1f} s"
        except Exception as fault:
            again = f"--only '{name}' --seed {seed} --first {number} --inputs 1"
            raise RuntimeError(f"python -m tests.fuzzing {again}") from fault
        slowest = max(slowest, seconds)
        number += 1
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.most_common())
    took = time.perf_counter() - began
    print(f"{name}: {outcomes.total():,} inputs in {took:.0f} s, the slowest draw {slowest:.2f} s")
    print(f"  {told}", flush=True)
    return outcomes


@contextmanager
def _never_hanging() -> Iterator[None]:
    """A draw that does not end ends the program, with its stack."""
    faulthandler.dump_traceback_later(HANGS_SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    options.add_argument("--inputs", type=int, default=10_000, help="in all")
    options.add_argument("--only", choices=FUZZERS, help="one fuzzer gets them all")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--first", type=int, default=0, help="the number of the first draw")
    given = options.parse_args()
    faulthandler.enable()
    warnings.simplefilter("error")
    num_tried = 0
    for name, (_, share) in FUZZERS.items():
        if given.only not in (None, name):
            continue
        num_inputs = given.inputs if given.only else round(given.inputs * share)
        found = run(name, first=given.first, num_inputs=num_inputs, seed=given.seed)
        num_tried += found.total()
    print(f"{num_tried:,} inputs, no fault")


if __name__ == "__main__":
    main()
