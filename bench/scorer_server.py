"""The scorer as it runs, with one more path to compare it with: `python -m bench.scorer_server CORE`.

CORE is the one processor that it may use, -1 for any. Settings come from the environment, as the scorer's do. POST /bench/constant is a route of the
same app that takes the same body and returns as many bytes, all of them known before.
"""

from __future__ import annotations

import logging
import os
import sys

from starlette.requests import Request
from starlette.responses import Response

from serving.scorer.__main__ import server
from serving.scorer.app import create_app
from serving.scorer.settings import Settings

BODY = b'{"model_name":"tips","model_version":"1","outputs":[{"name":"reward","datatype":"FP32","shape":[20,1],"data":[%b]}]}'


async def constant(request: Request) -> Response:
    await request.body()
    return Response(BODY % b",".join([b"0.30000001192092896"] * 20), media_type="application/json")


def main() -> None:
    core = int(sys.argv[1])
    if core >= 0:
        os.sched_setaffinity(0, {core})
    logging.disable(logging.WARNING)
    settings = Settings()  # type: ignore[call-arg]  # from the environment
    app = create_app(settings)
    app.add_route("/bench/constant", constant, methods=["POST"])
    server(app, settings).run()


if __name__ == "__main__":
    main()
