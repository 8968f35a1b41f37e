"""The options that several commands know, each with its one explanation."""

from pathlib import Path
from typing import Annotated

import typer

from flows.data_settings import DATA_DIR, DataSettings, checked_data_dir

DataDir = Annotated[
    Path,
    typer.Option("--data-dir", help="Where everything is kept.", callback=checked_data_dir),
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
Mirror = Annotated[
    Path | None,
    typer.Option("--mirror", help="Take archives from this folder, not from the network."),
]
Remote = Annotated[
    str | None,
    typer.Option("--remote", help="Share finished artifacts here: s3://bucket/path, file:///..."),
]
MaskingName = Annotated[
    str | None,
    typer.Option(
        "--masking", help="regex, none, drain-template or drain-id. Default: the recipe's."
    ),
]
Runner = Annotated[
    str, typer.Option("--runner", help="Reads many files side by side: threads, processes, ray.")
]
Shards = Annotated[
    int | None, typer.Option("--shards", help="How many shares of the files. Default: one a core.")
]
RecipeName = Annotated[
    str,
    typer.Option("--recipe", help="quick, paper, cosine, reference, or a TOML file of your own."),
]
BackboneName = Annotated[
    str,
    typer.Option(
        "--backbones", help="small, llama3.2-1b, llama3-8b (the paper's), or ENCODER,DECODER."
    ),
]
Quantization = Annotated[
    str | None, typer.Option("--quantization", help="nf4 or none. Default: the recipe's.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Default: the recipe's.")]
Seeds = Annotated[
    int,
    typer.Option(
        "--seeds", min=1, help="Train with so many seeds, from --seed upwards, and tell the spread."
    ),
]
KeepSeed = Annotated[
    str,
    typer.Option(
        "--keep",
        metavar="SEED",
        help="Of several seeds, the one that is reported and becomes champion: first, or best, as "
        "the validation split ranks them.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SETTING=VALUE",
        help="Change the recipe, such as stages.3.num_epochs=5 or batch_size=8. May be repeated.",
    ),
]
CheckpointMinutes = Annotated[
    float,
    typer.Option("--checkpoint-minutes", min=0, help="At most so much training a crash may cost."),
]
Processes = Annotated[
    int, typer.Option("--processes", min=1, help="Train in so many processes, one a GPU.")
]
Start = Annotated[
    str,
    typer.Option(
        "--start",
        help="champion: train the recipe's last stage from the champion's adapters. scratch: all "
        "stages anew.",
    ),
]
Keep = Annotated[
    int,
    typer.Option(
        "--keep", min=1, help="Keep so many models that were promoted, and as many that were not."
    ),
]
