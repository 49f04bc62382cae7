"""oo up and oo down: the stack as a whole.

It never keeps a part running itself: the supervisor does.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from deploy.commands.session import DEFAULT_STATE, CommandError, StateOption, open_state
from deploy.stack import llm, local, mlflow
from deploy.stack.fetch import Cache, default_cache, fetch, fetch_embedder
from deploy.stack.processes import Identity, alive, end
from deploy.stack.state import AlreadyRunning, StateFolder
from deploy.stack.supervisor import SAYS_EVERY_S, end_leftovers, leftovers

STOP_PATIENCE_S = 90.0
NO_PROVIDERS = "off"


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when all is ready.")] = False,
    state: StateOption = DEFAULT_STATE,
    workers: Annotated[int, typer.Option(min=1, max=8, help="How many core workers share the partitions.")] = 1,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Give the user demo sample tasks when empty.")] = True,
    port: Annotated[list[str] | None, typer.Option(help="A fixed port, as PART=PORT; may be repeated.")] = None,
    prefix: Annotated[str, typer.Option(help="Stands before every topic's name.")] = "oo.",
    secure: Annotated[
        bool | None,
        typer.Option(
            "--secure/--open",
            help="Kafka with TLS, passwords and rights, Valkey with passwords and rights; as the last time, if not given.",
            show_default=False,
        ),
    ] = None,
    language_model: Annotated[
        str | None,
        typer.Option(
            "--llm",
            help="Which language model writes tips beside the tasks: off; local, a small one on this machine; http://HOST:PORT/v1, any server "
            "of OpenAI's protocol near it; or a litellm.yaml. As the last time, if not given.",
            show_default=False,
        ),
    ] = None,
    ml: Annotated[
        bool | None,
        typer.Option(
            "--ml/--no-ml",
            help="With MLflow, which keeps models and what they are worth; as the last time, if not given.",
            show_default=False,
        ),
    ] = None,
    providers: Annotated[
        str | None,
        typer.Option(
            help="People sign in, with the OpenID providers of this TOML file (docs/sign-in.md); off: whoever comes is the local user. "
            "As the last time, if not given.",
            show_default=False,
        ),
    ] = None,
    people: Annotated[
        bool | None,
        typer.Option(
            "--people/--no-people",
            help="With what people connect, and with what tells them: calendars, task lists, notifications; as the last time, if not given.",
            show_default=False,
        ),
    ] = None,
    servers_only: Annotated[bool, typer.Option(hidden=True)] = False,
    supervise: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Start everything on this machine: servers, workers, the edge. Ctrl-C stops all of it."""
    if missing := local.not_installed():
        raise CommandError(f"the local stack is not installed ({', '.join(missing)}): {local.HOW_TO_INSTALL}")
    folder = StateFolder(state.resolve())
    if folder.locked():
        raise CommandError(already(folder))
    if not servers_only and folder.is_moving:
        raise CommandError(
            "people here are on their way to pseudonyms: 'oo pseudonyms begin' goes on with it, 'oo up' afterwards"
        )
    before = folder.read() or {}
    if secure is None:
        secure = bool(before.get("secure"))
    ml = bool(before.get("ml")) if ml is None else ml
    people = bool(before.get("people")) if people is None else people
    if ml and (absent := mlflow.not_installed()):
        raise CommandError(f"what --ml needs is not installed ({', '.join(absent)}): {mlflow.HOW_TO_INSTALL}")
    choice = _language_model(before.get("llm", llm.OFF) if language_model is None else language_model)
    providers_file = _providers(before.get("providers") if providers is None else providers)
    cache = default_cache()
    fetch_servers(cache)
    embedder = None if choice == llm.OFF or servers_only else fetch_embedder(cache, on_bytes=lambda *_: None)
    plan = local.Plan(
        cache=cache,
        workers=workers,
        demo=demo and not servers_only,
        servers_only=servers_only,
        prefix=prefix,
        secure=secure,
        llm=choice,
        embedder_file=embedder,
        ml=ml,
        providers_file=providers_file,
        people=people,
        given_ports=parse_ports(port or []),
    )
    console = Console(highlight=False, soft_wrap=True)
    if detach:
        options = [
            f"--workers={workers}",
            f"--prefix={prefix}",
            "--demo" if demo else "--no-demo",
            "--secure" if secure else "--open",
            f"--llm={choice}",
            "--ml" if ml else "--no-ml",
            f"--providers={providers_file or NO_PROVIDERS}",
            "--people" if people else "--no-people",
            *(f"--port={given}" for given in port or []),
        ]
        start_detached(folder, [*options, *(["--servers-only"] if servers_only else [])], console)
        greet(folder, console, detached=True)
        return
    told = teller(console)
    try:
        local.run(folder, plan, told=told, when_ready=lambda: greet(folder, console, detached=supervise))
    except AlreadyRunning:
        raise CommandError(already(folder)) from None


def _language_model(given: str) -> str:
    """What was chosen, once all that it needs is here. Raises CommandError."""
    try:
        choice = llm.checked(given)
    except llm.BadChoice as bad:
        raise CommandError(str(bad)) from None
    if missing := llm.not_installed(choice):
        raise CommandError(f"language models are not installed ({', '.join(missing)}): {llm.HOW_TO_INSTALL}")
    return choice


def _providers(given: str | None) -> Path | None:
    """The file, once it says what it has to; None for nobody. Raises CommandError."""
    if given in (None, NO_PROVIDERS):
        return None
    from serving.auth.providers import read

    path = Path(given).resolve()
    try:
        read(path)
    except FileNotFoundError:
        raise CommandError(
            f"there is no file {path}: write one as docs/sign-in.md says, or --providers {NO_PROVIDERS}"
        ) from None
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from None
    return path


