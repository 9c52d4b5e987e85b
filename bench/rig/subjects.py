"""What is measured: the gateway with its features on, a hop that does nothing else, LiteLLM."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import relay, upstream
from bench.rig.messages import KEY, MODEL
from bench.rig.processes import LOAD_CORE, SUBJECT_CORE, Hop, drain, started, told_port, wait_until

SERVE = ("-c", "from trunkline.cli import main; main()", "serve", "--port", "0")
LISTENING = rb"listening on .*:(\d+)/v1"
_AMOUNT = {"amount": 1_000_000, "period": "month"}
_KEEPS_MEMORY = dict.fromkeys(
    ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"), "16777216"
)
"""With it no large block goes back to the system; without, page faults come and go by chance."""
_NGINX = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/pid;
error_log stderr crit;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_buffer_size 256k;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream up {{
        server 127.0.0.1:{to};
        keepalive 512;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://up;
            proxy_http_version 1.1;
            proxy_set_header connection "";
        }}
    }}
}}
"""


def configuration(to: int) -> str:
    """Return a configuration that goes `to` a port, with price, limits and budgets on."""
    provider = {
        "type": "openai_compatible",
        "base_url": f"http://127.0.0.1:{to}/v1",
        "api_key": "sk-1234567890",
        "models": [{"name": MODEL, "price": {"input": 2.5, "output": 10}}],
        "rate_limits": {"requests_per_minute": 100_000_000, "tokens_per_minute": 10**12},
    }
    scopes = ("global", "provider:up", f"deployment:up/{MODEL}")
    said = {
        "default_provider": "up",
        "providers": {"up": provider},
        "keys": [{"name": "bench", "key": KEY, "budget": _AMOUNT}],
        "budgets": [{"scope": scope, **_AMOUNT} for scope in scopes],
    }
    return json.dumps({"llm_service": said})  # JSON is YAML


@contextlib.contextmanager
def provider() -> Iterator[Hop]:
    """Start the provider that is never the bottleneck, beside the load."""
    with started([sys.executable, "-P", upstream.__file__], core=LOAD_CORE) as process:
        yield Hop(process.pid, told_port(process), "direct")


@contextlib.contextmanager
def trunkline(
    to: int, *, core: int | None = SUBJECT_CORE, under: Sequence[str] = ()
) -> Iterator[Hop]:
    """Start `trunkline serve` on a data folder of its own, `under` a program that watches it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "trunkline.yaml")
        file.write_text(configuration(to))
        env = {"TRUNKLINE_DATA": folder, "TRUNKLINE_ADMIN_KEY": "tl-admin-of-the-bench"}
        command = [*under, sys.executable, *SERVE, "--config", str(file)]
        with started(command, env, core=core) as process:
            yield Hop(process.pid, told_port(process, LISTENING), "trunkline")


@contextlib.contextmanager
def reference(to: int) -> Iterator[Hop]:
    """Start nginx with `proxy_pass`, or where there is none a relay that looks at nothing."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if nginx is None:
        with started([sys.executable, "-P", relay.__file__, str(to)]) as process:
            yield Hop(process.pid, told_port(process), "blind relay of bench/relay.py")
        return
    said = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
    name = "nginx " + said.rpartition("/")[2].strip()
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        file = Path(folder, "nginx.conf")
        file.write_text(_NGINX.format(folder=folder, port=port, to=to))
        command = [nginx, "-e", "stderr", "-p", folder, "-c", str(file)]
        with started(command, _KEEPS_MEMORY) as process:
            wait_until("nginx", lambda: _accepts(port))
            yield Hop(process.pid, port, name)


@contextlib.contextmanager
def litellm(program: str, to: int) -> Iterator[Hop]:
    """Start LiteLLM's proxy: one worker, its own key, no database."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        up = {"api_base": f"http://127.0.0.1:{to}/v1", "api_key": "sk-1234567890"}
        models = [{"model_name": MODEL, "litellm_params": {"model": f"openai/{MODEL}", **up}}]
        file = Path(folder, "litellm.yaml")
        settings = {"model_list": models, "general_settings": {"master_key": KEY}}
        file.write_text(json.dumps(settings))
        env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "NO_DOCS": "True"}
        command = [program, "--config", str(file), "--port", str(port), "--host", "127.0.0.1"]
        with started([*command, "--num_workers", "1", "--telemetry", "False"], env) as process:
            drain(process)
            wait_until("LiteLLM", lambda: _alive(port))
            yield Hop(process.pid, port, f"LiteLLM {version[0] if version else ''}".strip())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _alive(port: int) -> bool:
    url = f"http://127.0.0.1:{port}/health/liveliness"
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
    return False
