"""An edge under a secret: people speak and hear under their own names, and behind it nobody has one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from valkey import Valkey

from deploy.stack.running import RunningStack
from oo.v1 import reaction_pb2, signal_pb2
from tables.ids import decision_id
from tables.pseudonyms import Pseudonyms
from tests.serving.edges import LiveEdge, events, problem
from tests.serving.test_history import past
from tests.serving.test_leave import erased
from tests.serving.topic import messages
from tests.serving.valkeys import ValkeyServer

PSEUDONYMS = Pseudonyms(b"secret of pseudonyms: 32 bytes. ")
ADA = PSEUDONYMS.of("ps-ada")


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory, valkey: ValkeyServer, servers: RunningStack) -> Iterator[LiveEdge]:
    folder = tmp_path_factory.mktemp("edge-with-secret")
    (folder / "name").write_bytes(PSEUDONYMS.secret)
    with LiveEdge(folder, valkey_url=valkey.url, stack=servers) as edge:
        edge.until_ready()
        yield edge


def test_a_person_sees_what_stands_for_their_pseudonym_and_reacts_under_their_own_name(
    secret: LiveEdge, servers: RunningStack, valkey: ValkeyServer
) -> None:
    shown = secret.put_tip(ADA, 1)
    past(servers, ADA, 1)
    with secret.client("ps-ada") as client, secret.client(ADA) as eve:
        assert client.get("/v1/tip").json()["decision_id"] == shown
        assert [one["title"] for one in client.get("/v1/tips").json()["items"]] == ["Tip 0"]
        with events(client) as stream:
            assert stream.next()[2]["decision_id"] == shown
        # Who calls themselves by another's pseudonym is somebody else.
        assert eve.get("/v1/tip").status_code == 204
        said = {"decision_id": shown, "reaction": "done"}
        assert problem(eve.post("/v1/feedback", json=said), 404) == "unknown-decision"
        key = {"idempotency-key": "a key of ada's"}
        assert client.post("/v1/feedback", json=said, headers=key).status_code == 202
        assert client.get("/v1/tip").status_code == 204
    (reaction,) = messages(servers, "reactions", reaction_pb2.Reaction, user_id="ps-ada")
    assert reaction.user_id == "ps-ada"
    with Valkey.from_url(valkey.url) as plain:
        names = [key for key in plain.scan_iter("*") if b"ps-ada" in key or ADA.encode() in key]
        held = b"".join(names + [plain.get(key) or b"" for key in names if key.startswith(b"oo:idem")])
    assert {name.split(b":")[1] for name in names} == {b"tip", b"spent", b"idem"}
    assert b"ps-ada" not in held


def test_feedback_on_a_tip_of_before_they_had_a_pseudonym_is_a_clear_404(secret: LiveEdge) -> None:
    before = decision_id("ps-ada", record_id=bytes(16), mac_key=secret.mac_key)
    with secret.client("ps-ada") as client:
        answer = client.post("/v1/feedback", json={"decision_id": before, "reaction": "done"})
    assert problem(answer, 404) == "unknown-decision"
    assert "from before people were moved to pseudonyms" in answer.json()["detail"]


def test_the_engine_is_told_of_a_newcomer_under_their_own_name(secret: LiveEdge, servers: RunningStack) -> None:
    with secret.client("ps-new") as client:
        assert client.get("/v1/tip").status_code == 204
    assert len(messages(servers, "signals", signal_pb2.Signal, user_id="ps-new")) == 1
    assert messages(servers, "signals", signal_pb2.Signal, user_id=PSEUDONYMS.of("ps-new")) == []


def test_who_left_under_their_pseudonym_is_gone_under_their_own_name(secret: LiveEdge, servers: RunningStack) -> None:
    erased(secret, servers, PSEUDONYMS.of("ps-left"))
    with secret.client("ps-left") as client:
        assert problem(client.patch("/v1/me", json={"tips_per_day": 3}), 403) == "left"
        assert client.post("/v1/me").status_code == 202
