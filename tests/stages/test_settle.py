"""What the goal leaves to the machine."""

from __future__ import annotations

import pytest

from optimizer.errors import UnavailableProviderError
from optimizer.goal import Goal
from optimizer.results import Machine
from optimizer.stages.probe import settle

CPU = Machine(
    cpu="test",
    isa=("avx2",),
    cores=3,
    memory_bytes=1 << 30,
    target_cpu="avx2",
    unusable_providers={"cuda": "no NVIDIA driver"},
)
GPU = CPU.model_copy(update={"usable_providers": ("cpu", "cuda"), "unusable_providers": {}})


def test_auto_takes_cuda_where_it_is_usable_else_the_cpu() -> None:
    assert settle(Goal(), CPU).provider == "cpu"
    assert settle(Goal(), GPU).provider == "cuda"


def test_what_is_stated_stays() -> None:
    probe = settle(Goal(provider="cpu", target_cpu="vnni", threads=1), GPU)
    assert (probe.provider, probe.threads) == ("cpu", 1)
    assert (probe.goal.provider, probe.goal.target_cpu, probe.goal.threads) == ("cpu", "vnni", 1)


def test_what_is_left_out_is_the_machines() -> None:
    goal = settle(Goal(), CPU).goal
    assert (goal.provider, goal.target_cpu, goal.threads) == ("cpu", "avx2", 3)


def test_a_provider_that_cannot_run_is_an_error_with_the_reason() -> None:
    with pytest.raises(UnavailableProviderError, match="no NVIDIA driver"):
        settle(Goal(provider="cuda"), CPU)
