"""Names of models: files, folders, and repositories of a Hub that is served on this machine."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner
from huggingface_hub import constants

from pipeline.cli import evaluate, robustness
from pipeline.model_sharing.export import export_model
from pipeline.model_sharing.model_source import find_checkpoint
from tagf_head.checkpoint import load_checkpoint
from tagf_head.errors import CheckpointError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def exported(write_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    export_model(write_run(folder / "run"), folder / "model")
    return folder / "model"


class _Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks for of one model repository, `lab/model`, with the tag `v1`."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        type(self).asked.append(path)
        headers: dict[str, str] = {}
        status, body = 200, b""
        if path in (
            "/api/models/lab/model",
            *(f"/api/models/lab/model/revision/{x}" for x in ("main", "v1")),
        ):
            siblings = [{"rfilename": name} for name in self.files]
            body = json.dumps({"id": "lab/model", "sha": COMMIT, "siblings": siblings}).encode()
        elif path.startswith(f"/api/models/lab/model/tree/{COMMIT}"):
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": _blob(content)}
                for name, content in self.files.items()
            ]
            body = json.dumps(entries).encode()
        elif path.startswith("/lab/model/resolve/") and path.rpartition("/")[2] in self.files:
            body = self.files[path.rpartition("/")[2]]
            headers = {"ETag": f'"{_blob(body)}"', "X-Repo-Commit": COMMIT}
        elif path.startswith("/api/models/lab/model/revision/"):
            status, headers = 404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "no such revision"}
        elif path.startswith("/api/models/lab/gated"):
            status, headers = 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"}
        elif path.startswith("/api/models/lab/broken"):
            status = 500
        else:
            status, headers = 404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "no such repository"}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def _blob(content: bytes) -> str:
    """Git's digest of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.fixture
