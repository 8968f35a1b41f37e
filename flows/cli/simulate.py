"""The command line `logllm simulate`: a log to try things on."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console

from flows.cli.options import AsJson, DataDir
from flows.terminal_text import plain, print_json
from logllm_core.errors import LogLLMError
from logllm_core.store.data_folder import DATA_DIR


def simulate(
    *,
    out: Annotated[
        Path | None, typer.Argument(help="The file to write. Default: DATA_DIR/simulated.log.")
    ] = None,
    num_lines: Annotated[int, typer.Option(min=1_000)] = 20_000,
    shape: Annotated[
        str, typer.Option(help="bgl, thunderbird (Liberty's and Spirit's too) or hdfs.")
    ] = "bgl",
    seed: Annotated[int, typer.Option()] = 0,
    data_dir: DataDir = DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Write a seeded log in the shape of a published one, with known truth.

    Sessions (hdfs) are labelled in a CSV file beside the log.
    """
    from flows.display import shown_progress
    from logllm_core.logs.simulator.writing import write_log

    path = out or data_dir / "simulated.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with shown_progress():
            truth = write_log(path, num_lines=num_lines, seed=seed, shape=cast(Any, shape))
    except OSError as fault:
        raise LogLLMError(f"Cannot write {path}: {fault.strerror}. Choose another file.") from None
    if as_json:
        print_json({"path": str(path), **truth})
        return
    if "num_sessions" in truth:
        held = "{num_anomalous_sessions:,} of {num_sessions:,} sessions anomalous"
    else:
        held = "{num_alert_lines:,} of them alerts, {num_unparsable_lines:,} without content"
    Console().print(
        f"{truth['num_lines']:,} lines, {held.format(**truth)}: {plain(path)}",
        soft_wrap=True,
    )
