"""Metric files of workers that are gone: merged, with nothing lost or counted twice."""

import fcntl
import os

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from serving.telemetry import dead
from serving.telemetry.dead import merge_dead, move_dead, scraping

COUNTED = mmap_key("asked", "asked_total", ["model"], ["iris"], "Requests with ü, quotes and all")
BUCKETS = [mmap_key("took", "took_bucket", ["le"], [bound], "Seconds") for bound in ("0.1", "1.0", "+Inf")]
HIGHEST = mmap_key("faults", "faults", [], [], "Faults in force")


def work(folder, pid, n_requests=1):
    """What a worker leaves."""
    for name, keys in (("counter", [COUNTED]), ("histogram", BUCKETS), ("gauge_max", [HIGHEST])):
        file = MmapedDict(str(folder / f"{name}_{pid}.db"))
        for key in keys:
            file.write_value(key, n_requests, 0)
        file.close()


def scrape(folder):
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))
    return "\n".join(sorted(generate_latest(registry).decode().splitlines()))


def test_the_dead_are_one_file_a_kind_and_no_counter_falls(tmp_path):
    work(tmp_path, "live")
    for pid in range(40):
        work(tmp_path, pid)
        before = scrape(tmp_path)
        assert f'asked_total{{model="iris"}} {pid + 2}.0' in before
        assert merge_dead(tmp_path, pid, tmp_path)
        assert scrape(tmp_path) == before
    assert f'took_bucket{{le="+Inf"}} {3 * 41}.0' in before
    files = {"counter_dead.db", "counter_live.db", "histogram_dead.db", "histogram_live.db", "gauge_max_live.db"}
    assert {file.name for file in tmp_path.glob("*.db")} == files


def test_a_gauge_dies_with_its_worker(tmp_path):
    work(tmp_path, 1, n_requests=5)
    work(tmp_path, 2, n_requests=1)
    merge_dead(tmp_path, 1, tmp_path)
    assert "faults 1.0" in scrape(tmp_path)


def test_nothing_is_merged_while_somebody_scrapes(tmp_path):
    work(tmp_path, 1)
    with scraping(tmp_path), scraping(tmp_path):  # any number may
        assert not merge_dead(tmp_path, 1, tmp_path)
        assert (tmp_path / "counter_1.db").exists()
    assert merge_dead(tmp_path, 1, tmp_path)


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    work(tmp_path, 1)
    before = scrape(tmp_path)

    def full(values):
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(dead, "_as_file", full)
        with pytest.raises(OSError, match="No space"):
            merge_dead(tmp_path, 1, tmp_path)
    assert scrape(tmp_path) == before
    lock = os.open(tmp_path / dead.LOCK, os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is not kept
    os.close(lock)


def test_what_the_dead_have_counted_moves_with_the_living(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    for pid in (1, 2):
        work(old, pid)
    merge_dead(old, 1, old)
    move_dead(old, new)
    merge_dead(old, 2, new)
    assert 'asked_total{model="iris"} 2.0' in scrape(new)
