"""What `ablation.json` may hold: rows of each kind, and hostile names."""

from typing import Any

from logllm_core.paper.experiments.ablation import AblationRow, verdict
from logllm_core.results.json_files import from_json
from tests.pages.sample_parts import HOSTILE

FIGURES = ("precision", "recall", "f1", "f1_at_validation_threshold", "pr_auc")


def row(name: str, f1: float | None = None, **more: Any) -> dict[str, Any]:
    """A variant that was run where `f1` is given, and all its figures are that."""
    figures = {
        key: {"value": f1, "interval": None if f1 is None else [max(f1 - 0.1, 0), min(f1 + 0.1, 1)]}
        for key in FIGURES
    }
    cost = {
        "training_minutes": 12.5,
        "scoring_minutes": 1.0,
        "num_steps": 1_200,
        "peak_memory_bytes": 3_000_000_000,
        "peak_gpu_memory_bytes": 0,
    }
    found = {
        "name": name,
        "group": "beta",
        "title": name,
        "beta": None,
        "is_recipe": False,
        "changes": {},
        "published": None,
        "run": "0123456789abcdef",
        "figures": figures,
        "difference": {"difference": -0.05, "interval": [-0.1, 0.02]},
        "cost": cost,
        "why_not": None,
    }
    return found | more


def absent(name: str, why_not: str, **more: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("run", "figures", "difference", "cost"))
    return row(name) | nothing | {"why_not": why_not} | more


def told(f1: float | None, **more: float | None) -> dict[str, Any]:
    """What the paper prints of a row."""
    found = dict.fromkeys(("precision", "recall", "f1"), f1)
    return found | {"gpu_memory_gb": None, "training_minutes": None} | more


def content() -> dict[str, Any]:
    """Each group once: what was run, what could not be, what nobody asked for."""
    own = row("recipe", 0.9, title="the recipe itself", is_recipe=True, difference=None)
    sizes = [
        absent("text:small", f"Not enough memory: {HOSTILE}", published=told(None)),
        own | {"title": "small, with embedder", "published": told(0.916, gpu_memory_gb=38.0)},
    ]
    changes = {"masking": "none", "question": HOSTILE}
    preprocessing = [
        row("raw", 0.8, group="preprocessing", title="Raw", changes=changes, published=told(0.846)),
        absent("template", "not asked for (--only)", published=told(0.889)),
    ]
    lower = {"difference": -0.4, "interval": [-0.5, -0.3]}
    betas = [
        row("β = 0", None, beta=0.0, difference=None),
        row("β = 0.1", 0.5, beta=0.1, difference=lower),
        own | {"title": "β = 0.3", "beta": 0.3},
        absent(
            "β = 0.5", "its process was killed by SIGKILL (often: no memory was left)", beta=0.5
        ),
        row("β = 0.8", 0.85, beta=0.8),
    ]
    lengths = [absent("20 lines", "not applicable, the windows of hdfs are sessions")]
    seeds = [own | {"title": "seed 0"}, row("seed 1", 0.92, title="seed 1")]
    groups = {
        "preprocessing": ("Preprocessing", "Table IV", preprocessing),
        "embedder": ("Embedder and size of the decoder", "Table V", sizes),
        "beta": ("Oversampling", "Figure 4", betas),
        "window-length": ("Window length", None, lengths),
        "seeds": ("Seeds", None, seeds),
    }
    rows = [variant for _, _, variants in groups.values() for variant in variants]
    spread = {"values": [0.9, 0.92], "mean": 0.91, "std": 0.0141, "min": 0.9, "max": 0.92}
    return {
        "dataset": "bgl",
        "title": HOSTILE,
        "page": "https://example.org/log",
        "licence": None,
        "citation": None,
        "is_published": True,
        "recipe": "quick",
        "overrides": {"question": HOSTILE},
        "bounded_stages": ["1", "3"],
        "backbones": "small",
        "verdict": verdict(
            from_json(AblationRow, own), [from_json(AblationRow, values) for values in rows]
        ),
        "own": own,
        "groups": [
            {"name": name, "title": title, "source": source, "rows": found}
            for name, (title, source, found) in groups.items()
        ],
        "seeds": {
            "seeds": [0, 1],
            "figures": {
                **dict.fromkeys(("precision", "recall"), None),
                "f1": spread,
                "pr_auc": spread,
            },
        },
        "versions": {"logllm": "0.1.0"},
        "machine": {"system": "Linux", "num_cores": 2},
    }
