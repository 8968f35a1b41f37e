"""The command line `logllm detect`: verdicts about new logs, for people and for programs."""

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from flows.cli.options import AsJson, DataDir
from flows.settings import DetectSettings
from flows.terminal_text import legible
from logllm_core.logs.catalog.catalog import Dataset
from logllm_core.store.data_folder import DATA_DIR
from logllm_core.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

    from logllm_core.daily.detect.detect_result import Detected

ANOMALIES_FOUND = 3  # exit status
BROKEN_PIPE = 141  # as of a program that the system stops for it
# Of a row of `tables.NEW_PREDICTIONS`, what a JSON object holds, in this order.
JSON_FIELDS = (
    *("window_id", "session_id", "probability", "verdict", "first_line", "last_line", "lines"),
    *("num_cut_lines", "source", "log_id", "start_time", "end_time", "model"),
)
Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="Logs, plain or packed (.gz, .zst, .bz2, .xz), folders with logs, or - for standard "
        "input.",
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Judge with this data set's champion, and read lines as that data set's. logllm "
        "models lists them.",
    ),
]
Follow = Annotated[
    bool,
    typer.Option(
        "--follow", "-f", help="Go on as the files grow and are rotated, until interrupted."
    ),
]
Fail = Annotated[
    bool,
    typer.Option(
        "--fail-on-anomaly",
        help=f"Exit with status {ANOMALIES_FOUND} where a window told is anomalous.",
    ),
]
MaxDelay = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        metavar="SECONDS",
        help="With --follow and from standard input: judge a window that waits so long for its "
        "lines as it is, and a session that got none for so long. 10 seconds; for windows by time "
        "their length besides.",
    ),
]
NewOnly = Annotated[
    bool,
    typer.Option("--new-only", help="Do not tell again what was told before."),
]


def detect(
    files: Files,
    model: Model,
    *,
    is_following: Follow = False,
    max_delay: MaxDelay = None,
    is_new_only: NewOnly = False,
    is_failing: Fail = False,
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Judge new logs with the current model, and tell which windows are anomalous and why.

    Lines need no labels. A log is known by its content: what was judged before, also under another
    name or packed since, is told from the tables and not judged again.

    [bold]logllm detect /var/log/app.log --model app[/bold]

    [bold]logllm detect /var/log/app.log --model app --follow --json[/bold]: an object a window

    [bold]zcat old.gz | logllm detect - --model app --fail-on-anomaly[/bold]: status 3 on anomalies

    Verdicts are kept: logllm query "from app.predictions where split = 'new'".
    """
    settings = DetectSettings.parse({"data_dir": data_dir}, origin="The command line")
    dataset = settings.find_dataset(model)
    output = Output(as_json=as_json)
    options = {"is_new_only": is_new_only, "is_following": is_following}
    try:
        stopped_by = _judge(
            settings.store, dataset, files, output, **options, max_delay_seconds=max_delay
        )
    except BrokenPipeError:  # whoever read has enough; what they were not told is told next time
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    if is_failing and output.num_anomalous:
        sys.exit(ANOMALIES_FOUND)
    if stopped_by and not is_following:
        sys.exit(stopped_by)


def _judge(
    store: Store, dataset: Dataset, files: Sequence[str], output: "Output", **options: Any
) -> int:
    """Judge, tell, and sum up, also where some logs could not be judged.

    Returns:
        The exit status of whoever asked for the end; 0 where nobody did.
    """
    from flows.display import shown_until_stopped
    from flows.run_log import log_to_terminal
    from logllm_core.daily.detect.find_logs import find_logs

    find_logs(files, is_to_come=options["is_following"])  # a wrong name is told at once
    log_to_terminal()  # before the models' libraries, which advise at their import

    from logllm_core.daily.detect.detect import detect as detect_new
    from logllm_core.daily.detect.detect_result import UnjudgedError
    from logllm_core.pages.renewed_pages import renew

    def publish() -> None:
        output.page = renew(store, dataset.name)

    began = time.monotonic()
    try:
        with shown_until_stopped() as stopping:
            detected = detect_new(
                store,
                dataset,
                files,
                tell=output.tell,
                publish=publish,
                is_stopped=stopping,
                **options,
            )
    except UnjudgedError as fault:
        output.summarize(fault.detected, time.monotonic() - began)
        raise
    output.summarize(detected, time.monotonic() - began)
    return stopping.status


class Output:
    """Writes verdicts to standard output as they come."""

    def __init__(self, *, as_json: bool) -> None:
        self.num_windows = 0
        self.num_anomalous = 0
        self.page: Path | None = None
        self._as_json = as_json
        # Bars take over sys.stdout while they are shown, which is right for a terminal alone.
        self._stream = sys.stdout
        self._is_terminal = sys.stdout.isatty()

    def tell(self, verdicts: "pa.Table") -> None:
        for batch in verdicts.to_batches(max_chunksize=1_000):
            rows = batch.to_pylist()
            anomalous = [row for row in rows if row["verdict"] == "anomalous"]
            self.num_windows += len(rows)
            self.num_anomalous += len(anomalous)
            if self._as_json:
                self._write("".join(f"{as_json(row)}\n" for row in rows))
            else:
                self._show(anomalous)

    def summarize(self, detected: "Detected", seconds: float) -> None:
        """What people are told when all is done; a program has counted."""
        if self._as_json:
            return
        counts = f"{self.num_anomalous:,} of {self.num_windows:,} windows are anomalous."
        page = f"Page: {legible(self.page)}\n" if self.page else ""
        self._write(f"{counts}\n{detected.sentence} {seconds:.1f} s.\n{page}")

    def _show(self, anomalous: list[dict[str, Any]]) -> None:
        width = shutil.get_terminal_size().columns if self._is_terminal else None
        self._write("".join(f"{shown(row, width)}\n" for row in anomalous))

    def _write(self, text: str) -> None:
        stream = sys.stdout if self._is_terminal else self._stream
        stream.write(text)
        stream.flush()


def as_json(row: dict[str, Any]) -> str:
    """One object in one line, in ASCII, as `terminal_text.print_json` writes it."""
    values = {name: row[name] for name in JSON_FIELDS}
    times = {key: row[key] and row[key].isoformat() for key in ("start_time", "end_time")}
    return json.dumps(values | times)


def shown(row: dict[str, Any], width: int | None) -> str:
    """An anomalous window for people, cut to the width of a terminal."""
    time_shown = f"{row['start_time']:%Y-%m-%d %H:%M:%S}  " if row["start_time"] else ""
    where = f"{row['source']}:{row['first_line']}-{row['last_line']}"
    said = row["lines"][0]["content"] if row["lines"] else ""
    text = Text(f"{row['probability']:.3f}  {legible(where)}  {time_shown}{legible(said)}")
    if width:
        text.truncate(width, overflow="ellipsis")
    return text.plain.rstrip()
