"""MLflow's server in one process: what `mlflow server` does with one worker, which would keep a second one that only waits, and outlives it.

It answers on loopback alone unless OO_MLFLOW_HOST says otherwise, runs no jobs, and gives artifacts out itself. Usage: python -m
deploy.stack.mlflow_server PORT ARTIFACTS, with the database in OO_MLFLOW_DSN.
"""

from __future__ import annotations

import os
import sys

from deploy.stack.state import LOOPBACK

NICENESS = 10
"""No tip waits for it."""
ROOT = "mlflow-artifacts:/"
"""Artifacts are asked of the server, never of a folder."""


def main() -> None:
    """Serve until a signal says to end."""
    port, artifacts = int(sys.argv[1]), sys.argv[2]
    dsn = os.environ.pop("OO_MLFLOW_DSN")
    print("mlflow: imports, a quarter of a minute or more", flush=True)
    from mlflow.server import constants

    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: dsn,
        constants.ARTIFACT_ROOT_ENV_VAR: ROOT,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: artifacts,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
    }
    import uvicorn
    from mlflow.server.handlers import initialize_backend_stores

    print("mlflow: brings its tables to its version", flush=True)
    initialize_backend_stores(dsn, None, ROOT)
    print("mlflow: begins to serve", flush=True)
    # Not before: a start has its deadline.
    os.nice(NICENESS)
    host = os.environ.get("OO_MLFLOW_HOST", LOOPBACK)
    uvicorn.run("mlflow.server.fastapi_app:app", host=host, port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
