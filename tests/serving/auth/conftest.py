"""One edge at which people sign in, with the certified provider, PostgreSQL and Valkey; Kafka is for those alone who read what was connected there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from deploy.stack.running import RunningStack
from deploy.stack.state import free_port
from tests.agents.process import Topics
from tests.connectors.postgres_cluster import Cluster, Database, cluster
from tests.serving.auth import odd_provider
from tests.serving.auth.elsewhere import Calendars, There, calendars, clients
from tests.serving.auth.odd_provider import OddProvider
from tests.serving.auth.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider, provider
from tests.serving.auth.people import SigningEdge
from tests.serving.valkeys import ValkeyServer


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("pg")) as running:
        yield running


@pytest.fixture(scope="session")
def database(postgres: Cluster) -> Database:
    return postgres.migrated()


@pytest.fixture(scope="session")
def certified(edge_port: int) -> Iterator[OidcProvider]:
    names = ("certified", "second", "public", "posting")
    callbacks = [f"http://127.0.0.1:{edge_port}/auth/callback/{name}" for name in names]
    callbacks.append(f"http://127.0.0.1:{edge_port}/v1/connections/google_calendar/callback")
    with provider(callbacks) as running:
        yield running


@pytest.fixture(scope="session")
def elsewhere(certified: OidcProvider) -> Iterator[Calendars]:
    with calendars(certified) as running:
        yield running


@pytest.fixture(scope="session")
def odd() -> Iterator[OddProvider]:
    with OddProvider() as running:
        yield running


@pytest.fixture(scope="session")
def edge_port() -> int:
    return free_port()


@pytest.fixture(scope="session")
def signing(
    tmp_path_factory: pytest.TempPathFactory,
    valkey: ValkeyServer,
    database: Database,
    certified: OidcProvider,
    elsewhere: Calendars,
    odd: OddProvider,
    edge_port: int,
) -> Iterator[SigningEdge]:
    folder = tmp_path_factory.mktemp("signing")
    public = folder / "notify.public.json"
    public.write_text(json.dumps(ECKey.generate_key("P-256").as_dict(private=False)))
    with SigningEdge(
        folder,
        valkey=valkey,
        database=database,
        providers=table(certified, odd),
        clients=clients(certified, elsewhere),
        port=edge_port,
        notifier_dsn=database.dsn("notifier"),
        notify_public_key_file=public,
    ) as edge:
        yield edge


@pytest.fixture
def there(
    signing: SigningEdge,
    certified: OidcProvider,
    elsewhere: Calendars,
    database: Database,
    servers: RunningStack,
    tmp_path: Path,
) -> Iterator[There]:
    elsewhere.clear()
    found = There(signing, certified, elsewhere, database, servers, Topics(servers), tmp_path)
    try:
        yield found
    finally:
        found.end_workers()
        found.topics.close()
        with database.admin() as admin:
            admin.execute("TRUNCATE integrations.connections CASCADE")


def table(certified: OidcProvider, odd: OddProvider) -> str:
    """A file of providers: the certified one under three names, the odd one under those of its oddities."""
    odd_ones = "".join(
        f'''
[{name}]
issuer = "{odd.url}/{name}"
client_id = "{odd_provider.CLIENT_ID}"
client_secret = "{odd_provider.CLIENT_SECRET}"
'''
        for name in ("odd", "other-issuer", "plain-http", "no-s256")
    )
    return f"""per_minute = 100000
{odd_ones}
[certified]
issuer = "{certified.issuer}"
client_id = "{CLIENT_ID}"
client_secret = "{CLIENT_SECRET}"
operators = ["Olga@example.org"]
trust_email = true
[second]
issuer = "{certified.issuer}"
client_id = "{CLIENT_ID}"
client_secret = "{CLIENT_SECRET}"
[public]
issuer = "{certified.issuer}"
client_id = "public"
[posting]
issuer = "{certified.issuer}"
client_id = "{CLIENT_ID}"
client_secret = "{CLIENT_SECRET}"
response_mode = "form_post"
"""
