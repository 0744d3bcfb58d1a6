"""One contract of the verbs over a place, in a file system and in an object store."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upath import UPath

from tests.io.store import Store, child_environment
from texthash import doctor
from texthash.corpora.preparation import steps as preparation
from texthash.errors import StorageUnavailableError, TexthashError, UsageError, as_user_error
from texthash.io import conditional, folders
from texthash.io.conditional import CredentialsError, StoreBusyError, UnknownOutcomeError
from texthash.io.leases import LeaseHeldError, LeaseLostError, acquire, holder_of, lease
from texthash.io.places import ABSENT, create, read, swap
from texthash.io.records import is_record
from texthash.paths import StateDir, as_path

_MOVER = """
import sys
from texthash.io.places import read, swap
from texthash.paths import StateDir, as_path
path, name, moves = as_path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for move in range(moves):
    while True:
        record, version = read(path)
        if swap(path, {"at": f"{name}-{move}", "history": [*record["history"], f"{name}-{move}"]}, version):
            break
"""


@pytest.fixture(params=["files", "objects"])
def place(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> Path:
    return tmp_path / "place" if request.param == "files" else as_path(f"{store.bucket()}/home/place")


def test_a_record_is_created_once(place: Path) -> None:
    assert read(place / "r1") == (None, ABSENT)
    (place.mkdir(parents=True) if isinstance(place, Path) else None)
    assert create(place / "r1", {"a": 1})
    assert not create(place / "r1", {"a": 2})
    assert read(place / "r1")[0] == {"a": 1}


def test_a_record_is_replaced_in_the_version_that_was_read_only(place: Path) -> None:
    path = place / "current"
    assert swap(path, {"at": 0}, ABSENT)
    assert not swap(path, {"at": 9}, ABSENT)
    _, first = read(path)
    assert swap(path, {"at": 1}, first)
    assert not swap(path, {"at": 2}, first)
    assert read(path)[0] == {"at": 1}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["read", "swap", "create"])), max_size=12))
def test_any_interleaving_of_three_processes_is_that_of_a_register(place: Path, steps: list[tuple[int, str]]) -> None:
    """Compared with a variable: a write succeeds just if its process has seen the present value."""
    path = place / f"register-{time.monotonic_ns()}"
    place.mkdir(parents=True, exist_ok=True)
    seen: dict[int, Any] = dict.fromkeys(range(3), (None, ABSENT))
    present: dict[str, Any] | None = None
    for number, (process, what) in enumerate(steps):
        value = {"by": process, "number": number}
        if what == "read":
            seen[process] = read(path)
            assert seen[process][0] == present
        elif what == "swap":
            assert swap(path, value, seen[process][1]) == (seen[process][0] == present)
            present = value if seen[process][0] == present else present
        else:
            assert create(path, value) == (present is None)
            present = value if present is None else present
    assert read(path)[0] == present


def test_a_hundred_attempts_at_once_have_one_winner_each_time_and_a_linear_history(place: Path) -> None:
    """Four threads and two processes move one pointer a hundred times."""
    path = place / "current"
    assert swap(path, {"at": "", "history": []}, ABSENT)
    command = [sys.executable, "-c", _MOVER, str(path)]
    others = [subprocess.Popen([*command, f"p{n}", "20"], env=child_environment()) for n in range(2)]
    rounds = Counter[str]()

    def move(name: str) -> None:
        for turn in range(15):
            while True:
                record, version = read(path)
                assert record is not None
                made = {"at": f"{name}-{turn}", "history": [*record["history"], f"{name}-{turn}"]}
                won = swap(path, made, version)
                rounds["won" if won else "lost"] += 1
                if won:
                    break

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(move, ["t0", "t1", "t2", "t3"]))
    assert [process.wait(120) for process in others] == [0, 0]
    record, _ = read(path)
    assert record is not None
    wanted = {f"t{n}-{turn}" for n in range(4) for turn in range(15)} | {f"p{n}-{t}" for n in (0, 1) for t in range(20)}
    assert len(record["history"]) == 100
    assert set(record["history"]) == wanted
    assert record["at"] == record["history"][-1]
    for name in ("t0", "t1", "t2", "t3", "p0", "p1"):
        own = [int(move.partition("-")[2]) for move in record["history"] if move.startswith(f"{name}-")]
        assert own == sorted(own)


def test_one_of_many_creates_at_once_wins(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: create(place / "r1", {"by": n}), range(24)))
    assert won.count(True) == 1
    assert read(place / "r1")[0] == {"by": won.index(True)}


def test_a_broken_record_is_named(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / "r1").write_text("[]", encoding="utf-8")
    with pytest.raises(TexthashError, match=r"r1 is broken: it is not a JSON object"):
        read(place / "r1")


def test_a_lease_has_one_holder_who_is_named(place: Path) -> None:
    path = place / "lease"
    with lease(path, {"host": "a", "address": None}) as held:
        held.check()
        with pytest.raises(LeaseHeldError, match="held by another process: host a"):
            acquire(path, {"host": "b"})
        assert holder_of(path)["host"] == "a"
    with pytest.raises(LeaseLostError):
        held.check()
    following = acquire(path, {"host": "b"}, wait_s=1)
    assert holder_of(path) == {"host": "b"}
    following.release()
    following.release()


def test_a_lease_is_waited_for(place: Path) -> None:
    path = place / "lease"
    held = acquire(path, {"host": "a"})
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(acquire, path, {"host": "b"}, wait_s=30)
        time.sleep(0.5)
        assert not waiting.done()
        held.release()
        waiting.result(30).release()


def test_the_lease_of_a_dead_holder_is_taken_over_and_its_epoch_grows(store: Store) -> None:
    path = as_path(f"{store.bucket()}/lease")
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, sys; from texthash.io.leases import acquire; from texthash.paths import StateDir, as_path\n"
            "acquire(as_path(sys.argv[1]), {'host': 'dead'}, seconds=600); os._exit(0)",
            str(path),
        ],
        env=child_environment(),
        check=True,
        timeout=60,
    )
    assert ended.returncode == 0
    with lease(path, {"host": "b"}) as held:
        assert held.epoch == 2


def test_a_holder_elsewhere_that_no_longer_renews_loses_the_lease_whatever_its_clock(store: Store) -> None:
    """The record says that the lease holds for an hour more, by a clock that is ahead."""
    path = as_path(f"{store.bucket()}/lease")
    record = {"holder": {"host": "far"}, "epoch": 7, "expires": time.time() + 3600, "seconds": 1.0, "own": "x"}
    assert create(path, {**record, "node": "another", "process": 1})
    with pytest.raises(LeaseHeldError, match="host far"):
        acquire(path, {"host": "b"})
    began = time.monotonic()
    with lease(path, {"host": "b"}, wait_s=20) as held:
        assert held.epoch == 8
    assert time.monotonic() - began >= 1.0


def test_a_holder_whose_lease_was_taken_over_notices_and_cannot_publish(store: Store) -> None:
    """Its clock runs behind, so that another holder finds the lease expired: the pointer is what decides."""
    bucket = store.bucket()
    path, pointer = as_path(f"{bucket}/lease"), as_path(f"{bucket}/current")
    assert swap(pointer, {"release": "r1"}, ABSENT)
    slow = acquire(path, {"host": "slow"}, seconds=1.5)
    _, seen = read(pointer)
    record, version = read(path)
    assert swap(path, {**record, "expires": time.time() - 60, "own": "stolen"}, version)  # type: ignore[dict-item]
    with lease(path, {"host": "quick"}) as quick:
        assert quick.epoch == slow.epoch + 1
        assert swap(pointer, {"release": "r2"}, read(pointer)[1])
        assert not swap(pointer, {"release": "r1a"}, seen)
        time.sleep(1.0)
        with pytest.raises(LeaseLostError, match="no longer holds"):
            slow.check()
        slow.release()
        quick.check()


def test_a_lease_that_could_not_be_given_up_is_free_to_its_own_process(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    path = as_path(f"{store.bucket()}/x.lock")
    held = acquire(path, {"host": "here"})
    store.fault = lambda _: (400, "ExpiredToken")
    held.release()
    assert "could not be given up" in caplog.text
    store.reset()
    again = acquire(path, {"host": "here"})
    assert again.epoch == held.epoch + 1
    with pytest.raises(LeaseHeldError):
        acquire(path, {"host": "here"})
    again.release()


def test_a_folder_appears_as_a_whole_and_is_fetched_and_verified(store: Store, tmp_path: Path) -> None:
    source, target = tmp_path / "made", as_path(f"{store.bucket()}/models/m1")
    (source / "hasher").mkdir(parents=True)
    (source / "hasher" / "weights").write_bytes(b"w" * 1000)
    (source / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(FileNotFoundError):
        folders.fetch(target, tmp_path / "copy")
    folders.publish(source, target)
    assert store.requests[-1][1].endswith(folders.LIST)
    copy = folders.fetch(target, tmp_path / "copy")
    assert (copy / "hasher" / "weights").read_bytes() == b"w" * 1000
    (source / "validation").mkdir()
    (source / "validation" / "metrics.json").write_text("{}", encoding="utf-8")
    (source / "run.json").unlink()
    folders.publish(source, target)
    store.requests.clear()
    folders.fetch(target, copy)
    assert not any("weights" in path for _, path in store.requests)
    assert not (copy / "run.json").exists()
    assert [name for name, _ in folders.published_in(target.parent)] == ["m1"]
    (target / "hasher" / "weights").write_bytes(b"v" * 1000)
    with pytest.raises(TexthashError, match=r"is damaged: .*weights has 1000 bytes with digest"):
        folders.fetch(target, tmp_path / "another")


def test_a_folder_of_files_is_moved(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a").touch()
    folders.publish(tmp_path / "made", tmp_path / "there" / "m1")
    assert (tmp_path / "there" / "m1" / "a").is_file()
    (tmp_path / "made").mkdir()
    with pytest.raises(FileExistsError):
        folders.publish(tmp_path / "made", tmp_path / "there" / "m1")


@pytest.mark.parametrize(
    ("ignored", "reason"),
    [("HTTP_IF_NONE_MATCH", "ignores If-None-Match"), ("HTTP_IF_MATCH", "ignores If-Match")],
)
def test_a_bucket_without_conditional_writes_is_refused_by_name(store: Store, ignored: str, reason: str) -> None:
    bucket = store.bucket()
    store.ignores = (ignored,)
    with pytest.raises(UsageError, match=f"{bucket[5:]} at 127.0.0.1:.* {reason}") as refused:
        create(as_path(f"{bucket}/r1"), {})
    assert "TEXTHASH_STORE" in refused.value.remedy
    assert not list(as_path(bucket).iterdir())


def test_a_bucket_that_knows_no_conditions_is_refused_by_name(store: Store) -> None:
    bucket = store.bucket()
    store.fault = lambda request: (501, "NotImplemented") if "HTTP_IF_NONE_MATCH" in request else None
    with pytest.raises(UsageError, match="has no conditional writes: it answers NotImplemented"):
        create(as_path(f"{bucket}/r1"), {})


def test_a_busy_store_is_asked_again(store: Store) -> None:
    path, left = as_path(f"{store.bucket()}/current"), [4]
    assert swap(path, {"at": 0}, ABSENT)
    _, version = read(path)

    def busy(request: dict[str, Any]) -> tuple[int, str] | None:
        left[0] -= request["REQUEST_METHOD"] == "PUT"
        return (503, "SlowDown") if request["REQUEST_METHOD"] == "PUT" and left[0] >= 0 else None

    store.fault = busy
    assert swap(path, {"at": 1}, version)
    assert not swap(path, {"at": 2}, version)


def test_a_store_that_stays_busy_is_named(store: Store) -> None:
    path = as_path(f"{store.bucket()}/current")
    store.fault = lambda _: (503, "SlowDown")
    with conditional.patience(1.0), pytest.raises(StoreBusyError, match="in 1 s: SlowDown"):
        read(path)


def test_an_answer_that_ends_in_the_middle_is_asked_for_again(store: Store) -> None:
    path = as_path(f"{store.bucket()}/current")
    assert swap(path, {"at": 0}, ABSENT)
    store.shorten = 2
    assert read(path)[0] == {"at": 0}
    assert not store.shorten


def test_a_write_whose_answer_is_lost_counts_once(store: Store) -> None:
    path = as_path(f"{store.bucket()}/current")
    assert swap(path, {"at": 0}, ABSENT)
    _, version = read(path)
    store.lose = 1
    assert swap(path, {"at": 1}, version)
    assert read(path)[0] == {"at": 1}


def test_a_write_whose_answer_is_lost_and_that_was_replaced_is_of_unknown_outcome(store: Store) -> None:
    path = as_path(f"{store.bucket()}/current")
    assert swap(path, {"at": 0}, ABSENT)
    _, version = read(path)
    key, puts = str(path).removeprefix("s3:/"), [0]
    body = json.dumps({"at": "another's"}).encode()

    def replaced(request: dict[str, Any]) -> tuple[int, str] | None:
        puts[0] += request["REQUEST_METHOD"] == "PUT" and request["PATH_INFO"] == key
        return None

    store.fault = replaced
    store.lose = 1
    original = conditional._send

    def meanwhile(target: Path, method: str, *arguments: Any, **named: Any) -> Any:
        if method == "head_object":
            original(target, "put_object", Body=body, Metadata={})
        return original(target, method, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conditional, "_send", meanwhile)
        with pytest.raises(UnknownOutcomeError, match="whether that write took effect is unknown"):
            swap(path, {"at": 1}, version)


def test_credentials_that_expire_during_a_run_are_named(store: Store) -> None:
    path = as_path(f"{store.bucket()}/current")
    assert swap(path, {"at": 0}, ABSENT)
    store.fault = lambda _: (400, "ExpiredToken")
    with pytest.raises(CredentialsError, match="refuses the credentials: ExpiredToken: they have expired") as error:
        read(path)
    assert "AWS_SESSION_TOKEN" in error.value.remedy
    with pytest.raises(CredentialsError):
        is_record(path)  # not that it is broken
    assert "expired" in _shown_when_read(path.parent / "data")


def _shown_when_read(path: Path) -> str:
    """Error of a read by the client of the store, as a user sees it."""
    with pytest.raises(OSError) as error:  # noqa: PT011
        path.read_bytes()
    return str(as_user_error(error.value))


@pytest.mark.parametrize(
    ("status", "code", "reason", "remedy"),
    [
        (403, "AccessDenied", "does not allow this to the present credentials", "write and delete objects"),
        (403, "RequestTimeTooSkewed", "the clock of this machine", "NTP"),
        (301, "PermanentRedirect", "in another region", "AWS_DEFAULT_REGION"),
        (400, "AuthorizationHeaderMalformed", "in another region", "AWS_DEFAULT_REGION"),
    ],
)
def test_a_refusal_is_named_with_its_remedy(store: Store, status: int, code: str, reason: str, remedy: str) -> None:
    path = as_path(f"{store.bucket()}/current")
    assert create(path, {})
    store.fault = lambda request: (status, code) if request["REQUEST_METHOD"] == "GET" else None
    with pytest.raises(StorageUnavailableError, match=rf"/current: .*{reason}.*{code}") as error:
        read(path)
    assert remedy in error.value.remedy
    shown = _shown_when_read(path)
    assert reason in shown
    assert remedy in shown
    with pytest.raises(StorageUnavailableError, match=rf"preparing .*{reason}"), preparation._explained(path):
        path.read_bytes()


def test_of_a_bucket_that_can_only_be_read_the_refused_write_is_named(store: Store) -> None:
    path = as_path(f"{store.bucket()}/current")
    store.fault = lambda request: None if request["REQUEST_METHOD"] in ("GET", "HEAD") else (403, "AccessDenied")
    with pytest.raises(StorageUnavailableError, match="PutObject"):
        create(path, {})
    assert read(path)[0] is None


def test_a_missing_bucket_is_named(store: Store) -> None:
    with pytest.raises(UsageError, match="there is no bucket nosuch-bucket-1"):
        create(as_path("s3://nosuch-bucket-1/r1"), {})


def test_a_store_of_another_kind_is_refused_by_name(store: Store) -> None:
    with pytest.raises(UsageError, match="kind memory"):
        create(UPath("memory://bucket/r1"), {})


def test_doctor_says_whether_the_bucket_can_hold_the_state(store: Store, node: Callable[[str], StateDir]) -> None:
    home = node("one")
    assert [(finding.check, finding.state) for finding in doctor._store(home)] == [("store", "ok")]
    conditional._checked.clear()
    store.ignores = ("HTTP_IF_MATCH",)
    (finding,) = doctor._findings("store", lambda: doctor._store(home))
    assert finding.state == "wrong"
    assert "ignores If-Match" in str(finding)
