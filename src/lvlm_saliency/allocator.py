"""A setting of the C library: a process that runs models keeps the memory that it frees, as it soon needs it again.

By default glibc gives large blocks back to the system when they are freed and fetches them anew, page by page. A step
of several beams reorders the whole cache, so it spends its time in page faults.
"""

from __future__ import annotations

import ctypes
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""`M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` of glibc's `malloc.h`."""
MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, as `MALLOC_TRIM_THRESHOLD_` and `MALLOC_MMAP_THRESHOLD_` in the environment
    do for one that is yet to start.

    Its peak memory is the same; what it holds after the peak is not given back before it ends.

    Returns:
        Whether it is so now; False where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all(library.mallopt(name, MOST) == 1 for name in (TRIM_THRESHOLD, MMAP_THRESHOLD))
