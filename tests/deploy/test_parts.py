"""What the supervisor stands on: identities of processes, the state folder, logs, locked downloads."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import called

from deploy import moving
from deploy.commands.pseudonyms import begin
from deploy.commands.session import CommandError
from deploy.stack import fetch
from deploy.stack.java import FLAGS, archive, archive_flags, fresh, java_path
from deploy.stack.processes import LOG_BYTES_MAX, Identity, Log, alive, end, identify
from deploy.stack.state import AlreadyRunning, PortTaken, SecretLost, StateFolder, free_port, is_free
from deploy.stack.supervisor import end_leftovers
from tables.pseudonyms import Pseudonyms


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def folder_that_remembers(root: Path, identity: Identity) -> StateFolder:
    folder = StateFolder(root)
    folder.create()
    folder.write({"parts": {"valkey": {"pid": identity.pid, "born": identity.born}}})
    return folder


def test_what_a_killed_supervisor_left_is_ended(tmp_path: Path) -> None:
    with sleeper() as left:
        identity = identify(left.pid)
        assert identity is not None
        reaper = threading.Thread(target=left.wait)
        reaper.start()
        assert end_leftovers(folder_that_remembers(tmp_path, identity), told=lambda *_: None) == ["valkey"]
        reaper.join()
        assert not alive(identity)


def test_a_process_that_only_has_the_same_pid_is_never_ended(tmp_path: Path) -> None:
    with sleeper() as stranger:
        earlier = Identity(stranger.pid, "another-boot:1")
        assert end_leftovers(folder_that_remembers(tmp_path, earlier), told=lambda *_: None) == []
        assert end(earlier) is False
        assert stranger.poll() is None
        stranger.kill()


def test_a_state_folder_has_one_supervisor(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    with folder.lock():
        assert folder.locked()
        with pytest.raises(AlreadyRunning):
            folder.lock()
    assert not folder.locked()


def test_a_part_keeps_its_port_while_it_is_free(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    first = folder.ports(["kafka", "valkey"])
    assert folder.ports(["kafka", "valkey"]) == first
    assert folder.ports(["kafka"], {"kafka": 29092}) == {"kafka": 29092}


def test_a_port_that_somebody_took_meanwhile_is_replaced(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    first = folder.ports(["kafka"])
    with http.server.HTTPServer(("127.0.0.1", first["kafka"]), http.server.BaseHTTPRequestHandler):
        assert not is_free(first["kafka"])
        assert folder.ports(["kafka"]) != first
        with pytest.raises(PortTaken, match="give kafka another one"):
            folder.ports(["kafka"], {"kafka": first["kafka"]})


def test_secrets_are_made_once(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.create()
    folder.keys()
    files = folder.mac_key_file, folder.jwks_file, folder.name_key_file
    before = folder.passwords(), *[file.read_bytes() for file in files]
    folder.keys()
    assert (folder.passwords(), *[file.read_bytes() for file in files]) == before
    assert len(before[1]) == len(before[3]) == 32
    assert b'"d"' not in before[2], "the public key set holds the private key"


def test_a_folder_from_before_pseudonyms_goes_on_with_peoples_own_names(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.create()
    folder.mac_key_file.write_bytes(bytes(32))
    folder.keys()
    assert folder.name_key_file.read_bytes() == b""
    assert Pseudonyms.in_file(folder.name_key_file).of("ada") == "ada"


@pytest.mark.parametrize("other", [None, b"", bytes(32)], ids=["gone", "empty", "another"])
def test_a_secret_of_pseudonyms_that_is_not_the_one_of_before_stops_a_start(
    tmp_path: Path, other: bytes | None
) -> None:
    folder = StateFolder(tmp_path)
    folder.create()
    folder.keys()
    folder.name_key_file.unlink()
    if other is not None:
        folder.name_key_file.write_bytes(other)
    with pytest.raises(SecretLost, match="bring that back"):
        folder.keys()


def test_who_has_pseudonyms_gets_no_others(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.create()
    folder.keys()
    with pytest.raises(CommandError, match="nothing was ever started"):
        begin(tmp_path)
    folder.write({"prefix": "oo."})
    before = folder.name_key_file.read_bytes()
    with pytest.raises(CommandError, match="have pseudonyms already"):
        begin(tmp_path)
    assert folder.name_key_file.read_bytes() == before


def test_a_move_to_pseudonyms_that_is_cut_off_while_it_clears_up_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.create()
    folder.mac_key_file.write_bytes(b"m" * 32)
    folder.keys()
    folder.moving_dir.mkdir()
    for name, data in (("name.key", b"n" * 32), ("staged.done", b""), ("journal", b"{}")):
        (folder.moving_dir / name).write_bytes(data)
    assert folder.is_moving
    refused = called("up", f"--state={folder.root}", check=False)
    assert refused.returncode == 1 and "oo pseudonyms begin" in refused.stderr

    def cut_off(path: Path, **_: object) -> None:
        # As a kill does: some of it is gone.
        for one in (path / "journal", path / "topics.done"):
            one.unlink(missing_ok=True)
        if path.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(moving.shutil, "rmtree", cut_off)
    with pytest.raises(KeyboardInterrupt):
        moving.finish(folder)
    # Taken for a move that goes on, it would make all topics anew, and have nothing to write there.
    assert not folder.is_moving
    assert folder.name_key_file.read_bytes() == b"n" * 32


def test_a_log_stays_within_two_files_of_its_limit(tmp_path: Path) -> None:
    log = Log(tmp_path / "part.log")
    line = b"x" * 65_535 + b"\n"
    for _ in range(3 * LOG_BYTES_MAX // len(line)):
        log.write(line)
    log.close()
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert set(sizes) == {"part.log", "part.log.1"}
    assert max(sizes.values()) <= LOG_BYTES_MAX


@contextmanager
def repository(content: bytes) -> Iterator[str]:
    """A Maven repository on loopback that has this content under every name."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith(".sha1"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/maven2"
        finally:
            server.shutdown()
            thread.join()


