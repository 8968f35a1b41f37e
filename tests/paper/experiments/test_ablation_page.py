import json
from pathlib import Path
from typing import Any

import pytest

from logllm_core.errors import LogLLMError
from logllm_core.paper.experiments import ablation_page
from logllm_core.paper.experiments.ablation import Ablation, AblationRow, ablation_rows, verdict
from logllm_core.paper.experiments.ablation_table import plan
from logllm_core.results.json_files import as_json, from_json
from logllm_core.store.store import Store
from tests.pages.sample_parts import HOSTILE
from tests.paper.experiments.sample_ablation import absent, content, row
from tests.paper.experiments.setups import setup_of


def rendered(values: dict[str, Any]) -> str:
    return ablation_page.render(from_json(Ablation, values))


def verdict_of(own: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    return verdict(from_json(AblationRow, own), [from_json(AblationRow, row) for row in rows])


def test_the_verdict_names_what_differs_beyond_chance() -> None:
    own = row("recipe", 0.9, is_recipe=True, difference=None)
    lower = {"difference": -0.4, "interval": [-0.5, -0.3]}
    higher = {"difference": 0.05, "interval": [0.01, 0.07]}
    rows = [
        row("Raw", 0.5, title="Raw", difference=lower),
        row("Template", 0.95, title="Template", difference=higher),
        row("β = 0.1", 0.85),
        row("β = 0.2", 0.85),
        absent("β = 0.4", "Not enough memory."),
    ]
    assert verdict_of(own, rows) == (
        "4 of 5 variants were run. The recipe itself reaches F1 0.900 (0.800-1.000). The F1 is "
        "lower by more than chance may do with Raw (-0.400). The F1 is higher by more than chance "
        "may do with Template (+0.050). 2 variants differ from it on the same windows, by no more "
        "than chance may do."
    )
    assert verdict_of(absent("recipe", "Not enough memory."), rows[-1:]) == (
        "0 of 1 variants were run. The recipe itself was not: Not enough memory."
    )
    undefined = row("recipe", None, is_recipe=True, difference=None)
    assert "The recipe itself reaches F1 undefined." in verdict_of(undefined, [])


def test_the_page_shows_hostile_text_as_text_and_every_row() -> None:
    page = rendered(content())
    assert "<script>alert(1)" not in page
    assert "{{ 7 * 7 }}" in page
    assert HOSTILE not in page
    for text in (
        "not run: not asked for (--only)",
        "not run: not applicable, the windows of hdfs are sessions",
        "killed by SIGKILL",
        "β = 0.8",
        "0.910 ± 0.014",
        'href="../../../runs/bgl/0123456789abcdef/report.html"',
    ):
        assert text in page
    assert page.count("<svg") == 1


def test_a_log_that_the_paper_does_not_have_has_no_columns_for_it() -> None:
    own = content() | {"is_published": False, "dataset": "mine", "overrides": {}}
    page = rendered(own)
    assert "The paper has no figures of this data set." in page
    assert "in the paper</th>" not in page
    assert "in the paper</th>" in rendered(content())


def test_without_oversampling_there_is_no_figure_of_it() -> None:
    own = content()
    own["groups"] = [group for group in own["groups"] if group["name"] != "beta"]
    assert "<svg" not in rendered(own)


def test_rows_in_short_say_why_there_are_no_figures() -> None:
    rows = {found["variant"]: found for found in ablation_rows(from_json(Ablation, content()))}
    assert rows["Raw"] == {
        "group": "preprocessing",
        "variant": "Raw",
        "precision": "0.800",
        "recall": "0.800",
        "f1": "0.800",
        "f1_interval": "0.700-0.900",
        "published_f1": 0.846,
        "training_minutes": 12.5,
        "note": "",
    }
    assert rows["20 lines"]["f1"] is None
    assert rows["20 lines"]["note"] == "not applicable, the windows of hdfs are sessions"
    assert rows["β = 0"]["f1"] == "undefined"


def test_without_any_run_there_is_no_page(tmp_path: Path) -> None:
    found = plan(setup_of("paper"), sizes=(), num_seeds=1)
    reasons = ["Not enough memory."] * len(found.setups)
    with pytest.raises(LogLLMError, match=r"No variant could be run.*itself: Not enough memory\."):
        ablation_page.build_ablation(Store(data_dir=tmp_path), found, reasons)


def test_the_file_gives_back_what_was_written() -> None:
    for change in ({}, {"seeds": None}):
        ablation = from_json(Ablation, content() | change)
        assert from_json(Ablation, json.loads(json.dumps(as_json(ablation)))) == ablation
