"""Which parts each process is made of. What only one of them needs is imported where that one is built: the others start
sooner, and smaller. It runs nothing but what has to be read before a process can begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agents.process import Process
from agents.settings import Name
from streams.app import fail
from streams.metrics import GAUGES
from streams.partitions import Partitions
from streams.reader import Follower, committed
from streams.shared import Shared
from tables.store import MemoryStore, Store

if TYPE_CHECKING:
    from agents.bandit.learner import Learner
    from agents.recommend import Recommend
    from agents.shadow import Shadow
    from agents.shadows import Shadows
    from connectors.traces import Traces
    from oo.v1.policy_pb2 import DecisionConfig, Total
    from streams.keys import Keys
    from tables.leavers import Leaving
    from tables.shelf import Shelf

logger = logging.getLogger(__name__)

SHADOW_REFIT_EVERY = 100
"""Rewards between two versions of a shadow."""
GATE_MARGIN = 0.0
"""In units of reward: a challenger must be better by more than this."""


async def core(process: Process, stack: AsyncExitStack) -> list[Partitions]:
    """Admit, recommend and learn, once the versions and the champion are known."""
    import protovalidate

    from agents import admit, learn, recommend, sample, set_aside
    from agents.admission import Door
    from agents.champion import Champion
    from agents.recovery import Recovery
    from agents.refuse import LetterKeys
    from agents.versions import Versions
    from connectors.key_files import KeyFiles
    from streams import rotation
    from streams.clock import clock_ms
    from streams.key_maker import KeyMaker
    from streams.messages import messages
    from streams.periodic import every
    from streams.sealing import Sealing
    from streams.topics import ENTRANCES
    from tables.pseudonyms import Pseudonyms

    settings, topics = process.settings, process.topics
    assert settings.mac_key_file is not None, "core needs OO_MAC_KEY_FILE"
    mac_key = settings.mac_key_file.read_bytes()
    assert settings.name_key_file is not None, "core needs OO_NAME_KEY_FILE"
    pseudonyms = Pseudonyms.in_file(settings.name_key_file)

    async def versions_end() -> int:
        (end,) = (await process.ends("policies")).values()
        return end

    versions = Versions(schemas=process.schemas, mac_key=mac_key, end=Shared(versions_end))
    champion = Champion(schemas=process.schemas)
    policies, promotions = process.tail("policies"), process.tail("promotions")
    # All are read at the same time.
    hearing_of_leavers = asyncio.create_task(_leaving(process, stack), name="leavers")
    reading_keys = asyncio.create_task(_keys(process, stack, makes=True), name="keys")
    following = _begun(stack, versions.follow(policies), name="versions")
    hearing = _begun(stack, champion.follow(promotions), name="promotions")
    await _first(following, policies.caught_up)
    process.starting.part("versions")
    await _first(hearing, promotions.caught_up)
    process.starting.part("champion")
    leaving = await hearing_of_leavers
    process.starting.part("erasures")
    keys = await reading_keys
    process.starting.part("keys")
    sealing = Sealing(process.schemas, keys)
    maker = KeyMaker(keys, topic=topics["keys"].name, producer=process.producer, frames=process.schemas)
    files = keys.kek
    assert isinstance(files, KeyFiles)
    every(process.app, rotation.LOOKED_EVERY_S, lambda: rotation.rotate_if_due(keys, files, maker))
    letter_keys = LetterKeys(keys, maker)
    dead_letters = replace(process.dead_letters, sealed_by=letter_keys)
    every(
        process.app,
        rotation.LOOKED_EVERY_S,
        lambda: letter_keys.end_old(topics["dead-letters"], now_ms=clock_ms()),
    )

    tracing = _traces(process, stack, "core")
    door = Door(validator=protovalidate.Validator(), mac_key=mac_key)
    admits = {
        name: admit.Admit(
            short_name=name,
            topic_id=process.id_of(name),
            journal=topics["journal"].name,
            door=door,
            schemas=process.schemas,
            producer=process.producer,
            dead_letters=dead_letters,
            in_hand=process.in_hand,
            leaving=leaving,
            sealing=sealing,
            keys=keys,
            maker=maker,
            pseudonyms=pseudonyms,
            traces=tracing,
        )
        for name in ENTRANCES.values()
    }

    commits = Shared(lambda: committed(process.cluster, process.app.conf.id, topics["journal"].name))

    async def committed_at(number: int) -> int | None:
        return (await commits()).get(number)

    async def aside() -> Mapping[int, set_aside.Aside]:
        await leaving.catch_up()
        words = process.read(topics["set-aside"], 0)
        said = messages(process.schemas, "set-aside", words)
        return await set_aside.passed_over(said, journal_id=process.id_of("journal"))

    folding = recommend.Recommend(
        topics=topics,
        journal_id=process.id_of("journal"),
        schemas=process.schemas,
        sealing=sealing,
        keys=keys,
        maker=maker,
        producer=process.producer,
        dead_letters=dead_letters,
        versions=versions,
        recovery=Recovery(
            cluster=process.cluster,
            journal_id=process.id_of("journal"),
            schemas=process.schemas,
            keys=keys,
            producer=process.producer,
            versions=versions,
            open_store=_stores(process),
            committed=committed_at,
            aside=Shared(aside),
        ),
        rows_follower=Follower(process.cluster, topics["rows"].name),
        in_hand=process.in_hand,
        leavers=leaving.leavers,
        worker_id=settings.worker_id,
        traces=tracing,
    )
    if settings.row_snapshots_dir is not None:
        _put_rows_away(process, folding, settings.row_snapshots_dir)
    GAUGES["oo_champion"] = lambda: {(champion.policy,): 1}
    GAUGES["oo_promotions"] = lambda: dict(champion.promotions)
    GAUGES["oo_rows"] = lambda: {(str(number),): one.table.store.count() for number, one in folding.assigned.items()}
    _begun(stack, champion.hear(process.tail("estimates")), name="estimates")
    learning = learn.Learn(
        topics=topics,
        schemas=process.schemas,
        keys=keys,
        maker=maker,
        producer=process.producer,
        read=lambda name: process.read(topics[name], 0),
        every_s=settings.versions_every_s,
        champion=lambda: champion.policy,
        drifted_ms=lambda: champion.drifted_ms,
        config=_config(process),
        model=lambda: champion.model,
        sample_permille=sample.permille(settings.shadow_sample),
        leavers=leaving.leavers,
        begun_with=_begun_with(process),
    )
    return [
        *admit.build(process.app, admits=admits, topics=topics),
        recommend.build(process.app, folding, topics=topics, sums_every_s=settings.sums_every_s),
        learn.build(process.app, learning, topics=topics),
    ]


def _begun_with(process: Process) -> Sequence[Total]:
    """What is known from elsewhere. Raises SystemExit."""
    from agents import learn

    path = process.settings.prior_file
    try:
        return () if path is None else learn.begun_with(path.read_bytes())
    except OSError as error:
        raise SystemExit(f"OO_PRIOR_FILE {path} cannot be read: {error.strerror}") from None
    except learn.NotSums:
        raise SystemExit(
            f"OO_PRIOR_FILE {path} is no file that this build's 'oo lake import --prior' writes: make it anew"
        ) from None


def _config(process: Process) -> DecisionConfig:
    """What versions decide with: they ask language models where there are any. Raises SystemExit."""
    from agents.reward import DEFAULT, asking, interrupting

    settings = process.settings
    config = interrupting(DEFAULT) if settings.interrupt else DEFAULT
    if settings.llm_file is None:
        return config
    from agents.generation.variants import NoSuchPrompt, prompts_of, shadows_of
    from connectors.models import FileUnusable, aliases_that_write

    try:
        return asking(
            config,
            prompts=prompts_of(settings.llm_prompts),
            models=aliases_that_write(settings.llm_file),
            shadows=shadows_of(settings.llm_shadow_prompts),
        )
    except (FileUnusable, NoSuchPrompt) as error:
        raise SystemExit(f"core: {error}") from None


def _put_rows_away(process: Process, folding: Recommend, folder: Path) -> None:
    """Now and then, as row snapshots."""
    from agents import cuts
    from streams.periodic import every
    from streams.reader import bounds
    from streams.topics import TRIM_STEPS
    from streams.units import DAY_MS
    from tables.snapshots import Snapshots

    async def low(number: int) -> int:
        return (await bounds(process.cluster, process.topics["journal"].name, number))[0]

    made = cuts.Cuts(
        Snapshots(folder, prefix=process.cluster.prefix, journal_id=process.id_of("journal")),
        every_s=process.settings.row_snapshots_every_s,
        spaced_ms=process.settings.journal_days * DAY_MS // TRIM_STEPS,
        low=low,
    )
    every(process.app, cuts.LOOKED_EVERY_S, lambda: made.look(folding.assigned))


async def _leaving(process: Process, stack: AsyncExitStack) -> Leaving:
    """Who has left, followed from now on; known as of now when this returns."""
    from tables.leavers import Leaving

    ends = Shared(lambda: process.ends("erasures"))
    leaving, tail = (
        Leaving(journal_id=process.id_of("journal"), schemas=process.schemas, ends=ends),
        process.tail("erasures"),
    )
    await _first(_begun(stack, leaving.follow(tail), name="erasures"), tail.caught_up)
    return leaving


def _traces(process: Process, stack: AsyncExitStack, service: Name) -> Traces | None:
    """Where this process's spans go, until it ends."""
    from connectors import traces

    found = traces.opened(process.settings.trace_share, service=service, instance=process.settings.worker_id)
    if found is not None:
        stack.callback(found.close)
    return found


