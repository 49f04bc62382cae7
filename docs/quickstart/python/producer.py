"""Tells oO of a task, or of what a person did with a tip: one CloudEvent on Kafka, as JSON.

python producer.py BROKER task USER TASK_ID TITLE
python producer.py BROKER done USER DECISION_ID

BROKER is HOST:PORT, or a file of the client's settings, one NAME=VALUE a line, where Kafka asks who you are.
"""

import json
import sys
import uuid
from pathlib import Path

from confluent_kafka import Producer

broker, what, user, about, *more = sys.argv[1:]
if what == "task":
    topic = "oo.signals"
    data = {"user_id": user, "source": "quickstart", "task_upserted": {"external_id": about, "title": more[0]}}
else:
    topic = "oo.reactions"
    data = {"user_id": user, "decision_id": about, "kind": what.upper()}  # DONE, SNOOZE, DISMISS or SEEN

# Sent twice with the same source and id, it counts once: better than a made-up id is one that your system has for it.
event = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/quickstart/python", "type": what, "data": data}

settings = Path(broker).read_text() if Path(broker).is_file() else f"bootstrap.servers={broker}"
producer = Producer({"enable.idempotence": True, **dict(line.split("=", 1) for line in settings.splitlines())})
refused = []
producer.produce(
    topic,
    key=user,
    value=json.dumps(event),
    headers={"content-type": "application/cloudevents+json"},
    on_delivery=lambda error, _: refused.append(error) if error else None,
)
if producer.flush(30) or refused:
    sys.exit(f"not sent: {refused or 'Kafka did not answer within 30 s'}")
print(f"{topic} has it")
