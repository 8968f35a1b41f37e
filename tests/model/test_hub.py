"""Loading by hub id, from a server on this machine that answers as a model hub does."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

import pytest

from logllm_core.model.pooling import POOLING
from tests import tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = """
import sys
import torch
from pathlib import Path
from logllm_core.errors import LogLLMError
from logllm_core.model import backbones
from logllm_core.store import Store

try:
    places = backbones.find_backbones(Store(data_dir=Path(sys.argv[1])), sys.argv[2])
    loading = backbones.Loading(device=torch.device("cpu"), dtype=torch.float32)
    model = backbones.load_backbones(places, loading).model
except LogLLMError as fault:
    sys.exit(f"refused: {fault}")
print(model.projector, places.pooling)
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """Address of a hub with the models acme/encoder and acme/decoder, and the paths asked for."""
    models = tmp_path / "models"
    tiny.save(models)
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(has_body=False)

        def do_GET(self) -> None:
            self._answer(has_body=True)

        def _answer(self, *, has_body: bool) -> None:
            path = urlparse(self.path).path
            asked.append(path)
            name, _, inside = path.partition("/acme/")[2].partition("/")
            file = models / name / re.sub(r"^resolve/[^/]+/", "", inside)
            is_model = bool(name) and (models / name).is_dir()
            if path.startswith("/api/") and is_model and not inside:
                held = [{"rfilename": file.name} for file in (models / name).iterdir()]
                info = {"id": f"acme/{name}", "sha": COMMIT, "siblings": held}
                self._send(200, json.dumps(info).encode(), has_body=has_body)
            elif is_model and file.is_file():
                self._send(200, file.read_bytes(), has_body=has_body)
            else:
                self._send(404, b"", has_body=has_body, is_model=is_model)

        def _send(
            self, status: int, content: bytes, *, has_body: bool, is_model: bool = True
        ) -> None:
            self.send_response(status)
            if status == 404:
                self.send_header("X-Error-Code", "EntryNotFound" if is_model else "RepoNotFound")
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if has_body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def load(address: str, tmp_path: Path, name: str) -> subprocess.CompletedProcess[str]:
    unset = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    environment |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hub")}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "data"), name]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_backbones_load_by_hub_id(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    address, asked = hub
    done = load(address, tmp_path, "acme/encoder,acme/decoder")
    assert done.returncode == 0, done.stderr
    assert "in_features=16, out_features=32" in done.stdout
    assert done.stdout.endswith(" pooler\n")  # the hub has no word on it
    for name in ("encoder", "decoder"):
        pattern = f"/acme/{name}/resolve/(main|{COMMIT})/model.safetensors"
        assert any(re.fullmatch(pattern, path) for path in asked)
    assert not any(path.endswith((".bin", ".py", ".pkl")) for path in asked)


def test_an_encoder_of_a_hub_pools_as_its_files_there_say(
    hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    path = tmp_path / "models" / "encoder" / POOLING
    path.parent.mkdir()
    path.write_text('{"pooling_mode_mean_tokens": true}')
    done = load(hub[0], tmp_path, "acme/encoder,acme/decoder")
    assert done.stdout.endswith(" mean\n"), done.stderr


def test_an_encoder_that_no_hub_has_is_one_clear_error(
    hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    done = load(hub[0], tmp_path, "acme/nothing,acme/decoder")
    assert done.returncode == 1
    assert "refused: The encoder acme/nothing cannot be had: " in done.stderr
    done = load("http://127.0.0.1:9", tmp_path, "acme/encoder,acme/decoder")  # nobody is there
    assert done.returncode == 1
    assert "refused: How acme/encoder pools cannot be asked: " in done.stderr
    assert "--set pooling=mean" in done.stderr


def test_a_hub_id_that_does_not_exist_is_one_clear_error(
    hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    done = load(hub[0], tmp_path, "acme/encoder,acme/nothing")
    assert done.returncode == 1
    assert "refused: The backbones acme/encoder and acme/nothing cannot be loaded" in done.stderr


def test_code_from_a_hub_is_not_run(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    config_path = tmp_path / "models" / "encoder" / "config.json"
    config = json.loads(config_path.read_text())
    config["auto_map"] = {"AutoModel": "evil.Evil", "AutoConfig": "evil.EvilConfig"}
    config["model_type"] = "evil"
    config_path.write_text(json.dumps(config))
    (config_path.parent / "evil.py").write_text("raise SystemExit('code was run')")
    done = load(hub[0], tmp_path, "acme/encoder,acme/decoder")
    assert done.returncode == 1
    assert "refused: " in done.stderr
    assert "code was run" not in done.stderr


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_a_model_without_safetensors_is_refused_and_nobody_is_asked_to_convert_it(
    name: str, hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    # transformers would send the hub id, and the user's token, to a service that converts weights.
    weights_path = tmp_path / "models" / name / "model.safetensors"
    weights_path.rename(weights_path.with_name("pytorch_model.bin"))
    done = load(hub[0], tmp_path, "acme/encoder,acme/decoder")
    assert done.returncode == 1
    assert "refused: The backbones acme/encoder and acme/decoder cannot be loaded" in done.stderr
    asked = [path for path in hub[1] if f"acme/{name}" in path]
    assert not [path for path in asked if re.search(r"/commits/|/discussions|\.bin$", path)]
