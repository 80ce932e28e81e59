"""Landlock by ctypes: this process and all its children may use these paths, and no network over TCP.

From Linux 5.13 on. What each version added (and what is handled here where the kernel has it): 2 moving files
between folders, 3 truncation, 4 TCP, 5 ioctl on devices, 6 signals and abstract sockets.
Reference: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterable
from functools import cache

from optimizer.isolation.rules import Access, Rule

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_RULE_PATH_BENEATH = 1
_VERSION_FLAG = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_ALL_TCP = 0b11
_ALL_SCOPES = 0b11

_RIGHTS: dict[Access, int] = {
    "list": _READ_DIR,
    "read": _READ_FILE | _READ_DIR,
    "execute": _READ_FILE | _EXECUTE,
    # No links, pipes, sockets or devices: they would mislead the driver, which reads this folder later.
    "write": _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE
             | _MAKE_DIR | _MAKE_REG | _REFER,
    "device": _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV,
}  # fmt: skip
_RIGHTS_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


@cache
def landlock_abi() -> int:
    """Landlock's version in this kernel, 0 where there is none; asks the kernel, and changes nothing."""
    return max(0, _ask_version())


def why_no_landlock() -> str:
    """Why there is no Landlock here, in words."""
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} has no Landlock"
    return f"this kernel offers no Landlock ({os.strerror(-_ask_version())})"


def uncovered() -> str:
    """What this kernel's Landlock does not cover, in words; empty when it covers all."""
    missing = [
        name
        for name, since in (("truncation", 3), ("TCP", 4), ("device ioctl", 5), ("signals", 6))
        if landlock_abi() < since
    ]
    return f"this kernel's Landlock does not cover {', '.join(missing)}" if missing else ""


def _ask_version() -> int:
    """The version, or the negative number of an error."""
    if not sys.platform.startswith("linux"):
        return 0
    version = _libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    return int(version) if version >= 0 else -ctypes.get_errno()


def restrict(rules: Iterable[Rule]) -> None:
    """Leave this thread, and all that it starts from now on, these paths alone; there is no way back.

    A path that does not exist is passed over.

    Raises:
        OSError: If the kernel refuses; then nothing is restricted.
    """
    abi = landlock_abi()
    handled = _handled_rights(abi)
    attr = _RulesetAttr(handled, _ALL_TCP if abi >= 4 else 0, _ALL_SCOPES if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attr), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for rule in rules:
            _add_rule(ruleset, rule, handled)
        set_no_new_privileges()
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def set_no_new_privileges() -> None:
    """Let no set-user-id program raise this process's rights; what both Landlock and seccomp ask for.

    Raises:
        OSError: If the kernel refuses.
    """
    if _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")


def _handled_rights(abi: int) -> int:
    handled = (1 << 13) - 1
    for right, since in ((_REFER, 2), (_TRUNCATE, 3), (_IOCTL_DEV, 5)):
        if abi >= since:
            handled |= right
    return handled


def _add_rule(ruleset: int, rule: Rule, handled: int) -> None:
    try:
        descriptor = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not on this machine
    try:
        allowed = _RIGHTS[rule.access] & handled
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            allowed &= _RIGHTS_ON_FILES
        if allowed:
            attr = _PathBeneathAttr(allowed, descriptor)
            _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_RULE_PATH_BENEATH), ctypes.byref(attr), 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc().syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock (system call {number}): {os.strerror(code)}")
    return result


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
