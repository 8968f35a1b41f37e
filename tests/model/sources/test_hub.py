"""Loading by hub id, from a server on this machine that answers as a model hub does."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

import pytest
import torch
from huggingface_hub import constants, hf_hub_download

from logllm_core.errors import LogLLMError
from logllm_core.model import backbones
from logllm_core.model.sources.named_backbones import BackboneFolders
from logllm_core.model.sources.pooling import POOLING
from logllm_core.store.store import Store
from tests import tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NOBODY = "http://127.0.0.1:9"
BOTH = "acme/encoder,acme/decoder"
Load = Callable[[str], BackboneFolders]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hub:
    """A hub with the models acme/encoder and acme/decoder."""

    address: str
    models: Path  # a folder each
    asked: list[str]  # paths
    commits: dict[str, str]  # that the models are at

    def answer(self, path: str) -> tuple[bytes | None, str | None]:
        """The content at a path and the model that it is of, either None where there is none."""
        self.asked.append(path)
        name, _, inside = path.partition("/acme/")[2].partition("/")
        folder = self.models / name
        if name not in self.commits:
            return None, None
        if path.startswith("/api/"):
            listed: object = {"id": f"acme/{name}", "sha": self.commits[name]}
            if inside.startswith("tree/"):
                listed = [described(folder, path) for path in folder.rglob("*") if path.is_file()]
            return json.dumps(listed).encode(), name
        file = folder / re.sub(r"^resolve/[^/]+/", "", inside)
        return (file.read_bytes() if file.is_file() else None), name


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    tiny.save(tmp_path / "models")

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(has_body=False)

        def do_GET(self) -> None:
            self._answer(has_body=True)

        def _answer(self, *, has_body: bool) -> None:
            content, name = served.answer(urlparse(self.path).path)
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound" if name else "RepoNotFound")
            self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
            self.send_header("X-Repo-Commit", served.commits.get(name or "", COMMIT))
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if has_body:
                self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        served = Hub(
            address=f"http://127.0.0.1:{server.server_port}",
            models=tmp_path / "models",
            asked=[],
            commits=dict.fromkeys(("encoder", "decoder"), COMMIT),
        )
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield served
        server.shutdown()


def described(folder: Path, path: Path) -> dict[str, object]:
    """A file as the hub lists it."""
    content = path.read_bytes()
    oid = hashlib.sha256(content).hexdigest()
    name = path.relative_to(folder).as_posix()
    return {"type": "file", "path": name, "size": len(content), "oid": oid}


def ask(address: str, patch: pytest.MonkeyPatch) -> None:
    """As HF_ENDPOINT would have it in a new process."""
    patch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def load(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Finds and loads backbones, with a cache of its own."""
    ask(hub.address, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def load(name: str) -> BackboneFolders:
        folders = backbones.find_backbones(Store(data_dir=tmp_path / "data"), name)
        loading = backbones.Loading(device=torch.device("cpu"), dtype=torch.float32)
        projector = backbones.load_backbones(folders, loading).model.projector
        assert projector is not None
        assert (projector.in_features, projector.out_features) == (16, 32)
        return folders

    return load


def test_backbones_load_by_hub_id(hub: Hub, load: Load) -> None:
    assert load(BOTH).pooling == "pooler"  # the hub has no word on it
    for name in ("encoder", "decoder"):
        pattern = f"/acme/{name}/resolve/(main|{COMMIT})/model.safetensors"
        assert any(re.fullmatch(pattern, path) for path in hub.asked)
    assert not any(path.endswith((".bin", ".py", ".pkl")) for path in hub.asked)


def test_after_the_first_time_nobody_is_asked_though_the_hub_has_another_model(
    hub: Hub, load: Load, tmp_path: Path
) -> None:
    first = load(BOTH)
    hub.asked.clear()
    hub.commits["encoder"] = "f" * 40
    config_path = hub.models / "encoder" / "config.json"
    config = json.loads(config_path.read_text())
    config_path.write_text(json.dumps(config | {"layer_norm_eps": 0.5}))
    assert (load(BOTH), hub.asked) == (first, [])
    # Another data folder takes the model that is there now, and knows that it is another one.
    (tmp_path / "data").rename(tmp_path / "old data")
    assert load(BOTH).encoder_content not in (first.encoder_content, None)


def test_half_of_a_model_in_the_cache_is_no_model(
    hub: Hub, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    hf_hub_download("acme/encoder", "config.json")
    ask(NOBODY, monkeypatch)
    with pytest.raises(LogLLMError, match=r"acme/encoder cannot be had: there is no model\.saf"):
        load(BOTH)
    ask(hub.address, monkeypatch)
    load(BOTH)


def test_what_was_cleaned_away_is_fetched_again_at_the_same_commit(
    hub: Hub, load: Load, tmp_path: Path
) -> None:
    first = load(BOTH)
    for weights in (tmp_path / "hub").rglob("model.safetensors"):
        weights.resolve().unlink()
        weights.unlink()
    hub.asked.clear()
    assert load(BOTH) == first
    assert {path for path in hub.asked if "/resolve/" in path} == {
        f"/acme/{name}/resolve/{COMMIT}/model.safetensors" for name in ("encoder", "decoder")
    }


def test_an_encoder_of_a_hub_pools_as_its_files_there_say(hub: Hub, load: Load) -> None:
    path = hub.models / "encoder" / POOLING
    path.parent.mkdir()
    path.write_text('{"pooling_mode_mean_tokens": true}')
    assert load(BOTH).pooling == "mean"


@pytest.mark.parametrize("name", ["acme/nothing,acme/decoder", "acme/encoder,acme/nothing"])
def test_a_model_that_no_hub_has_is_one_clear_error(name: str, load: Load) -> None:
    with pytest.raises(LogLLMError, match=r"^The model acme/nothing cannot be had: "):
        load(name)


def test_a_hub_that_does_not_answer_is_one_clear_error(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(NOBODY, monkeypatch)
    with pytest.raises(LogLLMError, match=r"The model acme/encoder cannot be had: .*hf auth login"):
        load(BOTH)


def test_code_from_a_hub_is_not_run(hub: Hub, load: Load) -> None:
    config_path = hub.models / "encoder" / "config.json"
    config = json.loads(config_path.read_text())
    config["auto_map"] = {"AutoModel": "evil.Evil", "AutoConfig": "evil.EvilConfig"}
    config["model_type"] = "evil"
    config_path.write_text(json.dumps(config))
    (config_path.parent / "evil.py").write_text("raise SystemExit('code was run')")
    with pytest.raises(LogLLMError, match="cannot be loaded"):
        load(BOTH)


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_a_model_without_safetensors_is_refused_and_nobody_is_asked_to_convert_it(
    name: str, hub: Hub, load: Load
) -> None:
    # transformers would send the hub id, and the user's token, to a service that converts weights.
    weights_path = hub.models / name / "model.safetensors"
    weights_path.rename(weights_path.with_name("pytorch_model.bin"))
    with pytest.raises(LogLLMError, match=rf"acme/{name} cannot be had: there is no model\.saf"):
        load(BOTH)
    asked = [path for path in hub.asked if f"acme/{name}" in path]
    assert not [path for path in asked if re.search(r"/commits/|/discussions|\.bin$", path)]
