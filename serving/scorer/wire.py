"""Requests and answers of the Open Inference Protocol v2, as JSON and with the binary tensor extension. Pure.

One input, `features` FP32 [n, d], and one output, `reward` FP32 [n, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic_core import from_json, to_json

Floats = npt.NDArray[np.float32]
INPUT, OUTPUT, FP32 = "features", "reward", "FP32"
HEADER = "inference-header-content-length"
"""Bytes of JSON before the binary tensors; as a response has it too."""
TIMEOUT = "timeout"
"""A request's parameter: whole microseconds from its arrival, as Triton has it."""
ID_MAX = 256


class BadRequest(ValueError):
    """The request is none that a model here can answer; one sentence that says what to mend."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    features: Floats
    """(n, d)"""
    id: str
    timeout_s: float | None
    binary: bool
    """Whether the answer's tensor is to be binary."""


def asked(body: bytes, head_bytes: str | None, *, d: int, rows_max: int) -> Asked:
    """Read a request; `head_bytes`: what its HEADER says. Raises BadRequest.

    >>> body = b'{"inputs":[{"name":"features","shape":[1,2],"datatype":"FP32","data":[0,0.5]}]}'
    >>> asked(body, None, d=2, rows_max=1).features
    array([[0. , 0.5]], dtype=float32)
    """
    at = len(body)
    if head_bytes is not None:
        if not head_bytes.isdecimal() or int(head_bytes[:12]) > len(body):
            raise BadRequest(f"{HEADER} has to be a whole number of bytes, at most those of the body")
        at = int(head_bytes)
    try:
        head = from_json(body[:at] if at < len(body) else body)
    except ValueError:
        raise BadRequest(f"this is not JSON: with binary tensors after it, {HEADER} says where they begin") from None
    if not isinstance(head, dict):
        raise BadRequest("this is no inference request: a JSON object with `inputs` is")
    match head.get("inputs"):
        case [dict() as tensor]:
            pass
        case _:
            raise BadRequest(f"one input is needed, {INPUT} as {FP32} [n, {d}]")
    outputs, parameters, name = head.get("outputs") or [], _object(head, "parameters"), head.get("id", "")
    if not isinstance(name, str) or len(name) > ID_MAX:
        raise BadRequest(f"an id is a string of {ID_MAX} characters at most")
    match outputs:
        case []:
            binary = parameters.get("binary_data_output")
        case [{"name": "reward", **rest}]:
            binary = _object(rest, "parameters").get("binary_data", parameters.get("binary_data_output"))
        case _:
            raise BadRequest(f"one output is there, {OUTPUT}")
    return Asked(_features(tensor, body[at:], d=d, rows_max=rows_max), name, _timeout_s(parameters), binary is True)


def _object(within: Mapping[Any, Any], name: str) -> dict[str, Any]:
    found = within.get(name) or {}
    if not isinstance(found, dict):
        raise BadRequest(f"{name} has to be a JSON object")
    return found


def _timeout_s(parameters: dict[str, Any]) -> float | None:
    micros = parameters.get(TIMEOUT)
    if micros is None:
        return None
    if not isinstance(micros, int) or isinstance(micros, bool) or micros < 1:
        raise BadRequest(f"the parameter {TIMEOUT} is a whole number of microseconds, at least 1")
    return micros / 1e6


def _features(tensor: dict[str, Any], tail: bytes, *, d: int, rows_max: int) -> Floats:
    if (tensor.get("name"), tensor.get("datatype")) != (INPUT, FP32):
        raise BadRequest(f"the input has to be {INPUT} of datatype {FP32}")
    match tensor.get("shape"):
        # A bool is an int, and no number of rows.
        case [int() as rows, int() as columns] if columns == d and 1 <= rows <= rows_max and rows is not True:
            pass
        case _:
            raise BadRequest(f"the shape of {INPUT} has to be [n, {d}] with n from 1 to {rows_max}")
    size = _object(tensor, "parameters").get("binary_data_size")
    if size is None:
        found = _numbers(tensor.get("data"))
        if tail:
            raise BadRequest(f"bytes follow the JSON, and {INPUT} has no binary_data_size")
    else:
        if size != len(tail) or size != 4 * rows * columns:
            raise BadRequest(f"binary_data_size and the bytes after the JSON have to be 4 * {rows} * {columns}")
        found = np.frombuffer(tail, dtype="<f4")
    if found.size != rows * columns:
        raise BadRequest(f"data holds {found.size} numbers, and the shape says {rows * columns}")
    if not np.isfinite(found).all():
        raise BadRequest(f"{INPUT} have to be finite numbers")
    return found.reshape(rows, columns)


def _numbers(data: object) -> Floats:
    """Flat or in rows."""
    if isinstance(data, list):
        try:
            found = np.asarray(data)
        except ValueError:  # Rows of different lengths.
            found = np.empty(0, dtype=object)
        if found.dtype.kind in "fiu":
            with np.errstate(over="ignore"):
                return found.astype(np.float32).reshape(-1)
    raise BadRequest("data has to be a list of numbers, flat or in rows")


def answered(model: str, version: int, rewards: Floats, *, id: str, binary: bool) -> tuple[bytes, dict[str, str]]:  # noqa: A002 - the protocol's word
    """Write an answer and the headers that it needs; `rewards`: (n,).

    >>> answered("tips", 3, np.array([0.5], np.float32), id="", binary=False)[0]
    b'{"model_name":"tips","model_version":"3","outputs":[{"name":"reward","datatype":"FP32","shape":[1,1],"data":[0.5]}]}'
    """
    output: dict[str, Any] = {"name": OUTPUT, "datatype": FP32, "shape": [len(rewards), 1]}
    tail = b""
    if binary:
        tail = rewards.astype("<f4", copy=False).tobytes()
        output["parameters"] = {"binary_data_size": len(tail)}
    else:
        output["data"] = rewards.tolist()
    named = {"model_name": model, "model_version": str(version), **({"id": id} if id else {})}
    head = to_json({**named, "outputs": [output]})
    if not binary:
        return head, {"content-type": "application/json"}
    return head + tail, {"content-type": "application/octet-stream", HEADER: str(len(head))}


def described(model: str, version: int, versions: list[int], *, d: int, platform: str) -> dict[str, Any]:
    """A model's metadata."""
    return {
        "name": model,
        "version": str(version),
        "versions": [str(one) for one in versions],
        "platform": platform,
        "inputs": [{"name": INPUT, "datatype": FP32, "shape": [-1, d]}],
        "outputs": [{"name": OUTPUT, "datatype": FP32, "shape": [-1, 1]}],
    }
