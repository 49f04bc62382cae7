"""`oo profile`: what a person has set for themselves, what their data may be used for, and setting both.

It never writes a row: it sends signals as a producer would, and consents as the person, and shows what the worker made of them.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import uuid4

import typer
from rich.console import Console

from connectors.source_file import timestamp
from deploy.commands.session import (
    DEFAULT_STATE,
    CommandError,
    JsonOption,
    StateOption,
    UserOption,
    ZoneOption,
    open_state,
)
from deploy.rows import row_of
from deploy.stack.running import RunningStack
from oo.v1.row_pb2 import UserRow
from oo.v1.signal_pb2 import ProfileChanged, QuietHours, Signal
from oo.v1.subject_request_pb2 import ConsentChanged, SubjectRequest
from streams.clock import clock_ms
from tables import consents
from tables.purposes import BY_NAME, PURPOSES
from tables.wall_clock import DAYS, bits_of, clock, days_of

TAKEN_WITHIN_S = 20.0
POLL_S = 0.3
CONSENT_HELP = f"{', '.join(BY_NAME)}, or a source as source:NAME; may come again."
QUIET_HELP = 'Nothing is said then: "22:00-07:00", "22:00-07:00 sun,mon,tue" (the days on which they begin), or off.'

_out = Console(highlight=False, soft_wrap=True, emoji=False, markup=False)


def profile(
    user: UserOption,
    time_zone: ZoneOption = None,
    quiet: Annotated[str | None, typer.Option("--quiet", metavar="HOURS", help=QUIET_HELP)] = None,
    consent: Annotated[
        list[str] | None,
        typer.Option("--consent", metavar="PURPOSE=on|off", help=CONSENT_HELP),
    ] = None,
    per_hour: Annotated[
        int | None, typer.Option("--per-hour", min=0, max=60, help="The most tips unasked; 0 for the usual.")
    ] = None,
    per_day: Annotated[
        int | None, typer.Option("--per-day", min=0, max=500, help="The most tips unasked; 0 for the usual.")
    ] = None,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """What this person has set: time zone, quiet hours, consents, how much is too much. An option changes it."""
    changed = ProfileChanged(time_zone=time_zone or "", tips_per_hour=per_hour, tips_per_day=per_day)
    if quiet is not None:
        changed.quiet_hours.CopyFrom(parse_quiet(quiet))
    words = [parse_consent(one) for one in consent or []]
    stack = open_state(state, "kek_dir", "name_key_file", *(["registry_url"] if changed.ListFields() or words else []))
    row = asyncio.run(_set(stack, user, changed, words))
    if row is None:
        raise CommandError(f"nothing is known of {user}: an option of 'oo profile' sets something, see --help")
    shown = as_shown(row, user=user, now_ms=clock_ms())
    if as_json:
        print(json.dumps(shown, ensure_ascii=False))
        return
    for line in in_words(shown):
        _out.print(line)


def parse_quiet(text: str) -> QuietHours:
    """Quiet hours in the words of QUIET_HELP; raises typer.BadParameter.

    >>> quiet = parse_quiet("22:00-07:30 mon,sun")
    >>> quiet.start_minute, quiet.end_minute, quiet.weekdays
    (1320, 450, 65)
    """
    if text == "off":
        return QuietHours()
    found = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})(?: ([a-z,]+))?", text.strip().lower())
    if found is None:
        raise typer.BadParameter(f"{text!r} are no quiet hours. {QUIET_HELP}")
    start, end = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
    days = found[5].split(",") if found[5] else []
    if max(int(found[2]), int(found[4])) > 59 or start >= 1440 or end > 1440 or not set(days) <= set(DAYS):
        raise typer.BadParameter(f"{text!r} are no quiet hours. {QUIET_HELP}")
    return QuietHours(start_minute=start, end_minute=end, weekdays=bits_of(days))


def parse_consent(text: str) -> ConsentChanged:
    """PURPOSE=on, source:NAME=off and so on; raises typer.BadParameter.

    >>> parse_consent("generated=off").granted, parse_consent("source:ical=on").source
    (False, 'ical')
    """
    name, _, said = text.rpartition("=")
    source = name.removeprefix("source:") if name.startswith("source:") else ""
    purpose = BY_NAME.get({"task": "tasks"}.get(name, name))
    if said not in ("on", "off") or (purpose is None and re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", source) is None):
        raise typer.BadParameter(f"{text!r} is no consent; write {', '.join(BY_NAME)} or source:NAME, and =on or =off")
    if purpose is None:
        return ConsentChanged(source=source, granted=said == "on")
    return ConsentChanged(purpose=purpose.number, granted=said == "on", text_version=purpose.text_version)


def as_shown(row: UserRow, *, user: str, now_ms: int) -> dict[str, Any]:
    """The settings as they stand, for `--json`. `tips_per_hour` and `tips_per_day` are null where the policy's stand."""
    quiet = row.profile.quiet_hours
    from agents import profile as settings
    from agents import quiet_hours
    from tables.bounds import NEVER_MS

    until_ms = quiet_hours.until_ms(row, now_ms=now_ms)
    stand = row.consents
    return {
        "user": user,
        "time_zone": row.time_zone,
        "quiet_hours": None
        if quiet.start_minute == quiet.end_minute
        else {"start": clock(quiet.start_minute), "end": clock(quiet.end_minute), "days": days_of(quiet.weekdays)},
        "quiet_now": bool(until_ms),
        "quiet_until": datetime.fromtimestamp(until_ms / 1000, UTC).isoformat() if 0 < until_ms < NEVER_MS else None,
        "consents": {
            one.name: consents.grants(stand, one.number) and all(settings.consents(row, kind) for kind in one.kinds)
            for one in PURPOSES
        },
        "withdrawn_sources": sorted(consents.withdrawn_sources(stand)),
        "tips_per_hour": row.profile.tips_per_hour or None,
        "tips_per_day": row.profile.tips_per_day or None,
    }


