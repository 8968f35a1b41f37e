"""How well each way of localizing finds the lines that the labels of a log call alerts.

`python -m tests.benchmarks.localization DATA_DIR DATASET [--model-of OTHER]` takes the newest
trained model of a data folder, its last stage, and the newest windows of a data set: those of the
test split, or all of them where the model was trained on another log. It prints a row a way. What
hit@k and the PR-AUC of lines are is said in `logllm_core/evaluation/measures/line_ranking.py`.

The product has the first way alone; the others are here to be held against it.
"""

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from loguru import logger
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from logllm_core import tables
from logllm_core.evaluation.measures.line_ranking import LocalizedWindow, ranking_figures
from logllm_core.logs.messages.log_messages import read_vocabulary
from logllm_core.logs.windows.splits import SPLITS
from logllm_core.model.backbones import find_backbones
from logllm_core.model.batches import Collator
from logllm_core.model.devices import devices_of
from logllm_core.model.encoders import EncoderVectors
from logllm_core.model.logllm import LogLLM
from logllm_core.model.weights import set_trainable
from logllm_core.model.window_answers import encode_windows, score_windows, window_log_odds
from logllm_core.scoring import DECISION, localize
from logllm_core.store.store import Artifact, Kind, Store
from logllm_core.training.recipes import RECIPES
from logllm_core.training.trained_model import load_model, pooling_of

Window = tuple[int, ...]
Found = list[dict[int, float]]  # of each window, what each message contributed
NUM_STEPS = 16  # of integrated gradients
GROUP_WINDOWS = 8  # of a backward pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A trained model, and what it knows of the windows."""

    model: LogLLM
    collator: Collator
    vectors: EncoderVectors


def product(ready: Ready, windows: Sequence[Window]) -> Found:
    """Alone; where no message alone explains the alarm, the mean of alone and leaving out."""
    return localize.contributions(ready.model, ready.collator, windows, ready.vectors)


def mean_of_both(ready: Ready, windows: Sequence[Window]) -> Found:
    """The mean of leaving out and alone, for every window."""
    both = zip(leave_one_out(ready, windows), alone(ready, windows), strict=True)
    return [{m: (left[m] + given[m]) / 2 for m in given} for left, given in both]


def leave_one_out(ready: Ready, windows: Sequence[Window]) -> Found:
    """How much lower the log-odds are without any occurrence of the message."""

    def without(window: Window, message: int) -> tuple[Window, Window]:
        return window, tuple(other for other in window if other != message)

    return differences(ready, windows, without, ready.vectors)


def replace_by_mean(ready: Ready, windows: Sequence[Window]) -> Found:
    """As leaving out, but the mean vector takes the message's place, and no position moves."""
    mean_E = ready.vectors.vectors_ME.mean(dim=0, keepdim=True)
    longer = EncoderVectors(
        vectors_ME=torch.cat([ready.vectors.vectors_ME, mean_E]),
        row_of=np.append(ready.vectors.row_of, len(ready.vectors.vectors_ME)),
    )
    mean = len(ready.vectors.row_of)  # a message id that no other has

    def replaced(window: Window, message: int) -> tuple[Window, Window]:
        return window, tuple(mean if other == message else other for other in window)

    return differences(ready, windows, replaced, longer)


def alone(ready: Ready, windows: Sequence[Window]) -> Found:
    """How much higher the log-odds are with the message alone than without any."""

    def alone(window: Window, message: int) -> tuple[Window, Window]:
        return (message,) * window.count(message), ()

    return differences(ready, windows, alone, ready.vectors)


def differences(
    ready: Ready,
    windows: Sequence[Window],
    pair_of: Callable[[Window, int], tuple[Window, Window]],
    vectors: EncoderVectors,
) -> Found:
    """The log-odds of the first of a pair of windows less those of the second."""
    pairs = [{m: pair_of(window, m) for m in dict.fromkeys(window)} for window in windows]
    asked = sorted({one for own in pairs for pair in own.values() for one in pair})
    odds = window_log_odds(ready.model, ready.collator, asked, vectors, lambda _: None)
    odds_of = dict(zip(asked, odds.tolist(), strict=True))
    return [{m: odds_of[one] - odds_of[other] for m, (one, other) in own.items()} for own in pairs]


def gradient(ready: Ready, windows: Sequence[Window]) -> Found:
    return integrated_gradients(ready, windows, (1.0,))


def integrated(ready: Ready, windows: Sequence[Window]) -> Found:
    places = (np.arange(NUM_STEPS) + 0.5) / NUM_STEPS
    return integrated_gradients(ready, windows, tuple(places.tolist()))


