"""Why a run failed, in words that say what to do."""

import errno
import signal
from pathlib import Path

import torch

LESS_MEMORY = (
    "Lower `training.per_device_train_batch_size` (with more `training.gradient_accumulation_steps` for the "
    "same batches), set `training.gradient_checkpointing: true`, or shorten `max_length`."
)
"""What to do where a training needs more memory than there is."""

FULL_DISK = "Free some space, then run the study again with --retry-failed."

_CANNOT_WRITE = ("No space left on device", "PytorchStreamWriter failed writing", ". unexpected pos ")

_CPU_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "Cannot allocate memory")


def explain(error: BaseException) -> str:
    """The reason that a run's status gives for an error.

    Example:
        >>> explain(ValueError("no"))
        'ValueError: no'
        >>> explain(OSError(28, "No space left on device")).splitlines()[1]
        'Free some space, then run the study again with --retry-failed.'
    """
    reason = f"{type(error).__name__}: {error}"
    if _out_of_memory(error):
        return f"{reason}\n{LESS_MEMORY}"
    if _disk_full(error):
        return f"{reason}\n{FULL_DISK}"
    return reason


def describe_death(code: int, log: Path, what: str = "run") -> str:
    """What is known of a process that ended without a status.

    Args:
        code: its exit code, negative where a signal killed it.
        log: what it printed.
        what: whose process it was.
    """
    how = f"ended with exit code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
    hint = ""
    if code == -signal.SIGKILL:
        hint = f" (SIGKILL is what the kernel sends when memory runs out). {LESS_MEMORY}"
    elif code == -signal.SIGBUS:
        hint = f" (SIGBUS is what a full disk or shared memory gives a mapped file). {FULL_DISK}"
    words = f"The {what}'s process {how}{hint}"
    return f"{words.removesuffix('.')}. {_last_words(log)}".strip()


def _disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # What torch.save and safetensors raise has no number.
    return any(words in str(error) for words in _CANNOT_WRITE)


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # What torch's allocator on a CPU raises has no class of its own.
    return isinstance(error, RuntimeError | OSError) and any(
        words in str(error) for words in _CPU_OUT_OF_MEMORY
    )


def _last_words(log: Path) -> str:
    """The error message at the end of a log, or its last line."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    _, error, message = f"\n{text}".rpartition("\nerror: ")
    words = message if error else text.rpartition("\n")[2]
    return f"It last printed: {words.strip()}" if words else ""
