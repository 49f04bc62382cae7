"""The page that stands in serving/static: built from the sources beside it, typed by the edge as it is, and small."""

from __future__ import annotations

import gzip
import re

from deploy.built import BUILT

FIRST_VIEW_BYTES_MAX = 60 * 1024


def test_the_committed_page_was_built_from_these_sources_and_knows_the_edge_as_it_is() -> None:
    built = BUILT["page"]
    assert built.openapi.read_text() == built.said(), "the edge changed: make page"
    assert built.note.read_text().strip() == built.digest(), "the page's or the client's sources changed: make page"


def test_the_first_view_is_small() -> None:
    static = BUILT["page"].static
    page = (static / "index.html").read_text()
    needed = [static / name for name in re.findall(r'(?:src|href)="/static/([^"]+\.(?:js|css))"', page)]
    assert sorted(one.suffix for one in needed) == [".css", ".js"]
    script = next(one for one in needed if one.suffix == ".js").read_text()
    assert not re.search(r"""(from|import)\s*["'`]\.""", script), "the script loads another one before it does anything"
    zipped = sum(len(gzip.compress(one.read_bytes())) for one in (static / "index.html", *needed))
    assert zipped <= FIRST_VIEW_BYTES_MAX