def _stores(process: Process) -> Callable[[int], Store]:
    from agents.rows import head

    if process.settings.store == "memory":
        return lambda _: MemoryStore(head=head)
    from agents.disks import disks_in

    disks = disks_in(process.settings.data_dir, journal_id=process.id_of("journal"), rows_id=process.id_of("rows"))
    disks.sweep()
    return disks.open


async def publish(process: Process, stack: AsyncExitStack) -> list[Partitions]:
    """Tips and settings to Valkey."""
    from agents import publish
    from connectors.tip_progress import KEYS, TipProgress
    from connectors.valkey import TipStore

    assert process.settings.valkey_url is not None, "publish needs OO_VALKEY_URL"
    url, leaving = process.settings.valkey_url, await _leaving(process, stack)
    store = TipStore(url)
    stack.push_async_callback(store.close)
    tracing = _traces(process, stack, "publish")

    def publisher(name: Literal["tips", "settings"]) -> Partitions:
        async def end(number: int) -> int:
            return (await process.ends(name))[number]

        progress = TipProgress(url, key=KEYS[name])
        stack.push_async_callback(progress.close)
        source = publish.Source(
            name=name,
            topic_id=process.id_of(name),
            end=end,
            read=lambda number, start, stop: process.read(process.topics[name], number, start, stop),
        )
        made = publish.Publisher(
            topic=source,
            store=store,
            progress=progress,
            schemas=process.schemas,
            dead_letters=process.dead_letters,
            leaving=leaving,
            traces=tracing,
        )
        return publish.build(process.app, made, topics=process.topics)

    return [publisher("tips"), publisher("settings")]


