"""Which methods can be trained in shards."""

from amplitune.errors import ConfigError
from amplitune.study.methods.registry import find_method
from amplitune.study.running.distributed.processes import processes_of
from amplitune.study.settings.config import RunSpec

SHARDABLE = ("LORA", "SORA", "QAA", "CONTROL", "PREFIX_TUNING", "IA3", "VERA", "OFT", "LOHA", "LOKR")
"""The kinds of adapters of which tests show that two shards train to what one process trains to.

Others fail in shards, or train to something else without a word (peft 0.21, torch 2.13): VBLORA and LILY have
parameters in several modules at once, ADALORA and OSF compute with whole weights between steps.
"""


def check_shardable(spec: RunSpec) -> None:
    """Refuse a run in shards whose result could be another one than that of a single process.

    Args:
        spec: the run, its task's kind known.

    Raises:
        ConfigError: it must be trained by replicas.
    """
    if processes_of(spec) == 1 or spec.distributed != "fsdp":
        return
    method = find_method(spec.method.method)
    if method.trains == "adapter" and method.peft_type not in SHARDABLE:
        raise ConfigError(
            f"`distributed` must be ddp for method {spec.method.name}, but is fsdp: shards are for full "
            f"fine-tuning and adapters of the kinds {', '.join(SHARDABLE)}. Set distributed: ddp."
        )
    # Seen with the output embedding: its gradient is another one than that of a single process.
    saved = spec.method.config.get("modules_to_save")
    if saved and spec.task.kind == "generation":
        raise ConfigError(
            f"`config.modules_to_save` of method {spec.method.name} must be unset with distributed: fsdp "
            f"on a task of generation, but is {saved!r}: its gradients would be wrong. "
            "Set distributed: ddp, or leave it unset."
        )
