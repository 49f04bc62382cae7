"""A secure stack's servers: who gets in, what each role may do there, and what nobody sees. With real clients."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from command import ROOT, oo
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewTopic
from valkey import Valkey
from valkey.exceptions import AuthenticationError, NoPermissionError, ValkeyError

from deploy.stack.rights import ADMIN, RIGHTS, Acl, Rights, acls
from deploy.stack.running import RunningStack, open_stack
from deploy.stack.stalls import READERS
from deploy.stack.topics import admin
from deploy.stack.users import _acl, _binding, _filter, ensure_rights
from streams.cluster import Cluster
from streams.reader import end_offsets
from streams.topics import NAMES, group, topics

DENIED = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    with tempfile.TemporaryDirectory(prefix="oo-secure-") as parent:
        state = Path(parent) / "state"
        oo("up", "--detach", "--servers-only", "--secure", f"--state={state}")
        yield open_stack(state)
        oo("down", f"--state={state}")


def cluster_of(stack: RunningStack, role: str) -> Cluster:
    return stack.as_role(role).cluster


def written(cluster: Cluster, *names: str) -> dict[str, int | None]:
    """What Kafka says to a record on each of these topics: an error's code, or None."""
    producer, said = Producer({"log_level": 0, "message.timeout.ms": 20_000, **cluster.rdkafka()}), {}
    for name in names:
        producer.produce(
            name, b"x", b"k", 0, on_delivery=lambda error, _, name=name: said.update({name: error and error.code()})
        )
    assert producer.flush(30) == 0
    return said


def readable(cluster: Cluster, *names: str) -> set[str]:
    """On which of these topics a consumer comes to the end. `cluster` may not be allowed to ask for a group: that is no topic's."""
    told = {"group.id": "oo-reader", "enable.partition.eof": True, "enable.auto.commit": False, "log_level": 0}
    client, found = Consumer({**told, **cluster.rdkafka()}), set()
    # Who may not even ask where a topic is, waits for it for ever.
    left = {name for name in names if client.list_topics(name, timeout=20).topics[name].error is None}
    client.assign([TopicPartition(name, 0, 0) for name in left])
    while left:
        message = client.poll(20)
        assert message is not None, f"no answer for {left}"
        error = message.error()
        if error is None:
            continue
        if message.topic() in left and error.code() in (KafkaError._PARTITION_EOF, *DENIED):
            left.discard(str(message.topic()))
            if error.code() == KafkaError._PARTITION_EOF:
                found.add(str(message.topic()))
        else:
            assert error.code() in DENIED, error
    client.close()
    return found


@pytest.mark.parametrize("role", RIGHTS)
def test_a_role_writes_and_reads_the_topics_that_the_table_names_and_no_other(stack: RunningStack, role: str) -> None:
    cluster, names = cluster_of(stack, role), {topic.name: short for short, topic in stack.cluster.topics.items()}
    said = written(cluster, *names)
    assert {names[name] for name, code in said.items() if code is None} == set(RIGHTS[role].writes)
    assert {code for code in said.values() if code is not None} <= {KafkaError.TOPIC_AUTHORIZATION_FAILED}
    assert {names[name] for name in readable(cluster, *names)} == set(RIGHTS[role].reads)


def test_every_topic_has_a_role_that_writes_it() -> None:
    written_by_some = {topic for rights in RIGHTS.values() for topic in rights.writes}
    assert set(NAMES) == written_by_some


def test_a_process_may_read_what_its_group_takes_and_the_core_keeps_every_compacted_topic_going() -> None:
    assert {(topic, process) for topic, process in READERS.items() if topic not in RIGHTS[process].reads} == set()
    compacted = {name for name, topic in topics().items() if topic.cleanup == "compact"}
    assert compacted <= set(RIGHTS["core"].writes)


def test_the_page_for_operators_shows_the_table_as_it_is() -> None:
    page = (ROOT / "docs" / "production.md").read_text()
    shown = page[page.index("<!-- rights:") : page.index("<!-- end of rights -->")].splitlines()[3:]
    assert shown == [_row(role, rights) for role, rights in RIGHTS.items()]


def _row(role: str, rights: Rights) -> str:
    reads = "all" if rights.reads == NAMES else ", ".join(rights.reads)
    beyond = {"names, ids and offsets of all topics": rights.looks_around, "all groups": rights.watches}
    looks = ", ".join(what for what, may in beyond.items() if may)
    writes = ", ".join((*rights.writes, *(["replay.*"] if rights.makes_runs else [])))
    cells = (role, reads, writes, f"`{group(role)}`" if rights.in_a_group else "", looks)
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


@pytest.mark.parametrize("role", sorted({*RIGHTS} - {"core", "publish", "record"}))
def test_a_role_without_a_group_joins_none_and_none_joins_anothers(stack: RunningStack, role: str) -> None:
    for name in ("oo-reader", stack.cluster.group("core"), "mine"):
        client = Consumer({"group.id": name, "log_level": 0, **cluster_of(stack, role).rdkafka()})
        client.subscribe([stack.cluster.name("signals")])
        message = client.poll(20)
        assert message is not None and message.error().code() in DENIED, (role, name)
        client.close()