async def record(process: Process, stack: AsyncExitStack) -> list[Partitions]:
    """Decisions and outcomes to PostgreSQL."""
    from agents import record
    from connectors.postgres.sink import Sink
    from streams.units import DAY_MS

    settings, topics = process.settings, process.topics
    assert settings.recommender_dsn is not None, "record needs OO_RECOMMENDER_DSN"
    dsn = settings.recommender_dsn.get_secret_value()
    return record.build(
        process.app,
        topics=topics,
        decisions_sink=await stack.enter_async_context(Sink(dsn)),
        outcomes_sink=await stack.enter_async_context(Sink(dsn)),
        erasures_sink=await stack.enter_async_context(Sink(dsn)),
        leaving=await _leaving(process, stack),
        schemas=process.schemas,
        keys=await _keys(process, stack),
        dead_letters=process.dead_letters,
        history_ms=settings.history_days * DAY_MS,
    )


async def generate(process: Process, stack: AsyncExitStack) -> list[Partitions]:
    """Requests to language models, and their answers."""
    from agents import generate
    from agents.generation import answered, language
    from agents.model_budget import ModelBudget
    from connectors.embedder import EmbedderUnusable, MiniLm
    from connectors.models import FileUnusable, Models
    from streams.clock import clock_ms
    from streams.sealing import Sealing

    settings, topics = process.settings, process.topics
    if settings.llm_file is None:
        raise SystemExit("generate needs OO_LLM_FILE: a litellm.yaml with the alias tip-generator")
    try:
        models = Models.of(settings.llm_file)
        embedder = MiniLm.of(settings.embedder_file) if settings.embedder_file else None
    except (FileUnusable, EmbedderUnusable) as error:
        raise SystemExit(f"generate: {error}") from None
    except ModuleNotFoundError as missing:
        raise SystemExit(f"generate needs {missing.name}: pip install 'oo-recommender[llm]'") from None
    # Else the first request blocks the loop, on a busy machine until the watchdog ends the process.
    await models.warm()
    language.load()
    process.starting.part("models")
    budget = ModelBudget(
        schemas=process.schemas,
        topic=topics["model-budget"].name,
        producer=process.producer,
        process=f"{settings.worker_id}-{clock_ms()}",
        day_calls=settings.llm_day_calls,
        clock_ms=clock_ms,
    )
    tail = process.tail("model-budget")
    await _first(_begun(stack, budget.follow(tail), name="budget"), tail.caught_up)
    keys = await _keys(process, stack)
    commits = Shared(lambda: committed(process.cluster, process.app.conf.id, topics["candidate-requests"].name))

    async def committed_at(number: int) -> int:
        return (await commits()).get(number) or 0

    made = generate.Generate(
        topics=topics,
        journal_id=process.id_of("journal"),
        sealing=Sealing(process.schemas, keys),
        keys=keys,
        producer=process.producer,
        dead_letters=process.dead_letters,
        leaving=await _leaving(process, stack),
        models=models,
        budget=budget,
        words=generate.Words(
            chat=answered.chat,
            tips=partial(answered.candidates, embedder=embedder),
        ),
        ends=Shared(lambda: process.ends("candidate-requests")),
        committed=committed_at,
        read=lambda name, number, start: process.read(topics[name], number, start),
        clock_ms=clock_ms,
        at_once=settings.llm_at_once,
        deadline_s=settings.llm_deadline_s,
    )
    return [generate.build(process.app, made, topics=topics)]


