"""An ask as a person's might be, in one of three languages."""

from __future__ import annotations

from oo.v1 import decision_pb2, outcome_pb2
from streams.units import HOUR_MS

NOW_MS = 1_795_942_800_000  # Sunday 2026-11-29 09:00 UTC

LISTS = {
    "en": (
        ("Tax return", "Reply to the landlord about the deposit", "Read pull request 412"),
        "Meeting of the garden club",
    ),
    "de": (
        ("Steuererklärung", "Dem Vermieter wegen der Kaution antworten", "Pull Request 412 lesen"),
        "Treffen des Gartenvereins",
    ),
    "es": (
        ("Declaración de la renta", "Responder al casero sobre la fianza", "Leer la pull request 412"),
        "Reunión del club de jardín",
    ),
}
TIPS = {
    "en": ("Find the letter with last year's numbers", "With it on the table the rest takes half the time."),
    "de": ("Leg dir den Bescheid vom letzten Jahr hin", "Damit geht der Rest in der halben Zeit."),
    "es": ("Busca la carta con las cifras del año pasado", "Con ella en la mesa lo demás va más rápido."),
}


def asked(*titles: str, language: str = "en", tell: bool = True, tips_max: int = 3) -> decision_pb2.Ask:
    """An ask with a list of that language, and these titles after it."""
    names, meeting = LISTS[language]
    tasks = [*names, *titles]
    return decision_pb2.Ask(
        tips_max=tips_max,
        tokens_max=700,
        now_ms=NOW_MS,
        time_zone="Europe/Berlin",
        languages=[language] if tell else [],
        tasks=[
            decision_pb2.AskedTask(id=f"task:list/{n}", title=one, due_ms=NOW_MS + n * HOUR_MS)
            for n, one in enumerate(tasks)
        ],
        events=[
            decision_pb2.AskedEvent(
                id="event:cal/1", title=meeting, start_ms=NOW_MS + HOUR_MS, end_ms=NOW_MS + 2 * HOUR_MS, busy=True
            )
        ],
        reactions=[
            decision_pb2.AskedReaction(
                kind=decision_pb2.Decision.TASK, outcome=outcome_pb2.Outcome.DONE, part=1, count=3
            )
        ],
        written=["Open the window for five minutes"],
    )
