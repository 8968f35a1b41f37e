"""Loading by hub id, from a server on this machine that answers as a model hub does."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

import pytest

from logllm_core.model.sources.pooling import POOLING
from tests import tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = """
import sys
import torch
from pathlib import Path
from logllm_core.errors import LogLLMError
from logllm_core.model import backbones
from logllm_core.store.store import Store

try:
    places = backbones.find_backbones(Store(data_dir=Path(sys.argv[1])), sys.argv[2])
    loading = backbones.Loading(device=torch.device("cpu"), dtype=torch.float32)
    model = backbones.load_backbones(places, loading).model
except LogLLMError as fault:
    sys.exit(f"refused: {fault}")
print(places.identity["encoder_content"], model.projector, places.pooling)
"""


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
            found: object = {"id": f"acme/{name}", "sha": self.commits[name]}
            if inside.startswith("tree/"):
                found = [described(folder, path) for path in folder.rglob("*") if path.is_file()]
            return json.dumps(found).encode(), name
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
            content, name = found.answer(urlparse(self.path).path)
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound" if name else "RepoNotFound")
            self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
            self.send_header("X-Repo-Commit", found.commits.get(name or "", COMMIT))
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if has_body:
                self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        found = Hub(
            address=f"http://127.0.0.1:{server.server_port}",
            models=tmp_path / "models",
            asked=[],
            commits=dict.fromkeys(("encoder", "decoder"), COMMIT),
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


def described(folder: Path, path: Path) -> dict[str, object]:
    """A file as the hub lists it."""
    content = path.read_bytes()
    oid = hashlib.sha256(content).hexdigest()
    name = path.relative_to(folder).as_posix()
    return {"type": "file", "path": name, "size": len(content), "oid": oid}


def load(address: str, tmp_path: Path, name: str) -> subprocess.CompletedProcess[str]:
    unset = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    environment |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hub")}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "data"), name]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_backbones_load_by_hub_id(hub: Hub, tmp_path: Path) -> None:
    done = load(hub.address, tmp_path, "acme/encoder,acme/decoder")
    assert done.returncode == 0, done.stderr
    assert "in_features=16, out_features=32" in done.stdout
    assert done.stdout.endswith(" pooler\n")  # the hub has no word on it
    for name in ("encoder", "decoder"):
        pattern = f"/acme/{name}/resolve/(main|{COMMIT})/model.safetensors"
        assert any(re.fullmatch(pattern, path) for path in hub.asked)
    assert not any(path.endswith((".bin", ".py", ".pkl")) for path in hub.asked)


def test_after_the_first_time_nobody_is_asked_though_the_hub_has_another_model(
    hub: Hub, tmp_path: Path
) -> None:
    first = load(hub.address, tmp_path, "acme/encoder,acme/decoder")
    hub.asked.clear()
    hub.commits["encoder"] = "f" * 40
    config_path = hub.models / "encoder" / "config.json"
    config = json.loads(config_path.read_text())
    config_path.write_text(json.dumps(config | {"layer_norm_eps": 0.5}))
    again = load(hub.address, tmp_path, "acme/encoder,acme/decoder")
    assert (again.stdout, hub.asked) == (first.stdout, []), again.stderr
    # Another data folder takes the model that is there now, and knows that it is another one.
    (tmp_path / "data").rename(tmp_path / "old data")
    other = load(hub.address, tmp_path, "acme/encoder,acme/decoder")
    assert other.returncode == 0, other.stderr
    assert other.stdout.split()[0] not in (first.stdout.split()[0], "None")


def test_half_of_a_model_in_the_cache_is_no_model(hub: Hub, tmp_path: Path) -> None:
    environment = os.environ | {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hub")}
    program = "from transformers import AutoConfig; AutoConfig.from_pretrained('acme/encoder')"
    environment.pop("HF_HUB_OFFLINE", None)
    environment.pop("TRANSFORMERS_OFFLINE", None)
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    away = load("http://127.0.0.1:9", tmp_path, "acme/encoder,acme/decoder")
    assert away.returncode == 1
    assert "refused: The model acme/encoder cannot be had: there is no model.saf" in away.stderr
    back = load(hub.address, tmp_path, "acme/encoder,acme/decoder")
    assert back.returncode == 0, back.stderr


def test_what_was_cleaned_away_is_fetched_again_at_the_same_commit(
    hub: Hub, tmp_path: Path
) -> None:
    first = load(hub.address, tmp_path, "acme/encoder,acme/decoder")
    for weights in (tmp_path / "hub").rglob("model.safetensors"):
        weights.resolve().unlink()
        weights.unlink()
    hub.asked.clear()
    again = load(hub.address, tmp_path, "acme/encoder,acme/decoder")
    assert again.stdout == first.stdout, again.stderr
    assert {path for path in hub.asked if "/resolve/" in path} == {
        f"/acme/{name}/resolve/{COMMIT}/model.safetensors" for name in ("encoder", "decoder")
    }


def test_an_encoder_of_a_hub_pools_as_its_files_there_say(hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "models" / "encoder" / POOLING
    path.parent.mkdir()
    path.write_text('{"pooling_mode_mean_tokens": true}')
    done = load(hub.address, tmp_path, "acme/encoder,acme/decoder")
    assert done.stdout.endswith(" mean\n"), done.stderr


def test_an_encoder_that_no_hub_has_is_one_clear_error(hub: Hub, tmp_path: Path) -> None:
    done = load(hub.address, tmp_path, "acme/nothing,acme/decoder")
    assert done.returncode == 1
    assert "refused: The model acme/nothing cannot be had: " in done.stderr
    done = load("http://127.0.0.1:9", tmp_path, "acme/encoder,acme/decoder")  # nobody is there
    assert done.returncode == 1
    assert "refused: The model acme/encoder cannot be had: " in done.stderr
    assert "hf auth login" in done.stderr


def test_a_hub_id_that_does_not_exist_is_one_clear_error(hub: Hub, tmp_path: Path) -> None:
    done = load(hub.address, tmp_path, "acme/encoder,acme/nothing")
    assert done.returncode == 1
    assert "refused: The model acme/nothing cannot be had: " in done.stderr


def test_code_from_a_hub_is_not_run(hub: Hub, tmp_path: Path) -> None:
    config_path = tmp_path / "models" / "encoder" / "config.json"
    config = json.loads(config_path.read_text())
    config["auto_map"] = {"AutoModel": "evil.Evil", "AutoConfig": "evil.EvilConfig"}
    config["model_type"] = "evil"
    config_path.write_text(json.dumps(config))
    (config_path.parent / "evil.py").write_text("raise SystemExit('code was run')")
    done = load(hub.address, tmp_path, "acme/encoder,acme/decoder")
    assert done.returncode == 1
    assert "refused: " in done.stderr
    assert "code was run" not in done.stderr


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_a_model_without_safetensors_is_refused_and_nobody_is_asked_to_convert_it(
    name: str, hub: Hub, tmp_path: Path
) -> None:
    # transformers would send the hub id, and the user's token, to a service that converts weights.
    weights_path = tmp_path / "models" / name / "model.safetensors"
    weights_path.rename(weights_path.with_name("pytorch_model.bin"))
    done = load(hub.address, tmp_path, "acme/encoder,acme/decoder")
    assert done.returncode == 1
    assert f"refused: The model acme/{name} cannot be had: there is no model.saf" in done.stderr
    asked = [path for path in hub.asked if f"acme/{name}" in path]
    assert not [path for path in asked if re.search(r"/commits/|/discussions|\.bin$", path)]
