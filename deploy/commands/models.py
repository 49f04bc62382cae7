"""oo models: versions of models, what each is worth and what it was made from; which one is the champion, and which ones have to go."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.commands.session import DEFAULT_STATE, AsOption, CommandError, JsonOption, StateOption, open_state
from deploy.stack.rights import PROMOTER

if TYPE_CHECKING:
    from connectors.model_registry import ModelRegistry, Version
    from deploy.models.due import Due
    from deploy.stack.running import RunningStack

FORMER = "former"
"""The alias of the champion before this one."""
WhyOption = Annotated[str, typer.Option("--why", help="The reason, kept with it.")]
ModelArgument = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="A model, or one version of it.")]


def listed(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Only of this model.")] = "",
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Versions, their aliases and metrics, the journal ranges that each was made from, and which ones have to go."""
    from connectors.leaving import leavers_of
    from deploy.models.due import due
    from deploy.models.places import registry_of

    stack = open_state(state, ready=False)
    versions = registry_of(stack).versions(name)
    have_to_go = {one.version.spelled: one for one in due(versions, asyncio.run(leavers_of(stack.cluster)))}
    decisions_hear = asyncio.run(_heard(stack))
    if as_json:
        told = [_told(one, have_to_go.get(one.spelled), is_heard=one.spelled == decisions_hear) for one in versions]
        print(json.dumps(told))
        return
    if not versions:
        print("There is no model yet: 'oo train --name NAME' makes one.")
        return
    for one in versions:
        print(f"{one.spelled}  {', '.join((*one.aliases, one.about.get('model', ''))) or ''}".rstrip(" ,"))
        for line in _lines(one):
            print(f"    {line}")
        if one.spelled in have_to_go:
            print(f"    {_words(have_to_go[one.spelled])}")
    print(f"decisions hear {decisions_hear or 'no model'}")
    of_these = decisions_hear if not name or decisions_hear.startswith(f"{name}@") else ""
    for line in _otherwise(versions, of_these):
        print(line)