def mirror(home: Path, url: str) -> None:
    (home / ".m2").mkdir()
    (home / ".m2" / "settings.xml").write_text(
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0"><mirrors><mirror>'
        f"<id>m</id><mirrorOf>central</mirrorOf><url>{url}</url></mirror></mirrors></settings>"
    )


def test_a_file_whose_hash_is_not_the_locked_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    cache = fetch.Cache(tmp_path / "cache")
    with repository(b"not what was locked") as url:
        mirror(tmp_path, url)
        with pytest.raises(fetch.FetchError, match="the lock says"):
            fetch.fetch(cache, on_bytes=lambda *_: None)
    assert not cache.complete
    assert list(cache.root.iterdir()) == []


def test_without_a_network_fetching_says_what_to_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    mirror(tmp_path, f"http://127.0.0.1:{free_port()}/maven2")
    with pytest.raises(fetch.FetchError, match="check the network"):
        fetch.fetch(fetch.Cache(tmp_path / "cache"), on_bytes=lambda *_: None)


def test_every_locked_file_has_a_hash() -> None:
    from jgo.env import LockFile

    for lock in (fetch.KAFKA_LOCK, fetch.REGISTRY_LOCK):
        dependencies = LockFile.load(lock).dependencies
        assert dependencies
        assert all(dependency.sha256 and len(dependency.sha256) == 64 for dependency in dependencies)


def test_root_is_not_needed_to_read_the_state(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.create()
    assert oct(folder.secrets.stat().st_mode & 0o777) == "0o700"
    assert os.access(folder.root, os.W_OK)


def test_a_folder_that_an_older_version_left_open_is_closed_to_others(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.create()
    folder.data("kafka").mkdir()
    folder.state_file.write_text("{}")
    for path, mode in (
        (folder.root, 0o755),
        (folder.logs, 0o755),
        (folder.data("kafka"), 0o755),
        (folder.state_file, 0o644),
    ):
        path.chmod(mode)
    folder.close_to_others()
    seen = [folder.root, folder.logs, folder.data("kafka"), folder.state_file]
    assert [oct(path.stat().st_mode & 0o777) for path in seen] == ["0o710", "0o700", "0o700", "0o600"]


def test_java_runs_with_the_archive_of_its_classes_where_there_is_one_and_without_one_that_is_broken(
    tmp_path: Path,
) -> None:
    made = archive(jars := tmp_path / "jars")
    assert archive_flags(jars) == ()
    assert archive_flags(jars, archiving=True) == (f"-XX:AOTCacheOutput={fresh(made)}",)
    assert fresh(made) != made
    made.write_bytes(b"broken")
    flags = archive_flags(jars)
    assert flags == (f"-XX:AOTCache={made}",)
    done = subprocess.run((java_path(), *FLAGS, *flags, "-version"), capture_output=True, text=True, check=True)
    assert "error has occurred while processing the AOT cache" in done.stderr