async def score(process: Process, stack: AsyncExitStack) -> list[Partitions]:
    """What a trained model expects of the candidates of new slates, into the journal."""
    from agents import score
    from agents.champion import Champion
    from connectors.inference import Inference
    from streams.clock import clock_ms
    from streams.sealing import Sealing

    settings, topics = process.settings, process.topics
    if settings.scorer_url is None:
        raise SystemExit("score needs OO_SCORER_URL: where the scorer is, as http://HOST:PORT")
    champion, promotions = Champion(schemas=process.schemas), process.tail("promotions")
    await _first(_begun(stack, champion.follow(promotions), name="promotions"), promotions.caught_up)
    process.starting.part("champion")
    keys = await _keys(process, stack)
    asking = await stack.enter_async_context(Inference(settings.scorer_url, deadline_s=settings.scorer_deadline_s))
    made = score.Score(
        topics=topics,
        sealing=Sealing(process.schemas, keys),
        keys=keys,
        producer=process.producer,
        model=lambda: champion.model,
        expected=asking.expected,
        clock_ms=clock_ms,
    )
    return [score.build(process.app, made, topics=topics)]


async def connect(process: Process, stack: AsyncExitStack) -> list[Partitions]:
    """What people have connected, read and told of."""
    from datetime import UTC, datetime
    from ipaddress import ip_network
    from zoneinfo import ZoneInfo

    from agents import connect
    from agents.rewrapping import Rewrapping
    from agents.turn import Turns
    from connectors.key_files import KeyFiles
    from connectors.oauth import BadClients, OAuthClients, client_of_operators
    from connectors.outside import client_for
    from connectors.postgres.leases import Leases
    from connectors.sources.registry import BY_NAME, asked_at
    from connectors.sources.source import Access
    from connectors.vault import Vault
    from streams.clock import clock_ms
    from streams.periodic import every

    settings, topics = process.settings, process.topics
    if settings.integrations_dsn is None or settings.vault_dir is None:
        raise SystemExit("connect needs OO_INTEGRATIONS_DSN, PostgreSQL as the role integrations, and OO_VAULT_DIR")
    try:
        inside = [ip_network(one.strip()) for one in settings.connect_inside.split(",") if one.strip()]
    except ValueError as error:
        raise SystemExit(f"connect: OO_CONNECT_INSIDE: {error}") from None
    leases = await stack.enter_async_context(Leases(settings.integrations_dsn.get_secret_value()))
    client = await stack.enter_async_context(client_for(inside))
    files = KeyFiles(settings.vault_dir)
    vault = Vault(files)
    try:
        clients = OAuthClients.of(settings.oauth_file, BY_NAME, client_of_operators(), clock_ms=clock_ms)
    except BadClients as error:
        raise SystemExit(f"connect: OO_OAUTH_FILE: {error}") from None
    stack.push_async_callback(clients.close)
    sender = connect.Sender(process.producer, process.schemas, topic=topics["signals"].name)
    turns = Turns(
        leases=leases,
        vault=vault,
        sources=asked_at(clients.apis),
        access=Access("", "", ZoneInfo("UTC"), datetime.now(UTC), client, files=settings.connect_files),
        send=sender.send,
        refresh=clients.refresh,
        clock_ms=clock_ms,
        lease_ms=round(settings.connect_lease_s * 1000),
    )
    ears = connect.Ears(
        leases=leases,
        vault=vault,
        schemas=process.schemas,
        keys=await _keys(process, stack),
        dead_letters=process.dead_letters,
        sources=BY_NAME.keys(),
        clock_ms=clock_ms,
    )
    rewrapping = Rewrapping(leases, vault, files, clock_ms=clock_ms)
    every(process.app, rewrapping.LOOKED_EVERY_S, rewrapping.tend)
    # Not the app's: it turns while a group is being assigned, too.
    turning = _begun(stack, connect.Wheel(leases, turns).run(), name="wheel")
    turning.add_done_callback(partial(_ends, process))
    return connect.build(process.app, ears, topics=topics)


