"""One edge at which people sign in, with the certified provider, PostgreSQL and Valkey; no Kafka."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from joserfc.jwk import ECKey

from deploy.stack.state import free_port
from tests.connectors.postgres_cluster import Cluster, Database, cluster
from tests.serving.auth import odd_provider
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
    callbacks = [f"http://127.0.0.1:{edge_port}/auth/callback/{name}" for name in ("certified", "second", "public")]
    with provider(callbacks) as running:
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
        port=edge_port,
        notifier_dsn=database.dsn("notifier"),
        notify_public_key_file=public,
    ) as edge:
        yield edge


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
"""