def down(state: StateOption = DEFAULT_STATE) -> None:
    """Stop what runs in a state folder; its state stays."""
    folder = StateFolder(state.resolve())
    console = Console(highlight=False, soft_wrap=True)
    if not folder.locked():
        left = leftovers(folder)
        end_leftovers(folder, told=teller(console))
        console.print(f"Nothing runs in {state}." if not left else f"Ended what was left in {state}.")
        return
    identity = supervisor_of(folder)
    console.print(f"Stopping the stack in {state} ...")
    os.kill(identity.pid, signal.SIGTERM)
    deadline_s = time.monotonic() + STOP_PATIENCE_S
    while alive(identity):
        if time.monotonic() > deadline_s:
            end(identity, timeout_s=1.0)
            break
        time.sleep(0.05)
    with folder.lock():
        end_leftovers(folder, told=teller(console))
    console.print("Stopped; the state stays.")


def already(folder: StateFolder) -> str:
    """What to say to a second start."""
    state: dict[str, Any] = folder.read() or {}
    return (
        f"already running in {folder.root} ({state.get('phase', 'starting')}): 'oo status' shows it, 'oo down' stops it"
    )


def supervisor_of(folder: StateFolder) -> Identity:
    """The process that holds the folder; waits a moment for one that has just started."""
    for _ in range(100):
        state = folder.read()
        if state is not None:
            identity = Identity(state["supervisor"]["pid"], state["supervisor"]["born"])
            if alive(identity):
                return identity
        time.sleep(0.05)
    raise CommandError(f"{folder.root} is in use, but its state file names no running process: is it another user's?")


def parse_ports(given: list[str]) -> dict[str, int]:
    """PART=PORT pairs."""
    ports = {}
    for pair in given:
        part, _, number = pair.partition("=")
        if not (part and number.isdigit() and 0 < int(number) < 65536):
            raise typer.BadParameter(f"'{pair}' is not PART=PORT, as in --port kafka=9092")
        ports[part] = int(number)
    return ports


def fetch_servers(cache: Cache) -> None:
    """Brings the servers into the cache the first time, with a bar for each file that comes."""
    if cache.complete:
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("Fetching the servers (once)", total=cache.bytes_expected)
        fetch(cache, on_bytes=lambda _, count: progress.advance(bar, count))


def teller(console: Console) -> Callable[[str, str], None]:
    """Prints what happens to a part, with the seconds since now."""
    began_s = time.monotonic()

    def told(part: str, what: str) -> None:
        console.print(f"{time.monotonic() - began_s:6.1f} s  {part}: {what}")

    return told


def start_detached(folder: StateFolder, options: list[str], console: Console) -> None:
    """Starts the supervisor in a session of its own and waits until all is ready; raises CommandError."""
    folder.create()
    log = folder.logs / "supervisor.log"
    command = (sys.executable, "-m", "deploy.cli", "up", "--supervise", f"--state={folder.root}", *options)
    with log.open("ab") as output:
        log.chmod(0o600)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder.root,
            env={**os.environ, "PYTHONPATH": local.python_env()["PYTHONPATH"]},
        )
    told, ready = teller(console), set[str]()
    said_s = time.monotonic()
    try:
        while True:
            state: dict[str, Any] = folder.read() or {}
            if state.get("supervisor", {}).get("pid") == process.pid:
                for part in [name for name, live in state["parts"].items() if live["ready"] and name not in ready]:
                    ready.add(part)
                    told(part, "ready")
                if state["phase"] == "ready":
                    return
                if ready and time.monotonic() - said_s >= SAYS_EVERY_S:
                    said_s = time.monotonic()
                    for part in sorted(
                        name for name, live in state["parts"].items() if live["pid"] and not live["ready"]
                    ):
                        told(part, "starts")
            if process.poll() is not None:
                lines = log.read_text(errors="replace").splitlines()
                raise CommandError((lines[-1].removeprefix("oo: ") if lines else "it ended at once") + f" (log: {log})")
            time.sleep(0.05)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def greet(folder: StateFolder, console: Console, *, detached: bool) -> None:
    """Says that all is ready, where the page is, and what to try."""
    stack = open_state(folder.root)
    if not stack.name_key_file.stat().st_size:
        console.print(
            "People here have their own names in all stores: 'oo pseudonyms begin', after 'oo down', gives them pseudonyms."
        )
    if stack.mlflow_url:
        console.print(f"MLflow: [bold]{stack.mlflow_url}[/bold]")
    if "edge" not in stack.ports:
        console.print("Ready (servers only).")
        return
    console.print(f"\n[bold]Ready.[/bold] The tip page: [bold]{stack.edge_url}/[/bold]\n")
    where = "" if folder.root == DEFAULT_STATE.resolve() else f" --state {shlex.quote(str(folder.root))}"
    oo = typed()
    for command, text in (
        (f"{oo} tip --user demo{where}", "the tip, and why"),
        (f"{oo} react done --user demo{where}", "and see the next one"),
        (f"{oo} import todo.txt --user demo{where}", "your own tasks or calendar"),
        (f"{oo} down{where}" if detached else "Ctrl-C", "stops everything; the state stays"),
    ):
        console.print(f"  {command:<48}  {text}", markup=False)


def typed() -> str:
    """How a person has to type this command in their own shell: make adds .venv/bin to the PATH, for itself alone."""
    program = Path(sys.argv[0])
    if "MAKELEVEL" not in os.environ and shutil.which("oo") is not None:
        return "oo"
    return shlex.quote(os.path.relpath(program)) if program.name == "oo" else "oo"
