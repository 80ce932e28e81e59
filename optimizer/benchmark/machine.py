"""What a measurement was taken on: CPU, instruction sets, cores that may be used, GPU, providers."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

from optimizer.goal import TargetCpu
from optimizer.results import Machine
from optimizer.runtime import runtime_version, usable_providers

_ISA_FLAGS = {
    "avx2": {"avx2"},
    "avx512": {"avx512f"},
    "vnni": {"avx512_vnni", "avx_vnni"},
    "amx": {"amx_int8", "amx_tile"},
    "bf16": {"avx512_bf16", "amx_bf16"},
}
# Our names of instruction sets to the kernel's flags; one of them is enough.

_NO_LIMIT = 1 << 60  # cgroup v1 writes "no limit" as a number near 2**63.


def describe_machine() -> Machine:
    """Look at this machine; each provider is tried for real."""
    isa = instruction_sets(_read("/proc/cpuinfo"))
    providers = usable_providers()
    return Machine(
        cpu=_cpu_name(_read("/proc/cpuinfo")),
        isa=isa,
        cores=usable_cores(),
        memory_bytes=usable_memory_bytes(),
        target_cpu=target_cpu_of(isa, platform.machine()),
        gpu=_gpu_name(),
        onnxruntime=runtime_version(),
        usable_providers=tuple(name for name, reason in providers.items() if not reason),
        unusable_providers={name: reason for name, reason in providers.items() if reason},
    )


def target_cpu_of(isa: Collection[str], architecture: str) -> TargetCpu:
    """The CPU family that a file must be made for.

    Args:
        isa: From `instruction_sets`.
        architecture: As `platform.machine()` names it.

    >>> target_cpu_of(("avx2", "vnni"), "x86_64"), target_cpu_of((), "aarch64")
    ('vnni', 'arm')
    """
    if architecture.lower() in {"aarch64", "arm64"} or architecture.lower().startswith("arm"):
        return "arm"
    return "vnni" if "vnni" in isa else "avx2"


def instruction_sets(cpuinfo: str) -> tuple[str, ...]:
    """The instruction sets that matter to the kernels here, from the text of /proc/cpuinfo.

    >>> instruction_sets("flags : fpu avx2 avx_vnni")
    ('avx2', 'vnni')
    """
    found = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    flags = set(found[1].split()) if found else set()
    return tuple(name for name, any_of in _ISA_FLAGS.items() if any_of & flags)


def usable_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: its affinity and the CPU quotas of its cgroups, at least 1.

    Args:
        root: Where proc and sys are mounted.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [float(affinity)]
    for folder in _cgroup_folders(root, "cpu"):
        quota, _, period = (
            _read(folder / "cpu.max").strip().partition(" ")
        )  # v2: "150000 100000", "max 100000"
        quota = quota or _read(folder / "cpu.cfs_quota_us").strip()  # v1: -1 is no limit
        period = period or _read(folder / "cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit() and int(period):
            quotas.append(int(quota) / int(period))
    # Half a core more would only be throttled: round down.
    return max(1, int(min(quotas)))


def usable_memory_bytes(root: Path = Path("/")) -> int:
    """Memory that this process may use: the machine's, or less where a cgroup limits it.

    Args:
        root: Where proc and sys are mounted.
    """
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder in _cgroup_folders(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name).strip()
            if text.isdigit() and int(text) < _NO_LIMIT:
                sizes.append(int(text))
    return min(sizes)


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """The cgroup folders of this process for a controller, each with its parents: limits add up."""
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            top = mount
        elif controller in controllers.split(","):
            top = mount / controller
        else:
            continue
        folder = top / path.lstrip("/")
        yield folder
        while folder != top and top in folder.parents:
            folder = folder.parent
            yield folder


def _cpu_name(cpuinfo: str) -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _gpu_name() -> str | None:
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        found = re.search(r"^Model:\s*(.+)$", _read(path), re.MULTILINE)
        if found:
            return found[1].strip()
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
        return next(iter(done.stdout.splitlines()), "").strip() or None
    return None


def _read(path: Path | str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:  # not this kernel, not this cgroup version, or not ours to read
        return ""
