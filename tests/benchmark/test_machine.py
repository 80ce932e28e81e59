from __future__ import annotations

import os
from pathlib import Path

import pytest

from optimizer.benchmark import (
    describe_machine,
    instruction_sets,
    target_cpu_of,
    usable_cores,
    usable_memory_bytes,
)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse4_2", ()),
        ("fpu avx2", ("avx2",)),
        ("avx2 avx512f avx512_vnni", ("avx2", "avx512", "vnni")),
        ("avx2 avx512f avx512_vnni amx_tile amx_bf16 amx_int8", ("avx2", "avx512", "vnni", "amx", "bf16")),
        ("avx2x xavx512f", ()),
    ],
)
def test_instruction_sets_come_from_whole_flags(flags: str, expected: tuple[str, ...]) -> None:
    assert instruction_sets(f"model name : a CPU\nflags\t\t: {flags}\n") == expected


@pytest.mark.parametrize(
    ("isa", "architecture", "target"),
    [
        (("avx2", "vnni"), "x86_64", "vnni"),
        (("avx2", "avx512"), "x86_64", "avx2"),
        ((), "AMD64", "avx2"),
        ((), "aarch64", "arm"),
        ((), "arm64", "arm"),
        ((), "armv7l", "arm"),
    ],
)
def test_the_target_follows_from_architecture_and_vnni(
    isa: tuple[str, ...], architecture: str, target: str
) -> None:
    assert target_cpu_of(isa, architecture) == target


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"},
        # the quota of a parent holds for its children
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
        },
        # version 1
        {
            "proc/self/cgroup": "4:cpu:/job\n2:memory:/job\n",
            "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
        },
    ],
)
def test_a_cpu_quota_limits_the_cores(tmp_path: Path, files: dict[str, str]) -> None:
    assert usable_cores(write(tmp_path, files)) == 1


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"},
        {
            "proc/self/cgroup": "4:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    ],
)
def test_without_a_quota_the_affinity_counts(tmp_path: Path, files: dict[str, str]) -> None:
    assert usable_cores(write(tmp_path, files)) == len(os.sched_getaffinity(0))


def test_a_memory_limit_counts_where_it_is_below_the_machines(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1048576\n"}
    assert usable_memory_bytes(write(tmp_path, files)) == 1 << 20
    write(tmp_path, {"sys/fs/cgroup/memory.max": "max\n"})
    assert usable_memory_bytes(tmp_path) == usable_memory_bytes(tmp_path / "nowhere")


def test_this_machine_is_described() -> None:
    machine = describe_machine()
    assert machine.cpu
    assert 1 <= machine.cores <= (os.cpu_count() or 1)
    assert machine.memory_bytes > 1 << 28
    assert machine.onnxruntime.startswith("1.")
    assert "cpu" in machine.usable_providers
    assert set(machine.usable_providers) | set(machine.unusable_providers) == {"cpu", "cuda"}
    assert all(machine.unusable_providers.values())
