"""One `vllm serve` process on 127.0.0.1: started, waited for, ended with all its children."""

import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from harness.environments import vllm_executable
from harness.errors import StageFailed
from harness.fingerprint import cache_folder
from harness.inference.vllm import end_with_parent
from harness.types.protocols import Progress

BASE = "base"
_POLL_SECONDS = 0.25
_SECONDS_BETWEEN_NEWS = 20.0
_MOST_SECONDS = 900.0
_STOP_SECONDS = 15.0
_CALL_SECONDS = 120.0
_TAIL_LINES = 6
_CAUSES = 3
_LINE_CHARACTERS = 400
_ERROR = re.compile(r"\b\w+(Error|Exception): ")
# GiB of keys and values on a CPU, where vLLM would take half of the machine's memory.
_CPU_CACHE_GIB = "1"


@dataclass(frozen=True)
class Serving:
    """What is served. adapter_rank: room for LoRA adapters up to this rank, 0 for none."""

    folder: Path
    tokenizer: Path
    dtype: str
    adapter_rank: int = 0
    trust_remote_code: bool = False
    on_cpu: bool = False


class VllmServer:
    """A running server; its log is kept where it died and removed if it was ended."""

    def __init__(self, serving: Serving, *, progress: Progress, most_seconds: float = _MOST_SECONDS) -> None:
        """Start the server and wait until it answers.

        Raises:
            MissingPackage: If vLLM is not installed.
            StageFailed: With the tail of its log if it dies or does not answer within `most_seconds`.
        """
        self._key = secrets.token_hex(16)  # other users of this machine reach its ports too
        self._address = f"http://127.0.0.1:{_free_port()}"
        self._log = _new_log()
        command = [str(vllm_executable()), *_arguments(serving, self._address.rpartition(":")[2])]
        began = time.monotonic()
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-I", str(end_with_parent.__file__), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(os.environ, self._key),
                start_new_session=True,
            )
        progress.say(f"vLLM is starting with {serving.folder.name} (about a minute)")
        try:
            self._wait(began, most_seconds, progress)
        except BaseException:
            self.stop(keep_log=True)
            raise
        progress.say(f"vLLM is ready after {time.monotonic() - began:.0f} s")

    @property
    def url(self) -> str:
        return f"{self._address}/v1"

    @property
    def key(self) -> str:
        return self._key

    def explained(self, error: StageFailed) -> StageFailed:
        """Return `error`, with the end of the log if it is the server that ended."""
        code = self._process.poll()
        return error if code is None else StageFailed(self._death(code))

    def context(self) -> int:
        """Return how many tokens prompt and answer may have together."""
        listed = self._call("GET", "/models").json()["data"]
        return next(int(model["max_model_len"]) for model in listed if model["id"] == BASE)

    def load_adapter(self, name: str, folder: Path) -> None:
        """Serve the LoRA adapter of `folder` under `name` beside the base model.

        Raises:
            StageFailed: With vLLM's words if it does not take it.
        """
        self._call("POST", "/load_lora_adapter", {"lora_name": name, "lora_path": str(folder.resolve())})

    def stop(self, *, keep_log: bool = False) -> None:
        """End the server and all its processes."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if not keep_log:
            self._log.unlink(missing_ok=True)

    def _call(self, method: str, path: str, body: object = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._key}"}
        try:
            response = httpx.request(
                method, f"{self.url}{path}", json=body, headers=headers, timeout=_CALL_SECONDS, trust_env=False
            )
        except httpx.HTTPError as error:
            raise self.explained(StageFailed(f"vLLM did not answer {method} {path}: {error}")) from error
        if response.status_code >= 400:
            raise StageFailed(f"vLLM refuses {method} {path} {body}: {' '.join(response.text.split())[:500]}")
        return response

    def _wait(self, began: float, most_seconds: float, progress: Progress) -> None:
        told = began
        # trust_env: a proxy that the environment names cannot reach this machine's loopback.
        with httpx.Client(timeout=5, trust_env=False) as client:
            while not _healthy(client, f"{self._address}/health"):
                code, now = self._process.poll(), time.monotonic()
                if code is not None:
                    raise StageFailed(self._death(code))
                if now - began > most_seconds:
                    raise StageFailed(f"vLLM did not answer within {most_seconds:g} s; its log {self._ending()}")
                if now - told > _SECONDS_BETWEEN_NEWS:
                    told = now
                    progress.say(
                        f"vLLM is starting, {now - began:.0f} s: {(self._tail() or ['no word yet'])[-1][:120]}"
                    )
                time.sleep(_POLL_SECONDS)

    def _death(self, code: int) -> str:
        return f"vLLM ended with code {code}; its log {self._ending()}"

    def _ending(self) -> str:
        errors = [line for line in self._tail() if _ERROR.search(line)]
        tail = self._tail()[-_TAIL_LINES:]
        # vLLM's own last words say only that something happened "above".
        causes = [line for line in dict.fromkeys(errors) if line not in tail][-_CAUSES:]
        shown = "\n".join(line[:_LINE_CHARACTERS] for line in [*causes, *tail]) or "(empty)"
        return f"({self._log}) ends with:\n{shown}\nmend that, or use engine='transformers'; running again resumes"

    def _tail(self) -> list[str]:
        return self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()


def _arguments(serving: Serving, port: str) -> list[str]:
    arguments = ["serve", str(serving.folder), "--tokenizer", str(serving.tokenizer), "--served-model-name", BASE]
    arguments += ["--host", "127.0.0.1", "--port", port, "--dtype", serving.dtype]
    # Prompts come as token ids, and each carries its own decoding: the model's sampling habits stay out.
    arguments += ["--enable-prefix-caching", "--max-model-len", "auto", "--generation-config", "vllm"]
    # Compiling takes minutes and pays back only in long serving.
    if serving.on_cpu:
        # Blocks of 128 tokens, the default, share little of a prompt; 32 is the smallest that its CPU attention takes.
        arguments += ["--block-size", "32"]
    arguments += ["--enforce-eager", "--max-logprobs", "20", "--disable-log-stats", "--disable-uvicorn-access-log"]
    if serving.adapter_rank:
        arguments += ["--enable-lora", "--max-lora-rank", str(serving.adapter_rank), "--max-loras", "1"]
    return arguments + (["--trust-remote-code"] if serving.trust_remote_code else [])


def _environment(given: Mapping[str, str], key: str) -> dict[str, str]:
    # PYTHONPATH and the like would mix our packages with vLLM's.
    kept = {name: value for name, value in given.items() if not name.startswith("PYTHON")}
    # vLLM holds a core back for its server, which is half of a small machine.
    changeable = {"VLLM_CPU_KVCACHE_SPACE": _CPU_CACHE_GIB, "VLLM_CPU_NUM_OF_RESERVED_CPU": "0"}
    fixed = {
        "VLLM_API_KEY": key,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    return changeable | kept | fixed


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _new_log() -> Path:
    folder = cache_folder() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="vllm-", suffix=".log", dir=folder)
    os.close(handle)
    return Path(name)


def _healthy(client: httpx.Client, address: str) -> bool:
    try:
        return client.get(address).status_code == 200
    except httpx.TransportError:
        return False
