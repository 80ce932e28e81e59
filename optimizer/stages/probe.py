"""Look at the machine, and settle what the goal leaves to it."""

from __future__ import annotations

from optimizer.benchmark import describe_machine
from optimizer.errors import UnavailableProviderError
from optimizer.goal import Goal, Provider
from optimizer.isolation import Reporter
from optimizer.results import Machine, Probe
from optimizer.workspace import StageRequest


def run(request: StageRequest, reporter: Reporter) -> None:
    """Write the machine, and the goal with provider, target_cpu and threads filled in.

    Raises:
        UnavailableProviderError: If the provider asked for cannot run here.
    """
    machine = describe_machine()
    if reporter.sandbox:
        machine = machine.model_copy(update={"sandbox": reporter.sandbox.kind})
    request.files.write("probe", settle(request.goal, machine))


def settle(goal: Goal, machine: Machine) -> Probe:
    """Fill in what the goal leaves to the machine.

    Raises:
        UnavailableProviderError: If the provider asked for cannot run here.
    """
    provider: Provider = "cuda" if "cuda" in machine.usable_providers else "cpu"
    if goal.provider != "auto":
        provider = goal.provider
    if provider not in machine.usable_providers:
        reason = machine.unusable_providers.get(provider, "it is not known here")
        raise UnavailableProviderError(
            f"The provider {provider} cannot run here: {reason}",
            hint="Install `onnxpress[cuda]` on a machine with an NVIDIA GPU, or use the provider cpu.",
        )
    threads = goal.threads or machine.cores
    target_cpu = goal.target_cpu or machine.target_cpu
    settled = {"provider": provider, "target_cpu": target_cpu, "threads": threads}
    return Probe(machine=machine, goal=goal.model_copy(update=settled), provider=provider, threads=threads)
