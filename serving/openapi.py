"""The OpenAPI document: what the routes say of themselves, and what FastAPI cannot see of them.

It never says less than the edge does: tests hold the document against a running edge (tests/serving/test_openapi.py). The
schema of a signal is made from the contract's own rules.
"""

from __future__ import annotations

import copy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from buf.validate import validate_pb2
from oo.v1 import signal_pb2
from serving.problems import ProblemBody
from serving.routes.answers import problems
from serving.routes.devices import DeviceAsked
from serving.schemas import ButtonBody, ConnectionChange, FeedbackBody, MeChange, NewConnection

EVERYWHERE = (400, 408, 413, 431, 500, 503)
"""What any call may be answered, whatever it asks for."""

Schema = dict[str, Any]


def document(app: FastAPI, *, cookie: str) -> Schema:
    """The document; `cookie` is the session cookie's name."""
    whole = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    components = whole.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in (ProblemBody, FeedbackBody, ButtonBody, DeviceAsked, MeChange, NewConnection, ConnectionChange):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update({**schema.pop("$defs", {}), model.__name__: schema})
    schemas["Signal"] = signal_schema()
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "session": {"type": "apiKey", "in": "cookie", "name": cookie},
    }
    for path, operations in whole["paths"].items():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                # What is not sent is not null.
                kinds = [kind for kind in parameter["schema"].pop("anyOf", []) if kind != {"type": "null"}]
                parameter["schema"].update(*kinds)
            operation["responses"] = {**{str(k): v for k, v in problems(*EVERYWHERE).items()}, **operation["responses"]}
            if path.startswith("/v1/"):
                operation.setdefault("security", [{"bearer": []}, {"session": []}])
        if "get" in operations:
            operations["head"] = _head(operations["get"])
    return whole


def _head(get: Schema) -> Schema:
    head = copy.deepcopy(get)
    head["summary"] = f"{get['summary']}: the headers only"
    head["operationId"] = f"{get['operationId']}_head"
    for response in head["responses"].values():
        response.pop("content", None)
        response.pop("links", None)
    return head


def signal_schema() -> Schema:
    """What POST /v1/signals takes for one signal, in the contract's own names.

    >>> signal_schema()["properties"]["task_upserted"]["properties"]["title"]["maxLength"]
    500
    """
    schema = _message(signal_pb2.Signal.DESCRIPTOR)
    payloads = [field.name for field in signal_pb2.Signal.DESCRIPTOR.oneofs_by_name["payload"].fields]
    schema["required"] = []
    schema["oneOf"] = [{"required": [name]} for name in payloads]
    schema["description"] = (
        "oo.v1.Signal in protobuf's JSON mapping (which also takes lowerCamelCase names). `user_id` may be left out; "
        "another one than the token's subject is refused."
    )
    del schema["properties"]["user_id"]["minLength"]
    return schema


def _message(kind: Descriptor) -> Schema:
    required, properties = [], {}
    for field in kind.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        properties[field.name] = _field(field, rules)
        if rules.required or (rules.HasField("string") and rules.string.min_len):
            required.append(field.name)
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": required}


def _field(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Schema:
    if field.is_repeated:
        items = _value(field, rules.repeated.items)
        return {"type": ["array", "null"], "maxItems": rules.repeated.max_items, "items": items}
    schema = _value(field, rules)
    needed = rules.required or (rules.HasField("string") and rules.string.min_len)
    # Null is absence, as protobuf has it; a payload that is null is none.
    alone = field.containing_oneof is None or field.containing_oneof.name.startswith("_")
    if not needed and alone:
        schema["type"] = [schema["type"], "null"]
    return schema


def _value(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Schema:
    if field.message_type is not None:
        if field.message_type.full_name == "google.protobuf.Timestamp":
            return {"type": "string", "format": "date-time"}
        return _message(field.message_type)
    if field.type == FieldDescriptor.TYPE_STRING:
        text: Schema = {"type": "string"}
        if rules.string.min_len:
            text["minLength"] = rules.string.min_len
        if rules.string.max_len:
            text["maxLength"] = rules.string.max_len
        if rules.string.max_bytes:
            text["maxLength"] = rules.string.max_bytes
        if rules.string.pattern:
            text["pattern"] = rules.string.pattern
        return text
    if field.type == FieldDescriptor.TYPE_BOOL:
        return {"type": "boolean"}
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return {"type": "number"}
    assert field.type == FieldDescriptor.TYPE_UINT32, f"{field.full_name} needs a schema of its kind"
    return {"type": "integer", "minimum": 0, "maximum": rules.uint32.lte}
