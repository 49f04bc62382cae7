"""Which sources there are: one line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from connectors.sources.source import Source
from connectors.sources.webcal import WebCal

SOURCES: Final[tuple[Source, ...]] = (WebCal(),)

BY_NAME: Final[Mapping[str, Source]] = {one.description.name: one for one in SOURCES}
