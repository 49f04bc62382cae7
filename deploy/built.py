"""Says from which sources a committed page was built, and writes the OpenAPI document of its server, which its types are made of.

python -m deploy.built console openapi    before a build; `page` is the person's page, `console` the operators'
python -m deploy.built console note       after it
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from joserfc.jwk import ECKey

from connectors.key_files import KeyFiles
from deploy.console import app as console
from deploy.console.access import Access
from deploy.stack.running import RunningStack
from deploy.stack.state import StateFolder
from serving import app as edge
from serving import openapi
from serving.routes import page
from serving.settings import Settings
from streams.cluster import Cluster

OF_PROJECT = ("package-lock.json", "package.json", "tsconfig.json", "src/**/*")


@dataclass(frozen=True, slots=True)
class Built:
    """One page: where its sources are, where its files go, and the document that its types are made of."""

    sources: dict[Path, tuple[str, ...]]
    static: Path
    openapi: Path
    document: Callable[[], dict[str, object]]

    @property
    def note(self) -> Path:
        return self.static / "built-from.txt"

    def said(self) -> str:
        """The document of the server as it is now."""
        return json.dumps(self.document(), indent=1, sort_keys=True) + "\n"

    def digest(self) -> str:
        """Over the names and bytes of all sources."""
        whole = hashlib.sha256()
        for root, patterns in self.sources.items():
            for path in sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()}):
                whole.update(f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return whole.hexdigest()


def _of_console() -> dict[str, object]:
    nowhere = RunningStack(Cluster("127.0.0.1:1"), StateFolder(Path()))
    return console.create_app(nowhere, Access(cookie="")).openapi()


def _of_edge() -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "mac").write_bytes(bytes(edge.MAC_KEY_BYTES_MIN))
        (folder / "name").touch()
        (folder / "signing.pem").write_bytes(ECKey.generate_key("P-256").as_pem(private=True))
        KeyFiles(folder / "kek").make()
        settings = Settings(
            kafka_bootstrap="127.0.0.1:1",
            registry_url="http://127.0.0.1:1",
            valkey_url="redis://127.0.0.1:1",
            mac_key_file=folder / "mac",
            name_key_file=folder / "name",
            kek_dir=folder / "kek",
            jwt_issuer="",
            jwt_audience="",
            local=True,
            local_signing_key_file=folder / "signing.pem",
        )
        return openapi.document(edge.create_app(settings), cookie="oo_session")


_CONSOLE, _SERVING = console.STATIC.parent / "page", page.FOLDER.parent
BUILT = {
    "console": Built(
        sources={_CONSOLE: ("index.html", "openapi.json", "vite.config.ts", *OF_PROJECT)},
        static=console.STATIC,
        openapi=_CONSOLE / "openapi.json",
        document=_of_console,
    ),
    "page": Built(
        sources={
            _SERVING / "client": ("openapi.json", *OF_PROJECT),
            _SERVING / "page": ("index.html", "vite.config.ts", "public/*", *OF_PROJECT),
            _SERVING.parent / "tables": ("phrases_*.json",),
        },
        static=page.FOLDER,
        openapi=_SERVING / "client" / "openapi.json",
        document=_of_edge,
    ),
}


if __name__ == "__main__":
    match sys.argv[1:]:
        case [name, "openapi"] if name in BUILT:
            BUILT[name].openapi.write_text(BUILT[name].said())
        case [name, "note"] if name in BUILT:
            BUILT[name].note.write_text(BUILT[name].digest() + "\n")
        case _:
            raise SystemExit(__doc__)