@pytest.mark.parametrize("role", RIGHTS)
def test_no_role_but_the_admin_makes_a_topic_or_gives_itself_a_right(stack: RunningStack, role: str) -> None:
    client = admin(cluster_of(stack, role))
    for future in client.create_topics([NewTopic(f"{stack.cluster.prefix}mine", 1, 1)]).values():
        with pytest.raises(KafkaException, match="uthorization failed"):
            future.result(20)
    # Not by what it is shown: confluent-kafka 2.16 makes an empty list of the refusal.
    wish = _binding(Acl("TOPIC", stack.cluster.name("deliveries"), "LITERAL", "READ"), f"User:{role}")
    for given in client.create_acls([wish]).values():
        with pytest.raises(KafkaException, match="CLUSTER_AUTHORIZATION_FAILED"):
            given.result(20)


@pytest.mark.parametrize("wrong", ["no TLS", "no password", "another's password", "a stranger", "the admin by SCRAM"])
def test_nobody_gets_in_without_tls_and_their_own_password(stack: RunningStack, wrong: str) -> None:
    assert stack.secured is not None
    told = {
        "no TLS": {"security.protocol": "PLAINTEXT"},
        "no password": {"security.protocol": "SSL"},
        "another's password": {"sasl.password": stack.secured.kafka["operator"]},
        "a stranger": {"sasl.username": "stranger"},
        "the admin by SCRAM": {"sasl.username": ADMIN, "sasl.password": stack.secured.kafka[ADMIN]},
    }[wrong]
    settings = {**cluster_of(stack, "producer").rdkafka(), "log_level": 0, **told}
    with pytest.raises(KafkaException):
        Producer(settings).list_topics(timeout=2)


def test_rights_that_an_older_build_gave_are_taken_and_a_strangers_are_left_alone(stack: RunningStack) -> None:
    client, beyond = admin(stack.as_admin.cluster), Acl("TOPIC", stack.cluster.name("journal"), "LITERAL", "WRITE")
    for principal in ("User:producer", "User:stranger"):
        for future in client.create_acls([_binding(beyond, principal)]).values():
            future.result(20)
    ensure_rights(stack.as_admin.cluster)

    def of(principal: str) -> set[Acl]:
        return {_acl(one) for one in client.describe_acls(_filter(principal)).result(20)}

    assert of("User:producer") == acls(RIGHTS["producer"], "producer", stack.cluster)
    assert of("User:stranger") == {beyond}


# Valkey


def valkey(stack: RunningStack, role: str) -> Valkey:
    return Valkey.from_url(stack.as_role(role).valkey_url)


def allowed(client: Valkey, *command: str) -> bool:
    try:
        client.execute_command(*command)
    except NoPermissionError:
        return False
    return True


def test_who_has_not_signed_in_to_valkey_may_ask_whether_it_is_there_and_nothing_else(stack: RunningStack) -> None:
    nobody = Valkey(host="127.0.0.1", port=stack.ports["valkey"])
    assert nobody.ping()
    for command in (("GET", "oo:published"), ("CLIENT", "LIST"), ("EVAL", "return 1", "0"), ("INFO",), ("KEYS", "*")):
        assert not allowed(nobody, *command), command
    with pytest.raises(AuthenticationError):
        Valkey(host="127.0.0.1", port=stack.ports["valkey"], username="edge", password="no").ping()


