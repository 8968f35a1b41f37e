"""The reader of settings: a file loads, and what loads can be used, or there is one error."""

import atexit
import re
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

from logllm_core.errors import LogLLMError
from logllm_core.logs.catalog.catalog import Dataset, find_dataset
from logllm_core.logs.messages.parsing import parse_block
from logllm_core.logs.records.line_blocks import Block
from logllm_core.logs.windows.window_stream import WindowStream
from logllm_core.training.recipes import Recipe
from tests.fuzzing import hostile
from tests.fuzzing.parser import SAMPLES
from tests.logs.samples import CATALOG
from tests.logs.windows.streams import lines_of

OWN = """
title = "Own"
line_slice = [0, 10]
train_fraction = 0.6
[source]
kind = "file"
path = ["a.log", "s3://bucket/*.gz"]
label_path = "labels.csv"
[line]
pattern = '(?P<time>\\d+) (?P<content>.*)'
time_fields = ["time"]
time_format = "epoch"
session_pattern = 'blk_\\d+'
max_unparsed_fraction = 0.5
[labels]
kind = "pattern"
field = "content"
pattern = 'fail|error'
[windows]
kind = "session"
seed = 1
"""
BY_TIME = """
title = "Own"
[source]
kind = "simulator"
num_lines = 2000
[line]
fields = ["date", "time", "content"]
time_fields = ["date", "time"]
time_format = "%y%m%d %H%M%S"
session_field = "date"
[windows]
kind = "time"
length_seconds = 60
step_seconds = 20
"""
RECIPE = """
batch_size = 8
micro_batch_size = "auto"
beta = 0.3
seed = 0
validation_fraction = 0.1
masking = "regex"
question = "Is it anomalous?"
[[stages]]
name = "1"
trains = ["decoder"]
num_epochs = 1
learning_rate = 5e-4
[[stages]]
name = "2-1"
trains = ["projector", "encoder"]
num_epochs = 2
learning_rate = 1e-3
min_samples = 10
"""
_VALUES = r"""nan inf -inf -1 0 1 1e308 1e999 0.5 true [] {} [[]] "" '' "a" "é" 1979-05-27 07:32:00
    1979-05-27T07:32:00Z "\u0000" "\u001b[31m" "\u202e" "~nobody/x" "../../etc" "http://[" "file"
    "https://x/%2e%2e" "s3://user:secret@host/x" "archive" "count" ["content"] ["a","content"]
    ["content","content"] ["é","content"] [0,1] [1,0] "%Y" "%" "%s" "%999Y" "%Y-%m-%d" "%H:%M"
    "iso" "epoch_ms" "\u0000%Y" "%d/%b/%Y"
"""
VALUES = (
    *_VALUES.split(),
    *map(str, range(2, 12)),
    *("9" * 30, "9" * 5000, "0x" + "f" * 40, '"' + "x" * 5000 + '"', "[" * 2000, "a." * 70 + "a"),
)
_PATTERNS = r"""( ) [ ] | * + ? . ^ $ \ { } {2} {1000} {0,999} (?: (?P<content> (?P<a>
    (?P<content>.*) (?i) (?s) (?U) (?= (?! (?<a> \C \Q \E \b \B \A \z \pL \x{10ffff} \d \W
    [[:alpha:]] [^a] [a-z]+ (a*)* (?:a|b)+ blk_ \1 \u0041 é a{100000000000000}
"""
PATTERNS = _PATTERNS.split()
_ATOMS = r"""(?P<content>.*) (?P<content>\S+) (?P<time>\d*) (?P<time>[^ ]+) \S+ \s* [^\ ]*? .*? .+
    \d{1,3} (?:a|b)* x? \b \B $ ^ (?i) (?:fail|error) blk_-?\d+ \x20 \pL \w+ [[:space:]] \Q..\E
    (?:) [\x80-\xff]
"""
ATOMS = _ATOMS.split()  # each is a pattern of its own
_WORDS = r"""[ ] [[ ]] = . , " ' # \ \u { } a é"""
WORDS = (*_WORDS.split(), "\n", '"""', "'''")
READ = re.compile("pattern|time_format|fields|url|path|length|step|slice")
BLOCK = Block.of(b"\n".join((*SAMPLES, *hostile.WORDS)) + b"\n", first_line_number=0)