def integrated_gradients(ready: Ready, windows: Sequence[Window], places: Sequence[float]) -> Found:
    """(vector - mean vector) times the gradient of the log-odds, summed over occurrences.

    Args:
        places: where between mean (0) and vector (1) gradients are taken; the mean of them counts.
    """
    model = ready.model
    assert model.projector is not None
    reference_D = model.projector(ready.vectors.vectors_ME.mean(dim=0).to(model.device))
    found = []
    for start in range(0, len(windows), GROUP_WINDOWS):
        group = windows[start : start + GROUP_WINDOWS]
        total = sum(saliency(ready, group, reference_D, place) / len(places) for place in places)
        assert isinstance(total, Tensor)
        begin = len(model.prompt.introduction)
        for window, row in zip(group, total.double().tolist(), strict=True):
            sums: dict[int, float] = defaultdict(float)
            for message, value in zip(window, row[begin:], strict=False):
                sums[message] += value
            found.append(dict(sums))
    return found


def saliency(ready: Ready, group: Sequence[Window], reference_D: Tensor, place: float) -> Tensor:
    """By window and position, [B, T]."""
    model, prompt = ready.model, ready.collator.prompt
    batch = ready.collator.training_batch(group, [True] * len(group), ready.vectors)
    batch = batch.to(model.device)
    assert batch.vectors_ME is not None
    is_message_BT = (batch.source_BT < len(batch.vectors_ME))[..., None]
    kept: list[Tensor] = []

    def move(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        whole_BTD = kwargs["inputs_embeds"].detach()
        away_BTD = (whole_BTD - reference_D.to(whole_BTD.dtype)) * is_message_BT
        moved_BTD = (whole_BTD - (1 - place) * away_BTD).requires_grad_()
        kept.extend((away_BTD, moved_BTD))
        return args, kwargs | {"inputs_embeds": moved_BTD}

    hook = model.decoder.model.register_forward_pre_hook(move, with_kwargs=True)
    logits_RV: Tensor = model.decoder.lm_head(model._answer_states(batch)).float()
    hook.remove()
    shared, length = prompt.num_shared_answer_tokens, len(prompt.answers[1])
    normal, anomalous = (answer[shared] for answer in prompt.answers)
    deciding_BV = logits_RV[shared::length]
    (deciding_BV[:, anomalous] - deciding_BV[:, normal]).sum().backward()  # type: ignore[no-untyped-call]
    away_BTD, moved_BTD = kept
    assert moved_BTD.grad is not None
    return (away_BTD.float() * moved_BTD.grad.float()).sum(dim=-1)


METHODS: dict[str, Callable[[Ready, Sequence[Window]], Found]] = {
    "the product's: alone, and else the mean": product,
    "mean of the next two": mean_of_both,
    "leave one out": leave_one_out,
    "alone": alone,
    "replace by mean": replace_by_mean,
    "gradient": gradient,
    "integrated gradients": integrated,
}


def read_judged(windows: Artifact, splits: Sequence[str]) -> list[LocalizedWindow]:
    found = [
        row
        for split in splits
        for row in tables.read(
            windows.path / f"split={split}",
            tables.WINDOWS,
            ["line_numbers", "message_ids", "alerts"],
        ).to_pylist()
    ]
    assert all(row["alerts"] is not None for row in found), "the lines have no labels"
    return [
        LocalizedWindow(
            line_numbers=row["line_numbers"],
            message_ids=tuple(row["message_ids"]),
            is_alert=row["alerts"],
            contributions={},
        )
        for row in found
    ]


def alert_rates(messages: Artifact, windows: Artifact) -> tuple[dict[str, float], float]:
    """The share of alerts by masked message, and of all lines, in the training windows."""
    texts = read_vocabulary(messages)
    lines, alerts = Counter[str](), Counter[str]()
    for window in read_judged(windows, ["train"]):
        for message, is_alert in zip(window.message_ids, window.is_alert, strict=True):
            lines[texts[message]] += 1
            alerts[texts[message]] += is_alert
    rates = {text: alerts[text] / number for text, number in lines.items()}
    return rates, alerts.total() / lines.total()


def measure(data_dir: Path, dataset: str, model_of: str, precision: str | None) -> dict[str, Any]:
    store = Store(data_dir=data_dir)
    trained = newest(store, "models", model_of)  # the stage that was trained or reused last
    inputs = trained.manifest["inputs"]
    learned_messages = newest(store, "messages", model_of, inputs["messages"])
    learned_windows = newest(store, "windows", model_of, inputs["windows"])
    is_own = dataset == model_of
    windows = learned_windows if is_own else newest(store, "windows", dataset)
    messages = newest(store, "messages", dataset, windows.manifest["inputs"]["messages"])
    model, collator = loaded(store, trained, messages, windows, precision)
    judged = read_judged(windows, ["test"] if is_own else SPLITS)
    begun = time.process_time()
    chances = score_windows(model, collator, [tuple(found.message_ids) for found in judged])
    scoring_cpu_seconds = time.process_time() - begun
    flagged = [judged[place] for place in np.flatnonzero(chances > DECISION).tolist()]
    asked = [tuple(window.message_ids) for window in flagged]
    vectors = encode_windows(model, collator, asked)
    assert vectors is not None
    ready = Ready(model=model, collator=collator, vectors=vectors)
    rows: dict[str, dict[str, float | None]] = {}
    for name, method in METHODS.items():
        begun, begun_cpu = time.perf_counter(), time.process_time()
        found = method(ready, asked)
        seconds = {
            "seconds": time.perf_counter() - begun,
            "cpu_seconds": time.process_time() - begun_cpu,
        }
        rows[name] = asdict(ranking_figures(flagged, found)) | seconds
    texts = read_vocabulary(messages)
    rates, overall = alert_rates(learned_messages, learned_windows)
    by_rate = [{m: rates.get(texts[m], overall) for m in window} for window in asked]
    rows["highest training alert rate"] = asdict(ranking_figures(flagged, by_rate))
    by_chance = [dict.fromkeys(ids, 0.0) for ids in asked]
    rows["a random line"] = asdict(ranking_figures(flagged, by_chance))
    return {
        "dataset": dataset,
        "model_of": model_of,
        "dtype": str(next(model.decoder.parameters()).dtype).removeprefix("torch."),
        "num_windows": len(judged),
        "num_anomalous": sum(any(found.is_alert) for found in judged),
        "num_flagged": len(flagged),
        "num_flagged_anomalous": sum(any(found.is_alert) for found in flagged),
        "num_messages": sum(len(set(ids)) for ids in asked) / max(len(asked), 1),
        "scoring_cpu_seconds": scoring_cpu_seconds,
        "methods": rows,
    }


def newest(store: Store, kind: Kind, dataset: str, fingerprint: str | None = None) -> Artifact:
    found = store.newest(kind, dataset, fingerprint)
    assert found, f"no {kind} of {dataset}"
    return found


def loaded(
    store: Store, trained: Artifact, messages: Artifact, windows: Artifact, precision: str | None
) -> tuple[LogLLM, Collator]:
    """The model, ready to score; its recipe's stages do not matter here."""
    config = trained.manifest["config"]
    changes = {"precision": precision} if precision else {}
    recipe = RECIPES["quick"].model_copy(update=config["recipe"] | changes)
    backbones = config["backbones"]
    named = f"{backbones['encoder']},{backbones['decoder']}"
    folders = find_backbones(store, named, pooling_of(trained))
    (device,) = devices_of(1)
    model, collator = load_model(
        folders, recipe, trained, messages=messages, windows=windows, device=device
    )
    set_trainable(model, ())
    return model, collator


def show(content: dict[str, Any]) -> None:
    table = Table(box=box.SIMPLE)
    table.add_column("way", no_wrap=True)
    for column in ("hit@1", "hit@3", "PR-AUC of lines", "seconds", "CPU seconds"):
        table.add_column(column, justify="right")
    for name, row in content["methods"].items():
        figures = [row[key] for key in ("hit_at_1", "hit_at_3", "pr_auc")]
        shown = ["undefined" if value is None else f"{value:.3f}" for value in figures]
        shown += [f"{row[key]:.1f}" for key in ("seconds", "cpu_seconds") if key in row]
        table.add_row(name, *shown)
    Console().print(
        "{dataset}, by the model of {model_of} in {dtype}: {num_windows:,} windows,"
        " {num_anomalous:,} anomalous; {num_flagged:,} flagged, {num_flagged_anomalous:,} of them"
        " anomalous, {num_messages:.1f} distinct messages each; scoring took"
        " {scoring_cpu_seconds:.1f} CPU seconds.".format(**content)
    )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.localization", description=__doc__
    )
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("dataset")
    parser.add_argument("--model-of", help="the data set that the model was trained on")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"))
    options = parser.parse_args()
    logger.remove()
    model_of = options.model_of or options.dataset
    show(measure(options.data_dir, options.dataset, model_of, options.precision))


if __name__ == "__main__":
    main()
