"""`python -m serving`: the edge as a process. Never more than one worker: several edges are several processes."""

from __future__ import annotations

import logging
import sys

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from serving.app import create_app
from serving.edge import Edge
from serving.protocol import configured
from serving.settings import Settings


class Server(uvicorn.Server):
    """Ends open streams before it waits for the last requests: streams would never end by themselves."""

    async def shutdown(self, sockets: object = None) -> None:
        edge = getattr(self.config.app.state, "edge", None)  # type: ignore[union-attr]
        if isinstance(edge, Edge):
            edge.subscriptions.close()
        await super().shutdown(sockets)  # type: ignore[arg-type]


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    # Both would log the address of every call at INFO; the registry's client speaks the second.
    for chatty in ("httpx", "httpx2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # The producer says the same once, in our own words.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        settings = Settings()
        app = create_app(settings)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            name = "OO_" + "_".join(str(part) for part in fault["loc"]).upper() if fault["loc"] else "settings"
            print(f"edge: {name}: {fault['msg']}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"edge: {error}", file=sys.stderr)
        return 1
    running = server(app, settings)
    running.run()
    return 0 if running.started else 1


def server(app: FastAPI, settings: Settings) -> Server:
    """The HTTP server for this app, not yet running."""
    return Server(configured(app, host=settings.edge_host, port=settings.edge_port))


if __name__ == "__main__":
    sys.exit(main())
