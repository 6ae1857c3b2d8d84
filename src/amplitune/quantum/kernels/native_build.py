"""The native kernel's library: compiled by the machine's own C compiler, kept in the user's cache."""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

SOURCES = ("native.c", "native_kernel.h", "native_token.h", "native_projection.h")
#: -march=native is left out where a compiler does not know it. A NaN must stay a NaN: no -ffast-math.
FLAGS = ("-O3", "-std=gnu11", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-shared")
NATIVE = ("-march=native",)
COMPILER = "CC"
_SECONDS = 120


class UnavailableError(Exception):
    """The library cannot be built or loaded; the message says why."""


def cache_folder() -> Path:
    """The folder of compiled libraries: $XDG_CACHE_HOME/amplitune or ~/.cache/amplitune.

    Returns:
        The folder, made if need be and closed to others. A folder that others may write to could hand this
        process their code, so it is refused.

    Raises:
        UnavailableError: it cannot be made, or is open to others.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(base) if base else Path.home() / ".cache") / "amplitune"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except (OSError, RuntimeError) as error:
        raise UnavailableError(f"no cache folder for the compiled library: {error}") from error
    if hasattr(os, "getuid") and (
        status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise UnavailableError(
            f"the cache folder {folder} belongs to another user or can be written to by others"
        )
    return folder


def compiler() -> tuple[list[str], str]:
    """The C compiler and its version.

    Returns:
        The command ($CC, or the first of cc, gcc, clang) and what it says of itself.

    Raises:
        UnavailableError: there is none, or it does not run.
    """
    named = os.environ.get(COMPILER)
    command = shlex.split(named) if named else []
    if not command:
        found = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
        if found is None:
            raise UnavailableError("no C compiler (cc, gcc, clang) on the PATH; set CC")
        command = [found]
    return command, _run([*command, "--version"])


def processor() -> str:
    """What -march=native depends on: a cache folder may be shared by different machines.

    Returns:
        The architecture, and on Linux the model and the instruction sets of the first core.
    """
    told = [platform.system(), platform.machine(), platform.processor()]
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    except OSError:
        return "\n".join(told)
    return "\n".join(
        told + [line for line in first.splitlines() if line.startswith(("model name", "flags", "Feat"))]
    )


def build() -> Path:
    """Compile the library unless the cache holds it.

    Returns:
        Its path.

    Raises:
        UnavailableError: there is no compiler or no cache folder, or the compiler fails.
    """
    command, version = compiler()
    source = Path(__file__).parent
    digest = hashlib.sha256()
    for part in (*map(source.joinpath, SOURCES),):
        digest.update(part.read_bytes())
    digest.update("\0".join((*command, *FLAGS, *NATIVE, version, processor())).encode())
    library = cache_folder() / f"native-{digest.hexdigest()[:32]}.so"
    if library.exists():
        return library
    # Two processes may compile at once: each into a folder of its own, and the last rename wins.
    try:
        with tempfile.TemporaryDirectory(dir=library.parent, prefix="build-") as folder:
            made = Path(folder) / library.name
            arguments = [*FLAGS, str(source / SOURCES[0]), "-o", str(made), "-lm"]
            try:
                _run([*command, *NATIVE, *arguments])
            except UnavailableError:
                _run([*command, *arguments])
            made.replace(library)
    except OSError as error:
        raise UnavailableError(f"the compiled library cannot be written: {error}") from error
    return library


@cache
def load() -> ctypes.CDLL | str:
    """Load the library, compiling it if need be; tried once in a process.

    Returns:
        The library, with its threads joined to torch's; or the reason why there is none.
    """
    try:
        library = ctypes.CDLL(str(build()))
        library.amplitune_run.argtypes = [
            ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, *[ctypes.c_int64] * 3,
            ctypes.c_void_p, ctypes.c_int32, *[ctypes.c_void_p] * 4, ctypes.c_int64,
        ]  # fmt: skip
        library.amplitune_project.argtypes = [
            *[ctypes.c_void_p] * 2, ctypes.c_int64, *[ctypes.c_void_p] * 2, ctypes.c_int64,
        ]  # fmt: skip
    except (UnavailableError, OSError, AttributeError) as error:
        return str(error)
    pool = openmp()
    if pool is not None:
        entries = [ctypes.cast(getattr(pool, name), ctypes.c_void_p) for name in _ENTRIES]
        library.amplitune_set_pool(*entries)
    return library


_ENTRIES = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")


def openmp() -> ctypes.CDLL | None:
    """Find the OpenMP runtime whose threads torch has started; those of a second one would spin against them.

    Returns:
        The runtime, or None if it cannot be found; the kernel then runs on one thread.
    """
    # The file beside libtorch that is loaded; where torch brings none, the one that all libraries can see.
    # GNU's, LLVM's and Intel's runtimes all have GNU's entry.
    beside = sorted((Path(torch.__file__).parent / "lib").glob("lib*omp*.so*"))
    loaded = getattr(os, "RTLD_NOLOAD", 0)
    for candidate, mode in (*((str(path), loaded) for path in beside), (None, 0)):
        try:
            runtime = ctypes.CDLL(candidate, mode=ctypes.DEFAULT_MODE | mode)
            if all(hasattr(runtime, name) for name in _ENTRIES):
                return runtime
        except OSError:
            continue
    return None


def _run(command: list[str]) -> str:
    """Run a compiler and return what it prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise UnavailableError(f"the C compiler does not run: {error}") from error
    if done.returncode:
        message = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise UnavailableError(
            f"the C compiler {command[0]} fails with status {done.returncode}: {message[0]}"
        )
    return done.stdout