def _ends(process: Process, work: asyncio.Task[None]) -> None:
    """The process, with what the work raised."""
    if not work.cancelled() and (error := work.exception()) is not None:
        fail(process.app, error)


async def notify(process: Process, stack: AsyncExitStack) -> list[Partitions]:
    """Tips on people's devices."""
    import ipaddress

    from agents import notify
    from connectors.channels import registry, words
    from connectors.channels.channel import Channel, Told
    from connectors.postgres.notifier import Notifier
    from connectors.valkey import TipStore
    from streams.clock import clock_ms

    settings, topics = process.settings, process.topics
    if settings.notifier_dsn is None or settings.valkey_url is None or settings.notify_key_file is None:
        raise SystemExit("notify needs OO_NOTIFIER_DSN, OO_VALKEY_URL and OO_NOTIFY_KEY_FILE")
    try:
        key = words.key_in(settings.notify_key_file)
        inside = tuple(ipaddress.ip_network(one.strip()) for one in settings.notify_inside.split(",") if one.strip())
    except (OSError, ValueError) as error:
        raise SystemExit(f"notify: {error}") from None
    told = Told(
        key=key,
        contact=settings.notify_contact,
        inside=inside,
        smtp_url="" if settings.smtp_url is None else settings.smtp_url.get_secret_value(),
        mail_from=settings.mail_from,
        ca_file=settings.mail_ca_file,
    )
    channels: dict[str, Channel] = {}
    for name in registry.CHANNELS:
        try:
            opened = registry.opened(name, told)
        except (OSError, ValueError) as error:
            raise SystemExit(f"notify: {name}: {error}") from None
        if opened is not None:
            channels[name] = opened
            stack.push_async_callback(opened.close)
    tips = TipStore(settings.valkey_url)
    stack.push_async_callback(tips.close)
    store = await stack.enter_async_context(Notifier(settings.notifier_dsn.get_secret_value()))
    commits = Shared(lambda: committed(process.cluster, process.app.conf.id, topics["deliveries"].name))

    async def committed_at(number: int) -> int:
        return (await commits()).get(number) or 0

    made = notify.Notify(
        journal_id=process.id_of("journal"),
        frames=process.schemas,
        keys=await _keys(process, stack),
        store=store,
        tips=tips,
        channels=channels,
        word_key=key,
        public_url=settings.public_url.rstrip("/"),
        dead_letters=process.dead_letters,
        leaving=await _leaving(process, stack),
        ends=Shared(lambda: process.ends("deliveries")),
        committed=committed_at,
        read=lambda number, start: process.read(topics["deliveries"], number, start),
        clock_ms=clock_ms,
    )
    return notify.build(process.app, made, topics=topics)


