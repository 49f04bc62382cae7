"""Connections over HTTP: what may be connected, making, showing, mending, pausing, and taking back; secrets go out to nobody."""

from __future__ import annotations

import asyncio

import httpx
import psycopg
import pytest

from deploy.stack.running import RunningStack
from tests.serving.edges import LiveEdge

URL = "https://example.org/private/ada.ics"


@pytest.fixture
def connecting(whole_edge: LiveEdge) -> LiveEdge:
    return whole_edge


def made(client: httpx.Client, url: str = URL) -> dict[str, object]:
    answer = client.post("/v1/connections", json={"source": "webcal", "fields": {"url": url}})
    assert answer.status_code == 201, answer.text
    found: dict[str, object] = answer.json()
    assert answer.headers["location"] == f"/v1/connections/{found['connection_id']}"
    return found


def test_what_may_be_connected_says_what_its_form_asks_for(connecting: LiveEdge) -> None:
    with connecting.client("cn-sources") as client:
        found = {one["name"]: one for one in client.get("/v1/sources").json()["sources"]}
    [way] = found["webcal"]["ways"]
    assert way["way"] == "url"
    assert [(one["name"], one["secret"], one["required"]) for one in way["fields"]] == [("url", True, True)]
    # Files of this machine are the operator's, and nobody said that they may be connected.
    assert found["todo.txt"]["ways"] == []


def test_a_connection_is_made_shown_paused_and_taken_back_by_its_person_alone(connecting: LiveEdge) -> None:
    with connecting.client("cn-ada") as ada, connecting.client("cn-bob") as bob:
        one = made(ada)
        path = f"/v1/connections/{one['connection_id']}"
        assert (one["state"], one["source"], one["read_at"]) == ("active", "webcal", None)
        assert [each["connection_id"] for each in ada.get("/v1/connections").json()["connections"]] == [
            one["connection_id"]
        ]
        assert bob.get("/v1/connections").json() == {"connections": []}
        for answer in (
            bob.get(path),
            bob.patch(path, json={"paused": True}),
            bob.delete(path),
            bob.post(f"{path}/sync"),
        ):
            assert (answer.status_code, answer.json()["type"]) == (404, "urn:oo:problem:unknown-connection")
        assert ada.patch(path, json={"paused": True}).json()["state"] == "paused"
        assert ada.post(f"{path}/sync").status_code == 409
        assert ada.patch(path, json={"paused": False}).json()["state"] == "active"
        assert ada.post(f"{path}/sync").status_code == 202
        assert ada.get(path).json()["log"] == []
        assert ada.delete(path).status_code == 202
        assert ada.get(path).json()["state"] == "leaving"


def test_an_address_that_came_in_goes_out_in_no_answer_and_stands_open_in_no_table(
    connecting: LiveEdge, servers: RunningStack
) -> None:
    with connecting.client("cn-secret") as client:
        one = made(client, "https://example.org/hush/hush.ics")
        path = f"/v1/connections/{one['connection_id']}"
        texts = [client.get(path).text, client.get("/v1/connections").text, str(one)]
        mended = client.patch(path, json={"fields": {"url": "https://example.org/hush/other.ics"}})
        assert mended.status_code == 200
        texts.append(mended.text)
    with psycopg.connect(servers.dsn("postgres")) as admin:
        rows = admin.execute("SELECT * FROM integrations.connections").fetchall()
    texts += [str(value) for row in rows for value in row]
    assert [text for text in texts if "hush" in text or "example" in text] == []


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"source": "fax"}, ["/source"]),
        ({"source": "webcal"}, ["/fields/url"]),
        ({"source": "webcal", "fields": {"url": "file:///etc/passwd"}}, ["/fields/url"]),
        ({"source": "webcal", "fields": {"url": f"{URL}\n"}}, ["/fields/url"]),
        ({"source": "webcal", "fields": {"url": URL, "extra": "x"}}, ["/fields/extra"]),
        ({"source": "webcal", "way": "oauth", "fields": {"url": URL}}, ["/way"]),
        ({"source": "todo.txt", "fields": {"path": "/etc/passwd"}}, ["/way"]),
    ],
)
def test_what_has_to_be_mended_is_named_and_nothing_is_made(
    connecting: LiveEdge, body: dict[str, object], pointers: list[str]
) -> None:
    with connecting.client("cn-wrong") as client:
        answer = client.post("/v1/connections", json=body)
        assert answer.status_code == 422, answer.text
        assert [fault["pointer"] for fault in answer.json()["errors"]] == pointers
        assert client.get("/v1/connections").json() == {"connections": []}


def test_the_edges_role_sees_no_cursor_and_deletes_no_connection(connecting: LiveEdge, servers: RunningStack) -> None:
    refused = []
    with psycopg.connect(servers.dsn("connections"), autocommit=True) as connection:
        for statement in (
            "SELECT cursor FROM connections",
            "SELECT delivery FROM posted",
            "SELECT item FROM write_backs",
            "DELETE FROM connections",
            "UPDATE connections SET lease = 1",
            "UPDATE connections SET user_id = 'x'",
            "INSERT INTO erased VALUES ('x', 'x', 1, true)",
        ):
            try:
                connection.execute(statement.encode())
            except psycopg.errors.InsufficientPrivilege:
                refused.append(statement)
    assert len(refused) == 7


def test_at_most_fifty_stand_of_one_person_however_many_are_made_at_once(connecting: LiveEdge) -> None:
    async def many() -> list[int]:
        headers = {"authorization": f"Bearer {connecting.issuer.mint('cn-many')}"}
        async with httpx.AsyncClient(base_url=connecting.url, headers=headers, timeout=60) as client:
            body = {"source": "webcal", "fields": {"url": URL}}
            answers = await asyncio.gather(*(client.post("/v1/connections", json=body) for _ in range(60)))
        return [answer.status_code for answer in answers]

    said = asyncio.run(many())
    assert (said.count(201), said.count(409)) == (50, 10)


def test_where_nothing_can_be_connected_it_says_what_to_do(edge: LiveEdge) -> None:
    with edge.client("cn-off") as client:
        answer = client.get("/v1/connections")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:oo:problem:no-connections")
    assert "oo up --people" in answer.json()["detail"]


def test_a_hook_that_nobody_has_is_not_there(connecting: LiveEdge) -> None:
    with httpx.Client(base_url=connecting.url) as client:
        assert client.post("/v1/hooks/00ff", json={}).json()["type"] == "urn:oo:problem:unknown-hook"
