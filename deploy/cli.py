"""The command `oo`.

It never imports what a command needs before that command is called, so that `oo --help` stays quick and a part that
cannot be imported breaks its own commands only.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command stands: the module's function of that name, or one name more for each of its own commands.

    Of these the one without a name is what it does when none of the others is called.
    """

    module: str
    function: str | tuple[tuple[str, str], ...]
    help: str


COMMANDS = {
    "up": Entry("deploy.commands.stack", "up", "Start everything on this machine."),
    "down": Entry("deploy.commands.stack", "down", "Stop what runs in a state folder; its state stays."),
    "status": Entry("deploy.commands.status", "status", "What runs, where, and how far it has read."),
    "doctor": Entry("deploy.commands.doctor", "doctor", "Check this machine, and say how to mend each fault."),
    "topics": Entry("deploy.commands.status", "topics", "Topics, partitions, offsets, and each group's lag."),
    "logs": Entry("deploy.commands.logs", "logs", "What the parts have written, in the order of time."),
    "import": Entry("deploy.commands.sources", "import_command", "Read todo.txt and .ics files into signals."),
    "watch": Entry("deploy.commands.sources", "watch_command", "Follow a file as its owner edits it."),
    "tip": Entry("deploy.commands.tips", "tip", "The current tip, and why."),
    "react": Entry("deploy.commands.tips", "react", "Say done, snooze or dismiss to the current tip."),
    "profile": Entry("deploy.commands.profile", "profile", "What a person has set: quiet hours, consents, time zone."),
    "connect": Entry("deploy.commands.connections", "connect", "Connect a calendar, a task list or another source."),
    "connections": Entry("deploy.commands.connections", "connections", "What a person has connected."),
    "disconnect": Entry("deploy.commands.connections", "disconnect", "Take a connection back, with what it told."),
    "token": Entry("deploy.commands.tips", "token", "An access token of the local issuer."),
    "login": Entry("deploy.commands.login", "login", "Sign in on this machine, by a browser anywhere."),
    "simulate": Entry("deploy.commands.simulate", "simulate", "Let simulated people use it, live or in memory."),
    "console": Entry(
        "deploy.commands.console", "console", "A page for operators: what runs, what is decided, and why."
    ),
    "verify": Entry("deploy.commands.verify", "verify", "Fold the journal again and compare it with what is live."),
    "explain": Entry("deploy.commands.explain", "explain", "Why this tip, why not that one, why nothing."),
    "state": Entry("deploy.commands.state", "state", "What is known of one user."),
    "erase": Entry("deploy.commands.erase", "erase", "Forget a person; asks again, and gives a receipt."),
    "privacy": Entry(
        "deploy.commands.privacy", (("status", "status"),), "Of somebody who left: what is gone, and what waits."
    ),
    "export": Entry("deploy.commands.export", "export", "Everything that is known of one person, in one zip."),
    "models": Entry(
        "deploy.commands.models",
        (("list", "listed"), ("promote", "promote"), ("rollback", "rollback"), ("retire", "retire")),
        "Models: what each is worth, which one is the champion.",
    ),
    "train": Entry("deploy.commands.train", "train", "Make reward models of what was decided, and judge them."),
    "audit": Entry(
        "deploy.commands.audit",
        "audit",
        "Which commands showed texts, sent letters again or promoted a policy, when, and whose.",
    ),
    "policies": Entry(
        "deploy.commands.policies",
        (("", "listed"), ("promote", "promote")),
        "What each policy earns, and which one decides.",
    ),
    "prompts": Entry(
        "deploy.commands.prompts",
        (("list", "listed"), ("compare", "compare")),
        "Which prompts are asked, and how often what came of each is done.",
    ),
    "snapshots": Entry(
        "deploy.commands.snapshots",
        (("", "listed"), ("make", "make"), ("verify", "verify"), ("tend", "tend")),
        "Row snapshots: from which the journal can be folded again once its beginning is gone.",
    ),
    "replay": Entry(
        "deploy.commands.replay",
        tuple(
            (name, "listed" if name == "list" else name)
            for name in ("run", "ask", "list", "show", "verify", "diff", "promote", "pause", "resume", "rm")
        ),
        "Fold a range of the journal again, apart from what is live.",
    ),
    "lake": Entry(
        "deploy.commands.lake",
        (
            *(("export", "export"), ("import", "import_logs"), ("compact", "compact"), ("forget", "forget")),
            ("feast", "feast"),
        ),
        "The log as Parquet and Avro files, and for Feast; decision logs of others read.",
    ),
    "keys": Entry(
        "deploy.commands.keys",
        (("rotate", "rotate"),),
        "Wrap everybody's key anew, and destroy what wrapped them before.",
    ),
    "pseudonyms": Entry(
        "deploy.commands.pseudonyms", (("begin", "begin"),), "Give everybody of a folder from before a pseudonym."
    ),
    "dead-letters": Entry(
        "deploy.commands.dead_letters",
        (("list", "listed"), ("counts", "counts"), ("show", "show"), ("redrive", "redrive")),
        "What the door refused, and why; send it again.",
    ),
}


class Lazy(TyperGroup):
    """Lists every command from the table, and imports only the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with the command's name and help; `resolve_command` loads the real one."""
        del ctx
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name].help) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in COMMANDS:
            return args[0], load(args[0]), args[1:]
        return super().resolve_command(ctx, args)


def load(name: str) -> Any:
    """The command behind a name; raises ImportError or AttributeError when this build lacks it."""
    entry = COMMANDS[name]
    module = importlib.import_module(entry.module)
    if isinstance(entry.function, str):
        return single(name, getattr(module, entry.function), entry.help)
    alone = "" in dict(entry.function)
    group = typer.Typer(help=entry.help, no_args_is_help=not alone, invoke_without_command=alone, add_completion=False)
    for subcommand, function in entry.function:
        register = group.command(subcommand) if subcommand else group.callback(invoke_without_command=True)
        register(getattr(module, function))
    command = typer.main.get_group(group)
    command.name = name
    return command


def single(name: str, function: Callable[..., Any], text: str) -> Any:
    """One function as a command."""
    app = typer.Typer(add_completion=False)
    app.command(name, help=function.__doc__ or text)(function)
    command = typer.main.get_command(app)
    command.name = name
    return command


def create_app() -> typer.Typer:
    """The command without its arguments."""
    app = typer.Typer(
        cls=Lazy,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="oO keeps one good tip ready: the one thing worth doing now, with the reason.",
    )

    @app.callback()
    def options(
        debug: Annotated[
            bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")
        ] = False,
    ) -> None:
        del debug  # taken out of the arguments before they come here

    return app


def main() -> None:
    """The console script: exit status 1 and one line for what fails, 2 for wrong usage."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = "--debug" in sys.argv[1:]
    try:
        create_app()(args=arguments, prog_name="oo")
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        if debug:
            raise
        print(f"oo: {one_line(error)}", file=sys.stderr)
        raise SystemExit(1) from None


def one_line(error: Exception) -> str:
    """What went wrong in one line; for an error that no command foresaw, with its kind and how to see more."""
    text = " ".join(str(error).split())
    foreseen = type(error).__module__.startswith(("deploy.", "streams.", "connectors.", "agents.", "serving."))
    if foreseen and text:
        return text
    return f"{type(error).__name__}: {text or 'no message'} (--debug shows where)"


if __name__ == "__main__":
    main()
