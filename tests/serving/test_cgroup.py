"""Limits of control groups, version 1 and 2, as their files say."""

import pytest

from serving import cgroup

NO_LIMIT_V1 = str(2**63 - 4096)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that lays out a machine: what /proc/self/cgroup says, and files under /sys/fs/cgroup."""

    def lay_out(membership, files):
        monkeypatch.setattr(cgroup, "ROOT", tmp_path / "cgroup")
        monkeypatch.setattr(cgroup, "MEMBERSHIP", tmp_path / "membership")
        (tmp_path / "membership").write_text(membership)
        for name, text in files.items():
            file = tmp_path / "cgroup" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return cgroup.memory_limit(), cgroup.cpu_limit()

    return lay_out


def test_a_container_of_version_2(machine):
    assert machine("0::/\n", {"memory.max": "536870912\n", "cpu.max": "50000 100000\n"}) == (2**29, 0.5)


def test_a_container_of_version_1_sees_its_group_as_the_root(machine):
    files = {
        "memory/memory.limit_in_bytes": "536870912\n",
        "cpu/cpu.cfs_quota_us": "150000\n",
        "cpu/cpu.cfs_period_us": "100000\n",
    }
    membership = "9:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n"
    assert machine(membership, files) == (2**29, 1.5)


def test_the_least_of_all_groups_above_counts(machine):
    files = {"a/memory.max": "300", "a/b/memory.max": "max", "a/cpu.max": "400000 100000", "a/b/cpu.max": "max 100000"}
    assert machine("0::/a/b\n", files) == (300, 4.0)


def test_nothing_limits(machine):
    assert machine("0::/\n", {"memory.max": "max", "cpu.max": "max 100000"}) == (None, None)
    quota = {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}
    files = {"memory/memory.limit_in_bytes": NO_LIMIT_V1, **quota}
    assert machine("4:memory:/\n5:cpu:/\n", files) == (None, None)


def test_a_system_without_control_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    monkeypatch.setattr(cgroup, "MEMBERSHIP", tmp_path / "none")
    assert (cgroup.memory_limit(), cgroup.cpu_limit()) == (None, None)
