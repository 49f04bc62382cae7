"""What tritonclient sees of a scorer: `python ask.py PORT MODEL D`, in an environment of its own. Prints one line of JSON; rewards as their bits in hexadecimal."""

from __future__ import annotations

import json
import sys
from typing import Any


def main() -> None:
    import numpy as np
    from tritonclient import http
    from tritonclient.utils import InferenceServerException

    port, model, d = sys.argv[1], sys.argv[2], int(sys.argv[3])
    rows = (np.arange(20 * d, dtype=np.float32).reshape(20, d) * 7 % 64 / 64).astype(np.float32)
    with http.InferenceServerClient(f"127.0.0.1:{port}") as client:

        def ask(x: Any, *, binary_in: bool, binary_out: bool, **said: Any) -> Any:
            given = http.InferInput("features", list(x.shape), "FP32")
            given.set_data_from_numpy(x, binary_data=binary_in)
            wanted = [http.InferRequestedOutput("reward", binary_data=binary_out)]
            return client.infer(model, [given], outputs=wanted, request_id="7", **said)

        found: dict[str, Any] = {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model": client.is_model_ready(model),
            "version": client.is_model_ready(model, "1"),
            "none": client.is_model_ready("none"),
            "server": client.get_server_metadata(),
            "metadata": client.get_model_metadata(model),
        }
        for binary_in in (False, True):
            for binary_out in (False, True):
                answer = ask(rows, binary_in=binary_in, binary_out=binary_out)
                assert answer.get_response()["id"] == "7"
                found[f"{binary_in:d}{binary_out:d}"] = answer.as_numpy("reward").tobytes().hex()
        given = http.InferInput("features", list(rows.shape), "FP32")
        given.set_data_from_numpy(rows)
        found["as-it-comes"] = client.infer(model, [given], model_version="1").as_numpy("reward").tobytes().hex()
        for name, x, said in (
            ("wide", np.zeros((1, d + 1), np.float32), {}),
            ("unknown", rows, {"model_version": "99"}),
            ("late", rows, {"timeout": 1}),
        ):
            try:
                ask(x, binary_in=True, binary_out=True, **said)
            except InferenceServerException as error:
                found[name] = [error.status(), error.message()]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