def in_words(shown: dict[str, Any]) -> list[str]:
    """The same in lines."""
    quiet = shown["quiet_hours"]
    given, off = ([name for name, one in shown["consents"].items() if one == wanted] for wanted in (True, False))
    off += [f"source:{name}" for name in shown["withdrawn_sources"]]
    hours = "none"
    if quiet is not None:
        on = "every day" if len(quiet["days"]) == len(DAYS) else f"beginning {', '.join(quiet['days'])}"
        hours = f"{quiet['start']} to {quiet['end']}, {on}" + (" (now)" if shown["quiet_now"] else "")
    return [
        f"{shown['user']}",
        f"  time zone    {shown['time_zone']}",
        f"  quiet hours  {hours}",
        f"  consents     {', '.join(given) or 'none'}; not {', '.join(off) or 'anything'}",
        f"  at most      {shown['tips_per_hour'] or 'as usual'} an hour, {shown['tips_per_day'] or 'as usual'} a day",
    ]


async def _set(
    stack: RunningStack, user: str, changed: ProfileChanged, words: Sequence[ConsentChanged]
) -> UserRow | None:
    """Sends what is changed and waits until the row has it; returns the row."""
    whose = stack.pseudonym(user)
    if not changed.ListFields() and not words:
        return await row_of(stack, whose, on_disk=False)
    from connectors.leaving import word_of
    from deploy.imports import Connection, PersonZone, ask, import_files, now_utc

    left = await word_of(stack.cluster, whose)
    if left is not None and not left.HasField("began_again"):
        raise CommandError(f"{user} has left: nothing of them is taken before they begin again")
    if words:
        row = await row_of(stack, whose, on_disk=False)
        for one in words:
            # Who grants here has been told what stands.
            consents.tell(one, () if row is None else row.consents)
        requests = [SubjectRequest(request_id=uuid4().hex, user_id=user, consent_changed=one) for one in words]
        await ask(stack, requests)
    if changed.time_zone:
        # `oo import` has to know from now on which zone was given, else it would send this machine's.
        zone = await PersonZone.of(changed.time_zone, machine=None, user_id=user, stack=stack)
        await import_files([], user_id=user, stack=stack, zone=zone, now=now_utc())
    if changed.ListFields():
        signal = Signal(
            event_id=f"profile-{uuid4().hex}",
            user_id=user,
            source="oo",
            event_time=timestamp(clock_ms()),
            profile_changed=changed,
        )
        async with Connection(stack) as connection:
            await connection.send([signal], event_source="profile")
    deadline_s = time.monotonic() + TAKEN_WITHIN_S
    while True:
        row = await row_of(stack, whose, on_disk=False)
        if row is not None and _has(row, changed, words):
            return row
        if time.monotonic() > deadline_s:
            raise CommandError(
                f"sent, but not taken within {TAKEN_WITHIN_S:g} s: 'oo status' shows what the workers do"
            )
        await asyncio.sleep(POLL_S)


def _has(row: UserRow, changed: ProfileChanged, words: Sequence[ConsentChanged]) -> bool:
    stands = {field.number: value for field, value in row.profile.ListFields()}
    found = [(one.granted, consents.find(row.consents, purpose=one.purpose, source=one.source)) for one in words]
    return (
        changed.time_zone in ("", row.time_zone)
        and all(stands.get(field.number) == value for field, value in changed.ListFields() if field.name != "time_zone")
        and all(one is not None and one.granted == granted for granted, one in found)
    )
