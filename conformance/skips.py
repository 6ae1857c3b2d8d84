"""What of peft's tests our methods cannot do, each with its reason; everything else must pass.

These tests run too: a skip stands for the error that the method must give, so that a reason which no longer
holds, or a method that fails in another way, shows.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from amplitune.errors import AmplituneError, ConfigError, NotMergeableError


@dataclass(frozen=True)
class Skip:
    """Tests that end in a refusal of the method.

    Args:
        configs: names of the config classes.
        error: what the method raises.
        reason: why the method cannot do it.
        tests: patterns of the names of test functions.
        cases: patterns of the names of the cases: peft's `test_name`, or the model where a test has none.
    """

    configs: tuple[str, ...]
    error: type[AmplituneError]
    reason: str
    tests: tuple[str, ...] = ("*",)
    cases: tuple[str, ...] = ("*",)

    def covers(self, config: str, test: str, case: str) -> bool:
        """Whether a test of a config on a case is one of these."""
        return config in self.configs and _any(test, self.tests) and _any(case, self.cases)


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


_QAA, _SORA, _CONTROL = "QAAConfig", "SoRAConfig", "ControlConfig"
_MERGING = (
    "test_merge_*",
    "test_safe_merge",
    "test_disable_adapters_with_merging",
    "test_delete_merged_adapter_*",
    "test_multiple_active_adapters_merge_and_unmerge",
    "test_sequential_merge_matches_batch_merge",
    "test_unmerge_after_sequential_merge_restores_base",
    "test_mixed_adapter_batches_merged_raises",
    # These go through a forward pass first, which has to work.
    "test_forward_float16*",
    "test_forward_bfloat16*",
)
_EMBEDDING = (
    "test_save_pretrained_targeting_lora_to_embedding_layer*",
    "test_mixed_adapter_batches_lora_conv1d_emb*",
)
_NUMBERS = "an embedding's input is the number of a token, not a vector of amplitudes or features"
_LINEAR = "CONTROL stands beside QAA in linear layers alone"

SKIPS: tuple[Skip, ...] = (
    Skip(
        (_QAA,),
        NotMergeableError,
        "merging: the branch is quadratic in x and divided by |x|^2, so no weight matrix computes it; the "
        "readout that is linear in x merges",
        tests=_MERGING,
    ),
    Skip(
        (_QAA, _CONTROL),
        ConfigError,
        "nn.MultiheadAttention reads the weights of its projections inside one function and never calls "
        "them, and a branch that is not linear in x has no weight",
        cases=("MHA *",),
    ),
    Skip(
        (_QAA, _CONTROL),
        ConfigError,
        "nn.MultiheadAttention is refused before there is a batch",
        tests=("test_mixed_adapter_batches_mha_raises",),
    ),
    Skip(
        (_SORA,),
        ConfigError,
        "nn.MultiheadAttention in mixed batches: refused as by LoRA, in words that do not name LoRA's class",
        tests=("test_mixed_adapter_batches_mha_raises",),
    ),
    Skip(
        (_SORA,),
        ConfigError,
        "nn.MultiheadAttention with lora_dropout, which peft's LoRA ignores there",
        tests=("test_merge_layers_is_deterministic_in_train_mode",),
        cases=("MHA *",),
    ),
    Skip((_QAA, _CONTROL), ConfigError, _NUMBERS, cases=("*Conv1D 2 *", "*Conv1D 3 *")),
    Skip((_QAA, _CONTROL), ConfigError, _NUMBERS, tests=_EMBEDDING),
    Skip(
        (_QAA,),
        ConfigError,
        "a convolution in groups: each group sees channels of its own and would need a circuit of its own",
        cases=("Conv2d Groups*",),
    ),
    Skip((_CONTROL,), ConfigError, _LINEAR, cases=("Conv1d *", "Conv2d *", "Conv3d *")),
    Skip((_CONTROL,), ConfigError, _LINEAR, tests=("test_mixed_adapter_batches_lora_conv2d",)),
    Skip(
        (_CONTROL,),
        NotMergeableError,
        "merging: squares and Givens features are quadratic in x, and b_up has no place in a base layer "
        "without a bias",
        tests=_MERGING,
    ),
)

STAND_INS: dict[str, str] = {
    "test_mixed_adapter_batches": "LoraConfig",
    "test_generate_with_mixed_adapter_batches": "LoraConfig",
    "test_disable_adapters_with_merging": "LoHaConfig",
}
"""Tests that treat a method by its name -> the name under which ours runs there.

The first two leave out every method but LoRA. The third compares float32 numbers of 500 to 1e-5 and allows
1e-3 for the methods that merge into convolutions in groups, of which SoRA is one.
"""

EXCLUSIONS: tuple[str, ...] = ("_skip_if_conv1d_not_supported", "check_beft_config")
"""Functions by which peft's tests leave out all methods but some: GPT-2's layers, and models without biases,
where the test of one method's class never holds. They leave out none of ours."""

ALSO: tuple[str, ...] = ("test_from_peft_type",)
"""Tests without a config among their parameters that go through all methods that peft knows."""


def skips_of(config: str, test: str, case: str) -> list[Skip]:
    """Look up the refusals in which a test may end.

    Args:
        config: the name of the config class.
        test: the name of the test function.
        case: the test's case, "" if it has none.
    """
    return [skip for skip in SKIPS if skip.covers(config, test, case)]
