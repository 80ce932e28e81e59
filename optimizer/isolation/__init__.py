"""Turns a stage's request into a run in a confined child process that leaves nothing behind."""

from optimizer.isolation.child import Caller, run_program, run_stage
from optimizer.isolation.launch import remove_folder, unlock_folder
from optimizer.isolation.machine_lock import LockMode, lock_path, machine_lock
from optimizer.isolation.messages import (
    Limits,
    StageCancelledError,
    StageEvent,
    StageKilledError,
    printable,
)
from optimizer.isolation.nested import run_nested
from optimizer.isolation.sandbox import SandboxStatus, sandbox_status
from optimizer.isolation.serve import Reporter, serve_stage

__all__ = [
    "Caller",
    "Limits",
    "LockMode",
    "Reporter",
    "SandboxStatus",
    "StageCancelledError",
    "StageEvent",
    "StageKilledError",
    "lock_path",
    "machine_lock",
    "printable",
    "remove_folder",
    "run_nested",
    "run_program",
    "run_stage",
    "sandbox_status",
    "serve_stage",
    "unlock_folder",
]
