"""CloudEvents in structured mode, where the event's attributes stand around its data: made one of binary mode.

CloudEvents 1.0, Kafka protocol binding, 3.2 and 3.3. Pure; it never looks into the data.
"""

from __future__ import annotations

import base64
import json
from typing import Final

from streams.record import Record
from streams.wire import BadFrame, content_type

STRUCTURED: Final = b"application/cloudevents+json"
ATTRIBUTES: Final = ("specversion", "id", "source", "type", "time", "subject")
"""Those that go into headers; what else stands around the data is nobody's here."""


def binary(record: Record, *, bytes_max: int) -> Record:
    """Return the record as binary mode writes it; one that is not in structured mode as it is. Raises BadFrame.

    >>> event = b'{"specversion": "1.0", "id": "7", "source": "mine", "type": "t", "data": {"user_id": "ada"}}'
    >>> record = Record("oo.signals", 0, 3, 0, None, event, (("content-type", STRUCTURED),))
    >>> binary(record, bytes_max=1000).value
    b'{"user_id": "ada"}'
    """
    if content_type(record.headers) != STRUCTURED:
        return record
    value = record.value or b""
    if len(value) > bytes_max:
        raise BadFrame("too-large", f"{len(value)} bytes; the most is {bytes_max}, before compression")
    try:
        event = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise BadFrame("bad-json", f"not a CloudEvent in JSON: {type(error).__name__}") from error
    if not isinstance(event, dict) or not all(isinstance(event.get(name), str) for name in ("id", "source")):
        raise BadFrame("bad-json", "a CloudEvent in structured mode is an object with the texts id and source")
    attributes = {name: event[name] for name in ATTRIBUTES if isinstance(event.get(name), str)}
    kind = event.get("datacontenttype", "application/json")
    headers = [(name, value) for name, value in record.headers if name.lower() != "content-type"]
    headers += [("content-type", _bytes(kind if isinstance(kind, str) else ""))]
    headers += [(f"ce_{name}", _bytes(text)) for name, text in attributes.items()]
    return record._replace(value=_data(event), headers=tuple(headers))


def _data(event: dict[str, object]) -> bytes:
    if "data_base64" not in event:
        return json.dumps(event.get("data")).encode()
    try:
        return base64.b64decode(str(event["data_base64"]), validate=True)
    except ValueError as error:
        raise BadFrame("bad-json", "data_base64 is not base64") from error


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
