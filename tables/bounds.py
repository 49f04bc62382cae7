"""How much of a person is kept, and the time that never comes: for those who ask nothing else of a row, and import nothing for it."""

from __future__ import annotations

TASKS_MAX = 256
EVENTS_MAX = 256

NEVER_MS = 1 << 62
