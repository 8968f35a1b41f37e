"""What changes in a training: weights, the optimiser's moments, progress, metrics."""

import json
from collections.abc import Mapping
from itertools import groupby
from time import monotonic
from types import MappingProxyType

import torch
from torch import Tensor, nn

from logllm_core.model import devices
from logllm_core.store.store import Json
from logllm_core.training.checkpoint import Best, Checkpoint, Checkpoints, Progress

METRICS = "metrics.jsonl"  # one line an optimiser step
WEIGHT_DECAY = 0.01  # AdamW's default in torch
WEIGHTS, OPTIMIZER, BEST = "weights", "optimizer", "best"  # files of a checkpoint


class TrainingState:
    """The state of a training, as it is at the end of a step.

    Args:
        parameters: what trains, by name; each gets a gradient of zeros.
        buffers: what else belongs to the weights, by other names.
        micro_batch_size: to begin with.
        weight_decay: of AdamW; without one it is Adam.
        rate_factors: by name, the share of the rate that a parameter takes; others take all of it.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        buffers: Mapping[str, Tensor] = MappingProxyType({}),
        micro_batch_size: int,
        weight_decay: float = WEIGHT_DECAY,
        rate_factors: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        def factor(name: str) -> float:
            return rate_factors.get(name, 1.0)

        # As the optimiser numbers them: group by group.
        self.parameters = {name: parameters[name] for name in sorted(parameters, key=factor)}
        self._weights_by_name: dict[str, Tensor] = {**parameters, **buffers}
        for parameter in self.parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        groups = [
            {"params": [parameters[name] for name in names], "factor": shared}
            for shared, names in groupby(self.parameters, key=factor)
        ]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=weight_decay)
        self.progress = Progress(micro_batch_size=micro_batch_size)
        self.rows: list[dict[str, Json]] = []  # of the metrics
        self._best_weights: dict[str, Tensor] = {}
        self._counted_until = monotonic()

    @property
    def gradients(self) -> list[Tensor]:
        return [weight.grad for weight in self.parameters.values() if weight.grad is not None]

    @property
    def metrics(self) -> str:
        """One line of JSON a step."""
        return "".join(json.dumps(row) + "\n" for row in self.rows)

    def take_step(self, loss: float, rate: float, *, max_norm: float | None = None) -> None:
        """Change the weights by their gradients.

        Args:
            max_norm: a gradient, all of it as one vector, that is longer is cut to this length.
        """
        if max_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters.values(), max_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimizer.step()
        self.change(step=self.progress.step + 1)
        self.rows.append({"step": self.progress.step, "loss": loss, "rate": rate})

    def judge(self, pr_auc: float) -> None:
        """Take down a validation, and keep the weights if none was better."""
        self.rows[-1]["validation_pr_auc"] = pr_auc
        if self.progress.best is None or pr_auc > self.progress.best.pr_auc:
            best = Best(step=self.progress.step, pr_auc=pr_auc)
            self.change(best=best, num_validations_without_gain=0)
            self._best_weights = self._weights()
        else:
            count = self.progress.num_validations_without_gain + 1
            self.change(num_validations_without_gain=count)

    def choose_best(self) -> None:
        """Go back to the best weights, where there were validations."""
        if self._best_weights:
            self._load(self._best_weights)

    def change(self, **changes: object) -> None:
        self.progress = self.progress.model_copy(update=changes)

    def measure(self, device: torch.device) -> None:
        """Bring time and peak memory up to now."""
        now, peak, before = monotonic(), devices.peak_memory(device), self.progress
        self.change(
            seconds=before.seconds + now - self._counted_until,
            peak_memory_bytes=max(before.peak_memory_bytes, peak.ram_bytes),
            peak_gpu_memory_bytes=max(before.peak_gpu_memory_bytes, peak.gpu_bytes),
        )
        self._counted_until = now

    def save(self, checkpoints: Checkpoints) -> None:
        """Raises as `Checkpoints.save`."""
        tensors = {WEIGHTS: self._weights(), OPTIMIZER: self._moments()}
        if self._best_weights:
            tensors[BEST] = self._best_weights
        checkpoints.save(self.progress, tensors, {METRICS: self.metrics})

    def go_on_from(self, checkpoint: Checkpoint) -> None:
        """Take over what a checkpoint holds."""
        self.progress = checkpoint.state.progress
        self.change(num_resumes=self.progress.num_resumes + 1)
        self._load(checkpoint.tensors(WEIGHTS))
        self._load_moments(checkpoint.tensors(OPTIMIZER))
        self._best_weights = checkpoint.tensors(BEST) if self.progress.best else {}
        self.rows = [json.loads(line) for line in checkpoint.text(METRICS).splitlines()]

    def _weights(self) -> dict[str, Tensor]:
        return {name: _on_cpu(weight) for name, weight in self._weights_by_name.items()}

    def _load(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self._weights_by_name.items():
                weight.copy_(weights[name])

    def _moments(self) -> dict[str, Tensor]:
        """The optimiser's state, by parameter and kind."""
        states = self.optimizer.state_dict()["state"]
        return {
            f"{name}/{kind}": _on_cpu(value)
            for number, name in enumerate(self.parameters)
            for kind, value in states[number].items()
        }

    def _load_moments(self, moments: Mapping[str, Tensor]) -> None:
        content = self.optimizer.state_dict()
        numbers = {name: number for number, name in enumerate(self.parameters)}
        for key, value in moments.items():
            name, _, kind = key.rpartition("/")
            content["state"].setdefault(numbers[name], {})[kind] = value
        self.optimizer.load_state_dict(content)


def _on_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().clone()