@pytest.mark.parametrize(
    ("role", "command", "may"),
    [
        ("publish", ("HSET", "oo:tip:{a}", "tip", "x"), True),
        ("publish", ("HSET", "oo:published", "0", "x"), True),
        ("publish", ("HSET", "oo:settings:{a}", "settings", "x"), True),
        ("publish", ("HSET", "oo:published:settings", "0", "x"), True),
        ("publish", ("ZRANGE", "oo:spent:{a}", "0", "-1"), False),
        ("publish", ("GET", "oo:idem:{a}:1"), False),
        ("publish", ("SCAN", "0"), True),
        ("publish", ("DEL", "oo:spent:{a}", "oo:idem:{a}:1"), True),
        ("publish", ("DEL", "oo:tip:{a}"), False),
        ("edge", ("HMGET", "oo:tip:{a}", "tip"), True),
        ("edge", ("ZADD", "oo:spent:{a}", "1", "x"), True),
        ("edge", ("SET", "oo:idem:{a}:1", "x", "NX", "GET"), True),
        ("edge", ("HSET", "oo:tip:{a}", "tip", "x"), False),
        ("edge", ("GETDEL", "oo:auth:ticket:sign-in:a"), True),
        ("edge", ("GETDEL", "oo:idem:{a}:1"), False),
        ("publish", ("GET", "oo:auth:ticket:sign-in:a"), False),
        ("edge", ("HGET", "oo:settings:{a}", "settings"), True),
        ("edge", ("HSET", "oo:settings:{a}", "settings", "x"), False),
        ("edge", ("SET", "oo:tip:{a}", "x"), False),
        ("edge", ("EXPIRE", "oo:tip:{a}", "1"), False),
        ("edge", ("HGETALL", "oo:published"), False),
        ("edge", ("EVAL", "return redis.call('HSET', KEYS[1], 'tip', 'x')", "1", "oo:tip:{a}"), False),
        ("operator", ("HGETALL", "oo:tip:{a}"), True),
        ("operator", ("SCAN", "0"), True),
        ("operator", ("HSET", "oo:tip:{a}", "tip", "x"), False),
        ("operator", ("UNLINK", "oo:tip:{a}"), False),
        *((role, ("FLUSHALL",), False) for role in ("publish", "edge", "operator")),
        *((role, ("CONFIG", "GET", "*"), False) for role in ("publish", "edge", "operator")),
        *((role, ("ACL", "LIST"), False) for role in ("publish", "edge", "operator")),
        *((role, ("KEYS", "*"), role == "operator") for role in ("publish", "edge", "operator")),
    ],
)
def test_a_role_does_in_valkey_what_its_work_needs_and_no_more(
    stack: RunningStack, role: str, command: tuple[str, ...], may: bool
) -> None:
    with valkey(stack, role) as client:
        try:
            assert allowed(client, *command) is may
        except ValkeyError as refused:
            # What a script of theirs may not do comes out as the script's error.
            assert not may and "permission" in str(refused).lower()


# What nobody sees


def test_no_password_stands_on_a_command_line_in_a_log_or_in_what_the_status_says(stack: RunningStack) -> None:
    assert stack.secured is not None
    words = {*stack.secured.kafka.values(), *stack.secured.valkey.values(), *stack.passwords.values()}
    lines = [" ".join(_arguments(process)) for process in psutil.process_iter()]
    logs = [path.read_text(errors="replace") for path in stack.folder.logs.iterdir()]
    shown = oo("status", "--json", f"--state={stack.folder.root}").stdout
    facts = stack.folder.state_file.read_text()
    assert not [text for text in (*lines, *logs, shown, facts, repr(stack)) for word in words if word in text]
    assert json.loads(shown)["kafka"]["producer_file"] == str(stack.producer_file)
    files = [path for path in stack.folder.root.rglob("*") if path.is_file() and not path.suffix.endswith("index")]
    holding = {path for path in files if "postgres" not in path.parts and _holds(path, words)}
    assert {path.stat().st_mode & 0o077 for path in holding} == {0}
    assert {path.relative_to(stack.folder.root).parts[0] for path in holding} <= {"secrets", "data"}


def _holds(path: Path, words: set[str]) -> bool:
    content = path.read_bytes()
    return any(word.encode() in content for word in words)


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return []


# From one to the other


@pytest.mark.long("tests/deploy/test_rights.py::test_nobody_gets_in_without_tls_and_their_own_password")
def test_a_state_folder_stays_secure_until_it_is_said_otherwise_and_keeps_what_it_had(stack: RunningStack) -> None:
    """Last of these: it leaves the folder open."""
    state, before = stack.folder.root, ends(stack)
    for how, is_secured in (("--open",), False), (("--secure",), True), ((), True), (("--open",), False):
        stack = restarted(state, *how)
        assert (stack.secured is not None) == is_secured
        assert ends(stack) == before
        if not is_secured:
            assert written(stack.cluster, stack.cluster.name("signals")) == {stack.cluster.name("signals"): None}
            before = ends(stack)


def restarted(state: Path, *how: str) -> RunningStack:
    oo("down", f"--state={state}")
    oo("up", "--detach", "--servers-only", f"--state={state}", *how)
    return open_stack(state)


def ends(stack: RunningStack) -> dict[int, int]:
    return asyncio.run(end_offsets(stack.cluster, stack.cluster.name("signals")))


def test_no_role_may_take_records_from_a_topic() -> None:
    """Kafka asks for Delete of whoever does (DeleteRecords), and for nothing else: that is the admin's alone, as whom the supervisor trims the journal."""
    given = {acl for role, rights in RIGHTS.items() for acl in acls(rights, role, Cluster("127.0.0.1:9092"))}
    of_runs = {acl for acl in given if acl.name == "oo.replay."}
    assert {acl.operation for acl in given - of_runs} == {"READ", "WRITE", "DESCRIBE"}
    # What is made for a run goes with it, and begins with no name of ours.
    assert {(acl.pattern, acl.operation) for acl in of_runs} == {
        ("PREFIXED", what) for what in ("READ", "WRITE", "CREATE", "DELETE")
    }
    assert not [name for name in NAMES if name.startswith("replay.")]