@cache
def _files() -> tuple[str, ...]:
    tracked = [path.read_text(encoding="utf-8") for path in sorted(CATALOG.glob("*.toml"))]
    return (*tracked, *[OWN] * 4, *[BY_TIME] * 2)


@cache
def _path() -> Path:
    """Of the file that every input overwrites; in memory, where there is a file system for it."""
    shared = Path("/dev/shm")  # noqa: S108
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    atexit.register(shutil.rmtree, folder)
    return folder / "own.toml"


def fuzz(random: Random) -> list[str]:
    """A file changed a little, much, or of nothing but bytes."""
    return [_fuzz(random)]


def _fuzz(random: Random) -> str:
    is_recipe = random.random() < 0.2
    text = content(random, RECIPE if is_recipe else random.choice(_files()))
    path = _path()
    path.write_bytes(text)
    try:
        if is_recipe:
            Recipe.load(path, name="own")
            return "recipes loaded"
        dataset = find_dataset(str(path), [])
    except LogLLMError:
        return "refused"
    _use(dataset)
    return "data sets loaded"


def _use(dataset: Dataset) -> None:
    """Whatever loads reads lines and cuts windows, or says why it cannot."""
    parsed = parse_block(dataset, BLOCK)
    numbers = sorted(parsed.line_numbers.to_pylist() + parsed.reject_numbers.to_pylist())
    assert numbers == list(range(len(BLOCK)))
    assert not any("" in ids for ids in parsed.session_ids.to_pylist())
    try:
        stream = WindowStream(dataset, "regex", source="own.log")
        windows = lines_of(stream.push(BLOCK), stream.close())
    except LogLLMError:
        return
    assert all(windows)


def content(random: Random, text: str) -> bytes:
    kind = random.random()
    if kind < 0.05:
        return random.randbytes(random.randrange(200))
    if kind < 0.1:
        return "".join(random.choices((*WORDS, *VALUES), k=random.randrange(60))).encode()
    lines = text.splitlines()
    for _ in range(random.choice((1, 1, 1, 1, 2, 4))):
        _change(random, lines)
    changed = "\n".join(lines).encode()
    return hostile.changed(random, changed) if random.random() < 0.1 else changed


def _change(random: Random, lines: list[str]) -> None:
    """One line is changed, left out, said twice or moved."""
    places: Sequence[int] = range(len(lines))
    if random.random() < 0.5:  # what is more than a number or a name
        places = [n for n in places if READ.search(lines[n])] or places
    place = random.choice(places) if lines else 0
    name, equals, value = lines[place].partition(" = ") if lines else ("", "", "")
    kind = random.random()
    if not lines or kind < 0.1:
        lines.insert(place, random.choice(random.choice(_files()).splitlines()))
    elif kind < 0.2:
        del lines[place]
    elif kind < 0.25:
        lines[place] = "".join(random.choices(WORDS, k=random.randrange(9)))
    elif equals and "pattern" in name and kind < 0.9:
        lines[place] = f"{name} = '''{_pattern(random, value.strip(chr(39)))}'''"
    elif equals and kind < 0.9:
        lines[place] = f"{name} = {random.choice(VALUES)}"
    else:
        lines[place] = hostile.changed(random, lines[place].encode()).decode("latin-1")


def _pattern(random: Random, pattern: str) -> str:
    kind = random.random()
    if kind < 0.1:
        return "".join(random.choices(PATTERNS, k=random.randrange(12)))
    if kind < 0.6:
        return "".join(random.choices(ATOMS, k=random.randint(1, 6)))
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(pattern) + 1)
        stop = place + random.choice((0, 0, 1, 3))
        pattern = pattern[:place] + random.choice(PATTERNS) + pattern[stop:]
    return pattern
