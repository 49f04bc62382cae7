"""The edge's composition root: settings in, a FastAPI app out.

It never holds logic: it makes the parts, joins them, and starts and ends what runs beside the requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import FastAPI

from connectors.jwks import jwks_at
from connectors.key_files import KeyFiles
from connectors.postgres.history import History
from connectors.traces import opened
from connectors.valkey import TipStore
from serving import openapi, problems
from serving.current import CurrentTips
from serving.departed import Departed
from serving.edge import Edge
from serving.exports import Exports, Kept
from serving.express import Express, Lane
from serving.issuer import LocalIssuer
from serving.keys import Fetch, Keys, from_file
from serving.log import Log
from serving.metrics import Metrics
from serving.middleware import Middleware
from serving.newcomers import Newcomers
from serving.recent import Recent
from serving.routes import (
    connections,
    deliveries,
    devices,
    export,
    feedback,
    health,
    history,
    hooks,
    leave,
    me,
    page,
    sessions,
    sign_in,
    signals,
    stream,
    tip,
    tokens,
)
from serving.settings import LOOPBACK, Settings
from serving.spent_decisions import SpentDecisions
from serving.subscriptions import Subscriptions
from serving.telling import Telling
from serving.tokens import Verifier
from serving.traced import Traced
from serving.verified import VerifiedNumbers
from streams.clock import clock_ms
from streams.keys import Keys as PeoplesKeys
from tables.pseudonyms import Pseudonyms

if TYPE_CHECKING:
    from serving.auth.parts import SignInParts
    from serving.auth.sign_in import SignIn
    from serving.connecting import Connecting

MAC_KEY_BYTES_MIN = 32


def create_app(settings: Settings) -> FastAPI:
    """The app; servers behind it may come up later, and /readyz says which are missing."""
    metrics = Metrics()
    if settings.verified_file is not None:
        metrics.registry.register(VerifiedNumbers(settings.verified_file))
    mac_key = settings.mac_key_file.read_bytes()
    if len(mac_key) < MAC_KEY_BYTES_MIN:
        raise ValueError(f"{settings.mac_key_file} holds {len(mac_key)} bytes; {MAC_KEY_BYTES_MIN} are needed")
    pseudonyms = Pseudonyms.in_file(settings.name_key_file)
    local = _local_issuer(settings)
    traces = opened(settings.trace_share, service="edge")
    people_sign_in = _sign_in(settings)
    public_url = settings.public_url or f"http://127.0.0.1:{settings.edge_port}"
    if people_sign_in is not None:
        public_url = people_sign_in.public_url
    # Browsers share cookies between ports: two local stacks must not sign each other out.
    cookie = f"oo_session_{settings.edge_port}" if settings.local else "oo_session"
    if people_sign_in is not None and people_sign_in.public_url.startswith("https://"):
        cookie = "__Host-oo_session"

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tips = TipStore(settings.valkey_url)
        spent = SpentDecisions(tips)
        subscriptions = Subscriptions(
            streams_max=settings.streams_max, streams_per_user_max=settings.streams_per_user_max
        )
        people = PeoplesKeys.of(settings.cluster, KeyFiles(settings.kek_dir))
        current = CurrentTips(
            settings.valkey_url,
            spent=spent,
            changed=subscriptions.changed,
            keys=people,
            metrics=metrics,
            now_ms=clock_ms,
        )
        log = Log(settings.cluster)
        departed = Departed(settings.cluster)
        newcomers = Newcomers(
            log=log,
            current=current,
            keys=people,
            subscriptions=subscriptions,
            metrics=metrics,
            departed=departed,
        )
        telling = Telling.read(settings)
        signs_in = None if people_sign_in is None else people_sign_in(pseudonyms, departed, telling)
        keys, verifier = _verifier(settings, local, pseudonyms, signs_in)
        connecting = _connecting(settings, public_url)
        past = None if settings.history_dsn is None else History(settings.history_dsn.get_secret_value())
        app.state.edge = Edge(
            tips=tips,
            current=current,
            newcomers=newcomers,
            spent=spent,
            recent=Recent(),
            subscriptions=subscriptions,
            log=log,
            departed=departed,
            keys=keys,
            people=people,
            verifier=verifier,
            history=past,
            exports=Exports(
                settings.cluster,
                history_dsn="" if settings.history_dsn is None else settings.history_dsn.get_secret_value(),
                kek_dir=str(settings.kek_dir),
                kept=_kept(settings),
            ),
            metrics=metrics,
            mac_key=mac_key,
            now_ms=clock_ms,
            heartbeat_s=settings.heartbeat_s,
            stream_s_max=settings.stream_s_max,
            cookie=cookie,
            local=local,
            local_user=settings.local_user,
            sign_in=signs_in,
            telling=telling,
            connecting=connecting,
        )
        if past is not None:
            await past.open()
        if telling is not None:
            await telling.store.open()
        if signs_in is not None:
            await signs_in.open()
        if connecting is not None:
            await connecting.connections.open()
        await keys.refresh()
        beside = [
            asyncio.create_task(work)
            for work in (log.run(), log.follow(people), spent.run(), current.reads.run(), departed.run())
        ]
        if signs_in is not None:
            beside.append(asyncio.create_task(signs_in.run()))
        try:
            yield
        finally:
            subscriptions.close()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await newcomers.close()
            # Others should learn what was spent here, if the store is there at all.
            await spent.flush()
            await log.close()
            if past is not None:
                await past.close()
            if signs_in is not None:
                await signs_in.close()
            if telling is not None:
                await telling.close()
            if connecting is not None:
                await connecting.close()
            await current.reads.close()
            await tips.close()
            if traces is not None:
                traces.close()

    app = FastAPI(
        title="oO",
        summary="One good tip: the thing worth doing now, with the reason.",
        version=version("oo-recommender"),
        lifespan=lifespan,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        # FastAPI's own would say paths and queries, and the words of what went wrong, wherever something set a provider.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    problems.install(app)
    hosts = {*LOOPBACK, "[::1]"} if settings.local and not settings.local_any_host else None
    if hosts is not None and people_sign_in is not None:
        hosts.add(str(urlsplit(people_sign_in.public_url).hostname))
    lanes = {tip.PATH: Lane(tip.remembered, next(route for route in tip.router.routes))}
    app.state.lanes = lanes
    app.add_middleware(Express, lanes=lanes, edge=lambda: getattr(app.state, "edge", None))
    if traces is not None:
        app.add_middleware(Traced, traces=traces)
    app.add_middleware(Middleware, metrics=metrics, hosts=hosts)
    for module in (
        stream,
        tip,
        feedback,
        history,
        signals,
        me,
        export,
        leave,
        sign_in,
        tokens,
        sessions,
        devices,
        deliveries,
        connections,
        hooks,
        health,
    ):
        app.include_router(module.router)
    if local is not None or people_sign_in is not None:
        app.include_router(page.router)
    described = functools.cache(lambda: openapi.document(app, cookie=cookie))
    app.openapi = described  # type: ignore[method-assign]
    return app


def _sign_in(settings: Settings) -> SignInParts | None:
    """What signs people in, where somebody configured providers: else nothing of it is loaded. Raises OSError, ValueError."""
    if settings.providers_file is None:
        return None
    from serving.auth.parts import SignInParts

    return SignInParts.read(settings)


def _connecting(settings: Settings, public_url: str) -> Connecting | None:
    """What connects people's sources, where it may: else nothing of it is loaded. Raises BadClients."""
    if settings.connections_dsn is None or settings.vault_dir is None:
        return None
    from connectors.oauth import OAuthClients, client_of_operators
    from connectors.postgres.connections import Connections
    from connectors.sources.registry import BY_NAME
    from connectors.vault import Vault
    from serving.connecting import Connecting

    return Connecting(
        connections=Connections(settings.connections_dsn.get_secret_value()),
        vault=Vault(KeyFiles(settings.vault_dir)),
        sources=BY_NAME,
        clients=OAuthClients.of(settings.oauth_file, BY_NAME, client_of_operators(), clock_ms=clock_ms),
        public_url=public_url.rstrip("/"),
        has_files=settings.connect_files is not None,
    )


