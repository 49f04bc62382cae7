"""iCalendar files as signals. `parse` is the way in; the modules beside it know nothing of each other's callers."""

from connectors.ical.reader import INSTANCES_MAX, SOURCE, TASKS_MAX, Window, parse

__all__ = ["INSTANCES_MAX", "SOURCE", "TASKS_MAX", "Window", "parse"]
