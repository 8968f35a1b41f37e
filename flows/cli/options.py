"""The options that several commands know, each with its one explanation."""

from pathlib import Path
from typing import Annotated

import typer

from flows.data_settings import DataSettings
from logllm_core.store.data_folder import checked_data_dir

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        help=DataSettings.model_fields["data_dir"].description,
        callback=checked_data_dir,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Name = Annotated[str, typer.Argument(help="A data set's name, or the TOML file that describes it.")]
OptionalName = Annotated[str | None, typer.Argument(help="Of this data set alone.")]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's folder or report, its fingerprint, or 4 or more digits it begins with.",
    ),
]