def _kept(settings: Settings) -> Kept:
    """What an export has besides the log: as much as this edge has."""
    dsns = {
        "notifier_dsn": settings.notifier_dsn,
        "connections_dsn": settings.connections_dsn,
        "auth_dsn": settings.auth_dsn,
    }
    files = {"vault_dir": settings.vault_dir, "auth_key_file": settings.auth_key_file}
    return Kept(
        **{name: one.get_secret_value() for name, one in dsns.items() if one is not None},
        **{name: str(one) for name, one in files.items() if one is not None},
    )


def _local_issuer(settings: Settings) -> LocalIssuer | None:
    if not settings.local or settings.local_signing_key_file is None:
        return None
    return LocalIssuer.from_file(
        settings.local_signing_key_file, issuer=settings.jwt_issuer, audience=settings.jwt_audience
    )


def _verifier(
    settings: Settings, local: LocalIssuer | None, pseudonyms: Pseudonyms, signs_in: SignIn | None
) -> tuple[Keys, Verifier]:
    """Who verifies tokens, with which keys: those of the issuer that the settings name, and our own where people sign in."""
    own = None
    if signs_in is not None:
        ours = signs_in.signing_keys
        own = Verifier(ours.keys, issuer=ours.issuer, audience=settings.jwt_audience, pseudonyms=pseudonyms, own=True)
        if local is None and settings.jwks_url is None and settings.jwks_file is None:
            return ours.keys, own
    keys = Keys(_fetch_keys(settings, local))
    return keys, Verifier(
        keys, issuer=settings.jwt_issuer, audience=settings.jwt_audience, pseudonyms=pseudonyms, beside=own
    )


def _fetch_keys(settings: Settings, local: LocalIssuer | None) -> Fetch:
    if local is not None:

        async def own() -> bytes:
            return local.jwks()

        return own
    if settings.jwks_url is not None:
        return jwks_at(settings.jwks_url)
    assert settings.jwks_file is not None
    return from_file(settings.jwks_file)
