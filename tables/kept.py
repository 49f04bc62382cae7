"""What is kept by key: a dict, or a drawer of `tables.shelf` where there is more of it than there may be memory."""

from __future__ import annotations

from typing import Protocol, TypeVar

T = TypeVar("T")


class Kept(Protocol[T]):
    """Values by key. Whoever changes one in place puts it back, or the change is lost."""

    def get(self, key: str, /) -> T | None:
        """Return the value of this key, None where there is none."""

    def __setitem__(self, key: str, value: T, /) -> None:
        """Keep this value."""

    def pop(self, key: str, default: None, /) -> T | None:
        """Keep it no more, and return what it was."""
