"""What a method works with, small: a two-layer encoder, and a folder of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from logllm_core.model.sources.named_backbones import BackboneFolders, Backbones
from logllm_core.paper.building_blocks.fitting import Trainer
from logllm_core.paper.building_blocks.interface import Bench
from logllm_core.paper.building_blocks.message_vectors import FrozenEncoder
from tests import tiny


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> BackboneFolders:
    encoder, decoder = tiny.save(tmp_path_factory.mktemp("backbones")).split(",")
    named = Backbones(encoder=encoder, decoder=decoder)
    return BackboneFolders(named=named, encoder=encoder, decoder=decoder)


@pytest.fixture
def make_bench(folders: BackboneFolders, tmp_path: Path) -> Callable[..., Bench]:
    """`make_bench(seed=0)`: the trainers of one folder share their checkpoints."""

    def make(seed: int = 0, checkpoint_minutes: float = 10.0, folder: str = "one") -> Bench:
        device = torch.device("cpu")
        trainer = Trainer(
            title="Tested",
            seed=seed,
            device=device,
            folder=tmp_path / folder,
            made_for={"seed": seed},
            checkpoint_minutes=checkpoint_minutes,
        )
        return Bench(
            seed=seed, device=device, trainer=trainer, encoder=FrozenEncoder(folders, device)
        )

    return make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()