def hub(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Hub]]:
    _Hub.files = {each.name: each.read_bytes() for each in exported.iterdir()}
    _Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.chdir(tmp_path)
    try:
        yield _Hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_files_and_folders(write_run, exported: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert find_checkpoint(run / "best.safetensors") == run / "best.safetensors"
    assert find_checkpoint(str(run)) == run / "best.safetensors"
    assert find_checkpoint(exported) == exported / "model.safetensors"


def test_a_folder_of_two_checkpoints(write_run, exported: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    shutil.copy(exported / "model.safetensors", run)
    with pytest.raises(
        CheckpointError, match=r"run holds both best\.safetensors and model\.safetensors; give"
    ):
        find_checkpoint(run)


def test_a_folder_of_runs_names_them(write_run, tmp_path: Path) -> None:
    for fold in range(5):
        write_run(tmp_path / "cv" / f"fold-{fold}")
    with pytest.raises(
        CheckpointError, match=r"in .*cv; give one of its runs: \S+fold-0, \S+fold-1, \S+fold-2, \.\.\.$"
    ):
        find_checkpoint(tmp_path / "cv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"in .*empty; train a head first"):
        find_checkpoint(tmp_path / "empty")


def test_a_misspelt_path_is_no_repository(write_run, hub: type[_Hub], tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "tagf")
    for name in ("runs/tgaf", "lab/best.safetensors", "nothing", "a/b/c"):
        with pytest.raises(CheckpointError, match=f"no checkpoint at {name}"):
            find_checkpoint(name)
    with pytest.raises(CheckpointError, match=r"\(runs in runs: tagf\)"):
        find_checkpoint(Path("runs/tgaf"))
    assert hub.asked == []


@pytest.mark.parametrize("where", ["model.safetensors", "SHA256SUMS"])
def test_a_checkpoint_that_is_not_the_one_of_its_checksums(
    exported: Path, tmp_path: Path, where: str
) -> None:
    shutil.copytree(exported, tmp_path / "model")
    path = tmp_path / "model" / where
    content = bytearray(path.read_bytes())
    # The checkpoint's last weight, or a digit of its digest, which comes first.
    content[-1 if where == "model.safetensors" else 0] ^= 3
    path.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors: expected SHA-256 .+, as SHA256SUMS says, got"
    ):
        find_checkpoint(tmp_path / "model")
    with pytest.raises(CheckpointError, match="as SHA256SUMS says"):
        find_checkpoint(tmp_path / "model" / "model.safetensors")


def test_checksums_of_other_tools(exported: Path, tmp_path: Path) -> None:
    # `sha256sum --binary`, and files that are not looked at.
    shutil.copytree(exported, tmp_path / "model")
    checksums = tmp_path / "model" / "SHA256SUMS"
    digest = hashlib.sha256((exported / "model.safetensors").read_bytes()).hexdigest()
    checksums.write_text(f"{'0' * 64}  other\n{digest} *model.safetensors\n\n")
    assert find_checkpoint(tmp_path / "model").name == "model.safetensors"
    checksums.write_text(f"{digest}  other\n{'0' * 64} *model.safetensors\n")
    with pytest.raises(CheckpointError, match="expected SHA-256 0000"):
        find_checkpoint(tmp_path / "model")


def test_commands_take_folders(
    write_run, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, seen = write_run(tmp_path / "run"), []

    def stop(
        _features: object, _annotations: object, checkpoints: tuple[Path, ...], *_: object, **__: object
    ) -> None:
        seen.append(checkpoints)
        raise CheckpointError("far enough")

    monkeypatch.setattr("tagf_head.evaluation.evaluate.evaluate_head", stop)
    monkeypatch.setattr("tagf_head.robustness.run.measure_robustness", stop)
    words = ["--features", "f", "--annotations", "a", "--checkpoint", str(run), "--checkpoint", str(exported)]
    for command in (evaluate.command, robustness.command):
        CliRunner().invoke(command, [*words, "--out", "o"])
    found = exported / "model.safetensors"
    # A measurement of robustness looks below folders of runs itself.
    assert seen == [(run / "best.safetensors", found), (run, found)]


def test_a_repository_is_fetched_once(
    hub: type[_Hub], exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_checkpoint("lab/model")
    assert found.read_bytes() == (exported / "model.safetensors").read_bytes()
    assert load_checkpoint(found).info.best_epoch == 3
    fetched = {each.rpartition("/")[2] for each in hub.asked if "/resolve/" in each}
    assert fetched == {"model.safetensors", "SHA256SUMS"}
    assert find_checkpoint(Path("lab/model@v1")) == found
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_checkpoint("lab/model") == found
    assert hub.asked == []
    with pytest.raises(
        CheckpointError, match=r"lab/other is no file or folder here, was not fetched .* 'hf down|hf down"
    ):
        find_checkpoint("lab/other")


def test_a_repository_is_held_against_its_checksums(hub: type[_Hub]) -> None:
    hub.files["model.safetensors"] = hub.files["model.safetensors"][:-1] + b"x"
    with pytest.raises(CheckpointError, match=r"model\.safetensors: expected SHA-256"):
        find_checkpoint("lab/model")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lab/nothing", "lab/nothing is no file or folder here, and no model repository .* 'hf auth login'"),
        (
            "lab/gated",
            "lab/gated: its owner gives access on request; ask on https://huggingface.co/lab/gated",
        ),
        ("lab/model@v9", "lab/model@v9: the repository has no revision 'v9'"),
        ("lab/broken", "lab/broken is no file or folder here, was not fetched .* cannot be reached now"),
        ("lab/a--b", r"lab/a--b cannot be fetched from the Hugging Face Hub \(HFValidationError"),
    ],
)
def test_repositories_that_cannot_be_fetched(hub: type[_Hub], name: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        find_checkpoint(name)
    assert "\n" not in str(caught.value)


def test_a_repository_without_a_checkpoint(hub: type[_Hub]) -> None:
    hub.files = {"README.md": b"# nothing"}
    with pytest.raises(CheckpointError, match=r"lab/model: the repository holds no model\.safetensors"):
        find_checkpoint("lab/model")


def test_without_huggingface_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"takes huggingface_hub, .* run \"pip install 'tagf\[hub\]'\""):
        find_checkpoint("lab/model")
