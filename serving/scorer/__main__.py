"""`python -m serving.scorer`: the scorer as a process. Never more than one worker: several scorers are several processes."""

from __future__ import annotations

import logging
import os
import sys

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from serving.protocol import configured
from serving.scorer.app import create_app
from serving.scorer.settings import Settings


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = Settings()
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            name = "OO_SCORER_" + "_".join(str(part) for part in fault["loc"]).upper() if fault["loc"] else "settings"
            print(f"scorer: {name}: {fault['msg']}", file=sys.stderr)
        return 1
    running = server(create_app(settings), settings)
    os.nice(settings.niceness)
    running.run()
    return 0 if running.started else 1


def server(app: FastAPI, settings: Settings) -> uvicorn.Server:
    """The HTTP server for this app, not yet running."""
    return uvicorn.Server(configured(app, host=settings.host, port=settings.port))


if __name__ == "__main__":
    sys.exit(main())
