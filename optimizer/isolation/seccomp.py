"""A seccomp filter: no socket for this process and its children, and no way out of their process group.

Landlock covers neither UDP nor named Unix sockets (a container engine's, an ssh agent's); this does. And who
cannot leave the group cannot outlive the stage. The filter is a classic BPF program over
`struct seccomp_data` (number at byte 0, architecture at 4, first argument at 16).
Reference: https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_AF_UNIX = 1
_IO_URING_SETUP = 425  # it can make sockets without socket(2)
_X32_CALLS = 0x40000000

# Machine to its architecture in the kernel, the number of socket(2), those of setpgid(2) and setsid(2).
_ARCHITECTURES = {"x86_64": (0xC000003E, 41, (109, 112)), "aarch64": (0xC00000B7, 198, (154, 157))}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def filter_system_calls(*, allow_unix: bool) -> bool:
    """Make these calls fail with EACCES, in this thread and all that it starts; there is no way back.

    Args:
        allow_unix: Leave Unix sockets, which NVIDIA's driver may use.

    Returns:
        Whether it could be done here.
    """
    numbers = _ARCHITECTURES.get(platform.machine())
    if numbers is None or not sys.platform.startswith("linux") or sys.maxsize < 2**32:
        return False
    instructions = _filter(*numbers, allow_unix=allow_unix)
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    program = _Program(len(instructions) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _filter(
    architecture: int, socket_call: int, leaving_calls: tuple[int, ...], *, allow_unix: bool
) -> bytes:
    refuse, allow = "refuse", "allow"
    # (code, operand, where to if true, where to if false); None is the next line.
    program: list[tuple[int, int, str | None, str | None]] = [
        (_LOAD, 4, None, None),
        (_IF_EQUAL, architecture, None, refuse),  # 32-bit calls have other numbers
        (_LOAD, 0, None, None),
        (_IF_AT_LEAST, _X32_CALLS, refuse, None),
        *((_IF_EQUAL, number, refuse, None) for number in (_IO_URING_SETUP, *leaving_calls)),
        (_IF_EQUAL, socket_call, None, allow),
        (_LOAD, 16, None, None),
        (_IF_EQUAL, _AF_UNIX, allow if allow_unix else refuse, refuse),
        (_RETURN, _ERRNO | errno.EACCES, None, None),
        (_RETURN, _ALLOW, None, None),
    ]
    lines = {refuse: len(program) - 2, allow: len(program) - 1}
    encoded = b""
    for line, (code, operand, if_true, if_false) in enumerate(program):
        jumps = [lines[target] - line - 1 if target else 0 for target in (if_true, if_false)]
        encoded += struct.pack("=HBBI", code, *jumps, operand)
    return encoded


def has_one_thread() -> bool:
    """Whether this process still has one thread: both sandboxes restrict the calling thread alone."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return True
