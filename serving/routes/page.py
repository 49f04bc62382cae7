"""The tip page at `/`, its files and its worker. Where nobody configured providers, local mode signs in whoever comes.

It is there in local mode, and where people sign in.
"""

from __future__ import annotations

import functools
import gzip
import re
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.responses import FileResponse, HTMLResponse

from serving.edge import TheEdge
from serving.issuer import TOKEN_LIFETIME_S
from serving.middleware import CSP_PAGE
from serving.problems import Problem
from serving.tokens import USER_ID

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).resolve().parent.parent / "static"
WORKER = "sw.js"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
FILES = {path.name: path for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES and path.name != WORKER}


_NAMES_ITS_CONTENT = re.compile(r"\.[\w-]{8}\.(js|css)$")


PARTS = {"connections": "connecting", "devices": "telling", "sessions": "sign_in"}
"""What the page offers where the edge has the part."""


@functools.cache
def _page(has: frozenset[str]) -> str:
    """The page for an edge that has these: it asks for nothing that is not there."""
    return (FOLDER / "index.html").read_text().replace('data-has=""', f'data-has="{" ".join(sorted(has))}"')


@router.get("/")
async def page(request: Request, edge: TheEdge, user: str | None = None) -> Response:
    # Another site may link to this page, but not choose who looks at it.
    own = request.headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    user_id = user if user is not None and own else edge.local_user
    if USER_ID.fullmatch(user_id) is None:
        raise Problem(422, "invalid-request", detail="`user` must be 1 to 128 characters without control characters.")
    has = {name for name, part in PARTS.items() if getattr(edge, part, None) is not None}
    if edge.sign_in is None:
        has.add("local")
    response = HTMLResponse(
        _page(frozenset(has)), headers={"content-security-policy": CSP_PAGE, "cache-control": "no-store"}
    )
    if edge.sign_in is None and edge.local is not None:
        response.set_cookie(
            edge.cookie, edge.local.mint(user_id), max_age=TOKEN_LIFETIME_S, path="/", httponly=True, samesite="strict"
        )
    return response


@router.get("/static/{name}")
async def file(request: Request, name: str) -> Response:
    path = FILES.get(name)
    if path is None:
        raise Problem(404, "not-found", detail="There is no such file.")
    kept = "public, max-age=31536000, immutable" if _NAMES_ITS_CONTENT.search(name) else "no-cache"
    headers = {"cache-control": kept, "vary": "Accept-Encoding"}
    if path.suffix in (".js", ".css") and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(
            _zipped(path), media_type=MEDIA_TYPES[path.suffix], headers={**headers, "content-encoding": "gzip"}
        )
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=headers)


@functools.cache
def _zipped(path: Path) -> bytes:
    return gzip.compress(path.read_bytes())


@router.get(f"/{WORKER}")
async def worker() -> Response:
    """At the root, so that the whole page is in its reach; what it may do stands in its own headers."""
    headers = {"content-security-policy": CSP_PAGE, "cache-control": "no-cache"}
    return FileResponse(FOLDER / WORKER, media_type=MEDIA_TYPES[".js"], headers=headers)