def promote(
    model: ModelArgument,
    why: WhyOption = "said so",
    role: AsOption = "",
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Make a version the champion, the one named, else the challenger: decisions hear what it says. 'oo models rollback' takes it back."""
    from connectors.model_registry import CHALLENGER

    stack = open_state(state, "registry_url", ready=False)
    one, before = _let_decide(stack, model, otherwise=CHALLENGER, command="oo models promote", why=why, role=role)
    assert one is not None, "there is a challenger, or nothing is promoted"
    print(f"{one.spelled} is the champion{f' after {before.spelled}' if before else ''}: the next version hears it")


def rollback(
    model: ModelArgument,
    why: WhyOption = "said so",
    role: AsOption = "",
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Make a version the champion again: the one named, else the one before; where there was none, no model is heard."""
    stack = open_state(state, "registry_url", ready=False)
    one, before = _let_decide(stack, model, otherwise=FORMER, command="oo models rollback", why=why, role=role)
    what = f"{one.spelled} is the champion again" if one else "No model is heard any more"
    print(f"{what}{f', {before.spelled} is not' if before else ''}")


def _let_decide(
    stack: RunningStack, model: str, *, otherwise: str, command: str, why: str, role: str
) -> tuple[Version | None, Version | None]:
    """Say it in the journal, where it counts, then name it in the registry. Return the champion and the one before."""
    from connectors.model_registry import CHAMPION
    from deploy.models.places import registry_of
    from deploy.promoting import let_hear

    registry = registry_of(stack)
    versions, one = _chosen(registry, model, otherwise=otherwise)
    before = _named(versions, CHAMPION)
    spelled = one.spelled if one else ""
    if one is not None and not one.about:
        raise CommandError(f"the files of {one.spelled} are gone from the registry: 'oo train' makes a new version")
    said = spelled == asyncio.run(_heard(stack))
    if said and before == one:
        raise CommandError(f"{spelled or 'no model'} is the champion already")
    if not said:
        by = stack.as_named(role, PROMOTER)
        asyncio.run(let_hear(by, spelled, command=f"{command} {model}", why=why))
    name = versions[0].name
    if before is not None and before != one:
        registry.set_alias(name, FORMER, before.version)
    if one is None:
        registry.drop_alias(name, CHAMPION)
    else:
        registry.set_alias(name, CHAMPION, one.version)
    return one, before if before != one else None


async def _heard(stack: RunningStack) -> str:
    from deploy.earned import heard, promotions

    return heard(await promotions(stack.cluster))


def retire(
    model: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The version that goes.")],
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Take a version and all its files out of the registry, as one has to that was made with somebody who left."""
    from connectors.model_registry import CHAMPION, parsed
    from deploy.models.places import registry_of

    stack = open_state(state, ready=False)
    registry = registry_of(stack)
    name, number = parsed(model)
    if number is None:
        raise CommandError(f"name the version, as in {name}@1")
    one = next((one for one in registry.versions(name) if one.version == number), None)
    if one is None:
        raise CommandError(f"there is no {model}: 'oo models list' shows those that are")
    if CHAMPION in one.aliases or asyncio.run(_heard(stack)) == one.spelled:
        raise CommandError(f"{model} is the champion: promote another one first, or 'oo models rollback {name}'")
    registry.remove(name, number)
    print(f"{model} is gone")


def _chosen(registry: ModelRegistry, model: str, *, otherwise: str) -> tuple[list[Version], Version | None]:
    """The versions of a model, and the one meant; None for no model at all, which only a roll-back may come to."""
    from connectors.model_registry import parsed

    name, number = parsed(model)
    versions = registry.versions(name)
    if not versions:
        raise CommandError(f"there is no model {name}: 'oo models list' shows those that are")
    found = _named(versions, otherwise) if number is None else next((v for v in versions if v.version == number), None)
    if found is None and (number is not None or otherwise != FORMER):
        what = f"{name} has no {otherwise}" if number is None else f"there is no {model}"
        raise CommandError(f"{what}: 'oo models list' shows its versions, name one as in {name}@1")
    return versions, found


def _named(versions: list[Version], alias: str) -> Version | None:
    return next((one for one in versions if alias in one.aliases), None)


def _otherwise(versions: list[Version], decisions_hear: str) -> list[str]:
    """Where the registry names another champion than the journal: that of the journal counts."""
    from connectors.model_registry import CHAMPION

    named = [one.spelled for one in versions if CHAMPION in one.aliases]
    found = [
        f"the registry calls {one} the champion, and decisions do not hear it: 'oo models promote {one}' lets them"
        for one in named
        if one != decisions_hear
    ]
    if decisions_hear and decisions_hear not in named:
        there = any(one.spelled == decisions_hear for one in versions)
        what = "has not named it champion" if there else "does not have it any more"
        found.append(
            f"decisions hear {decisions_hear}, and the registry {what}: 'oo models promote NAME@VERSION' names another"
        )
    return found


def _told(one: Version, to_go: Due | None, *, is_heard: bool) -> dict[str, Any]:
    due = None if to_go is None else {"people": to_go.people, "by": _day(to_go.by_ms)}
    return {
        **one.about,
        "name": one.name,
        "version": one.version,
        "aliases": one.aliases,
        "heard": is_heard,
        "due": due,
    }


def _lines(one: Version) -> list[str]:
    about, metrics = one.about, one.about.get("metrics", {})
    if not about:
        return ["its files are gone from the registry: 'oo train' makes a new version"]

    if missing := {"trained_on", "created_ms", "erasures"} - about.keys():
        return [f"it was not made by 'oo train': its model.json has no {', '.join(sorted(missing))}"]

    def told(name: str) -> str:
        low, high = metrics.get(f"{name}.low"), metrics.get(f"{name}.high")
        return f"{metrics[name]:+.3f}{'' if low is None else f' ({low:+.3f} to {high:+.3f})'}"

    spans = about["trained_on"]["journal"]
    records = sum(end - start for start, end in spans.values())
    ranges = " ".join(f"{number}:{start}-{end}" for number, (start, end) in spans.items())
    return [
        f"on later rows: error {metrics['later.error']:.3f} (of one number {metrics['later.error_of_mean']:.3f}), off by {told('calibration.off')}",
        f"a decision would earn {told('earned.all.earned')}, did earn {told('earned.all.logged')}",
        f"made {_day(about['created_ms'])} of {records} records, without {about['erasures']} who had left: {ranges}",
    ]


def _words(one: Due) -> str:
    who = "somebody" if one.people == 1 else f"{one.people} people"
    return (
        f"{one.version.spelled} was made before {who} left: train again and 'oo models retire {one.version.spelled}' "
        f"by {_day(one.by_ms)}"
    )


def _day(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d}"