async def shadow(process: Process, stack: AsyncExitStack) -> Shadow:
    """What follows all decisions; its `run` is the whole process. Raises SystemExit for a policy that is not there."""
    from agents import snapshot
    from agents.evaluation.counted import reward_range
    from agents.evaluation.gate import Rule
    from agents.features import VERSION
    from agents.policies import DEFAULT as CHAMPION
    from agents.reward import DEFAULT
    from agents.shadow import READ, Shadow
    from agents.shadows import Shadows, Waits, servable, with_challengers
    from streams.clock import clock_ms
    from streams.reader import Together

    settings, topics = process.settings, process.topics
    names = list(dict.fromkeys([CHAMPION, *(name for name in settings.shadows.split(",") if name)]))
    learners = learners_of(names)
    rule = Rule(reward_range(DEFAULT), margin=GATE_MARGIN, places=len(servable(names)))
    waits = Waits(unseen_ms=round(settings.unseen_s * 1000), stale_ms=round(settings.stale_s * 1000))
    by = Shadows(
        learners=learners,
        gate=with_challengers(CHAMPION, names, rule=rule),
        clock=time.perf_counter,
        automatic=settings.gate == "automatic",
        waits=waits,
    )
    told = [process.id_of(name).hex() for name in READ], VERSION, names, rule, waits, settings.gate, SHADOW_REFIT_EVERY
    return Shadow(
        topics=topics,
        schemas=process.schemas,
        keys=await _keys(process, stack),
        producer=process.producer,
        shadows=by,
        shelf=_shelf(by, settings.data_dir / "shadow.sqlite", identity=snapshot.identity(*told)),
        together=lambda order, starts: Together(process.cluster, order, starts),
        read=lambda name, number, start: process.read(topics[name], number, start),
        ends=process.ends,
        clock_ms=clock_ms,
        every_s=settings.estimates_every_s,
        snapshot_every_s=settings.snapshot_every_s,
    )


def _shelf(by: Shadows, path: Path, *, identity: bytes) -> Shelf | None:
    """Where all of it is put away; people and decisions beyond a number are there alone. None where a learner cannot be put away."""
    from agents import in_memory, shadows
    from agents.in_memory import InMemory
    from tables.shelf import Shelf, ShelfFailed

    if not all(isinstance(one, InMemory) for one in by.learners.values()):
        logger.warning(
            "snapshot.none policies=%s: not all can be put away, each start folds all of the log", [*by.learners]
        )
        return None
    try:
        shelf = Shelf(path, identity=identity)
        for number, one in enumerate(shadows.holders(by.learners)):
            one.people = shelf.drawer(
                f"people_{number}", most=shadows.PEOPLE_NEAR_MAX, pack=in_memory.packed, unpack=in_memory.unpacked
            )
        by.open = shelf.drawer("open", most=shadows.OPEN_NEAR_MAX, pack=shadows.packed, unpack=shadows.unpacked)
    except ShelfFailed as failed:
        raise SystemExit(f"shadow: {failed}") from None
    return shelf


def learners_of(names: Iterable[str]) -> dict[str, Learner]:
    """The shadows of these names; those that see the same features learn the same, and choose by what one of them holds."""
    from agents.policies import POLICIES

    found: dict[str, Learner] = {}
    holders: dict[object, Learner] = {}
    for name in names:
        sees = (POLICIES[name].expand, POLICIES[name].hears) if name in POLICIES else name
        found[name] = holders[sees] if sees in holders else holders.setdefault(sees, learner(name))
    return found


def learner(name: str) -> Learner:
    """The shadow of this name; ends the process where there is none, or where what it needs is not installed."""
    from agents.features import SCORED
    from agents.in_memory import InMemory
    from agents.policies import POLICIES
    from agents.prior import shape_of
    from agents.reward import DEFAULT
    from tables.sums import UNIT

    if name in POLICIES:
        return InMemory(name, shape=shape_of(SCORED, name), config=DEFAULT, refit_every=SHADOW_REFIT_EVERY)
    if name != "vw":
        raise SystemExit(f"shadow: OO_SHADOWS names {name!r}, and there are {', '.join(POLICIES)} and vw")
    try:
        from agents.policies.vw import Vw
    except ModuleNotFoundError as missing:
        raise SystemExit(
            f"shadow: OO_SHADOWS names 'vw', which needs {missing.name}: pip install 'oo-recommender[vw]'"
        ) from None
    return Vw(worth=DEFAULT.interruption_cost / UNIT)


async def _keys(process: Process, stack: AsyncExitStack, *, makes: bool = False) -> Keys:
    """All keys that stand in their topic, and from here on those that come; `makes`: whether they are made here."""
    keys, tail = process.keys(), process.tail("keys")
    await _first(_begun(stack, keys.follow(tail, makes=makes), name="keys"), tail.caught_up)
    return keys


def _begun(stack: AsyncExitStack, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
    """Goes on until the process ends."""
    task = asyncio.create_task(work, name=name)
    stack.push_async_callback(_cancel, task)
    return task


async def _first(task: asyncio.Task[None], event: asyncio.Event) -> None:
    """Wait for the event; if the task ends before, raise what ended it."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        task.result()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
