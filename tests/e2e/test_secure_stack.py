"""The whole way on a stack started with `--secure`, each process with its own user: what a person and a producer then see.

All of this folder runs so with OO_TEST_SECURE=1 (CONTRIBUTING.md); this is what runs so in every run of the long tests.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import called, oo
from confluent_kafka import KafkaError, Producer
from outside import client, eventually, send, settled, settled_tip, state_of, task, tip, verify

from deploy.stack.running import RunningStack, open_stack
from streams.reader import end_offsets, read_partition

pytestmark = pytest.mark.long(
    "tests/e2e/test_secured.py::test_a_signal_becomes_a_tip_over_tls_and_sasl",
    "tests/deploy/test_rights.py::test_a_role_writes_and_reads_the_topics_that_the_table_names_and_no_other",
)


@pytest.fixture(scope="module")
def secure() -> Iterator[RunningStack]:
    with tempfile.TemporaryDirectory(prefix="oo-e2e-secure-") as folder:
        state = Path(folder) / "state"
        oo("up", "--detach", "--no-demo", "--secure", f"--state={state}")
        try:
            yield open_stack(state)
        finally:
            oo("down", f"--state={state}")


def test_a_producers_signal_becomes_a_tip_feedback_brings_another_and_the_fold_finds_no_difference(
    secure: RunningStack, tmp_path: Path
) -> None:
    user, state = f"ada-{uuid.uuid4().hex[:8]}", state_of(secure)
    send(secure, "signals", task(user, "1", "Call the dentist", priority=1), b"no signal")
    (tmp_path / "todo.txt").write_text("Water the plants\n")
    called("import", str(tmp_path / "todo.txt"), "--user", user, state)
    with client(secure, user) as http:
        first = settled_tip(secure, http)
        for reaction in ("seen", "done"):
            body = {"decision_id": first["decision_id"], "reaction": reaction}
            assert http.post("/v1/feedback", json=body).status_code == 202
        second = eventually(lambda: tip(http), lambda found: found is not None and found["title"] != first["title"])
        assert second is not None
        settled(secure)
        history = http.get("/v1/tips").json()["items"]
        assert {one["title"] for one in history} >= {first["title"]}
        assert http.get("/v1/me/export").status_code == 200
    called("export", str(tmp_path / "mine.zip"), "--user", user, state)
    found = verify(secure)
    assert (found["differences"], found["rows"]) == (0, 1), found["shown"]
    assert json.loads(called("state", "--user", user, "--json", state).stdout)["reactions"]["1h"]["done"] == 1
    (letter,) = json.loads(called("dead-letters", "list", "--json", state).stdout)
    refused = called("dead-letters", "redrive", letter["id"], state, check=False)
    assert refused.returncode == 1 and "name who may, such as --as redriver" in refused.stderr, refused.stderr
    assert "1 would be sent again" in called("dead-letters", "redrive", letter["id"], "--dry-run", state).stdout
    called("dead-letters", "redrive", letter["id"], "--as=redriver", state)
    for role, told in (([], "such as --as rotator"), (["--as=operator"], "AUTHORIZATION")):
        refused = called("keys", "rotate", *role, state, check=False)
        assert refused.returncode == 1 and told in refused.stderr, refused.stderr
    assert "keys wrapped anew" in called("keys", "rotate", "--as=rotator", state).stdout
    looks = json.loads(called("audit", "--json", state).stdout)
    who = {(one["command"], one["kafka_user"]) for one in looks}
    assert {("oo dead-letters redrive", "redriver"), ("oo keys rotate", "rotator")} <= who
    assert json.loads(called("status", "--json", state).stdout)["ready"]
    rows = {row["topic"]: row for row in json.loads(called("topics", "--json", state).stdout)}
    assert rows["oo.journal"]["lag"] == {"oo-core": 0}
    for role, told in (([], "name who may, such as --as promoter"), (["--as=operator"], "AUTHORIZATION")):
        refused = called("policies", "promote", "lin_ts", "--why=a test", *role, state, check=False)
        assert refused.returncode == 1 and told in refused.stderr, refused.stderr
    called("policies", "promote", "lin_ts", "--why=a test", "--as=promoter", state)
    for role, told in (([], "such as --as replayer"), (["--as=operator"], "AUTHORIZATION")):
        refused = called("replay", "run", "--topics", "--name=mine", *role, state, check=False)
        assert refused.returncode == 1 and told in refused.stderr, refused.stderr
    called("replay", "resume", "mine", "--as=replayer", state)
    # Who reads them is the operator.
    assert asyncio.run(records_of(secure, "oo.replay.mine.decisions")) > 0
    assert "such as --as replayer" in called("replay", "rm", "mine", state, check=False).stderr
    called("replay", "rm", "mine", "--as=replayer", state)
    lived = json.loads(called("simulate", "--users=2", "--minutes=0.05", "--rate=10", "--json", state).stdout)
    assert lived["signals"] > 0
    called("profile", "--user", user, "--quiet", "22:00-07:00", state)
    eventually(lambda: json.loads(called("policies", "--json", state).stdout)["champion"] == "lin_ts")
    # Who was refused would say so again and again.
    logs = {path.name: path.read_text(errors="replace") for path in secure.folder.logs.iterdir()}
    assert {
        name: said for name, text in logs.items() if (said := re.findall("(?i).*(?:authoriz|NOPERM).*", text))
    } == {}


async def records_of(stack: RunningStack, topic: str) -> int:
    ends = await end_offsets(stack.cluster, topic)
    return sum([len(some) for number in ends async for some in read_partition(stack.cluster, topic, number)])


@pytest.mark.parametrize("topic", ["subject-requests", "journal", "tips", "dead-letters"])
def test_a_producer_that_writes_where_it_may_not_is_told_so(secure: RunningStack, topic: str) -> None:
    assert secure.producer_file is not None
    lines = secure.producer_file.read_text().splitlines()
    producer, said = Producer({"log_level": 0, **dict(line.split("=", 1) for line in lines)}), []
    producer.produce(secure.cluster.name(topic), b"x", on_delivery=lambda error, _: said.append(error))
    assert producer.flush(30) == 0
    assert said[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert "authorization failed" in said[0].str()
