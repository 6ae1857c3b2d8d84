"""The tuner that puts adapters around the linear layers of a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, get_quantization_kwargs
from peft.utils.error import NoMatchingPeftModuleError
from torch import Tensor, nn

from amplitune.adapters.checkpoint import check_adapter_keys
from amplitune.adapters.linear_layer import LinearAdapterLayer
from amplitune.errors import ConfigError, near_matches


class LinearTuner(BaseTuner):
    """What the tuners of QAA, SoRA and CONTROL share; a subclass sets `prefix` and `tuner_layer_cls`."""

    tuner_layer_cls: type[LinearAdapterLayer]
    target_module_mapping: Any = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    def _prepare_adapter_config(self, peft_config: Any, model_config: dict[str, Any]) -> Any:
        """Fill in `target_modules` for the architecture."""
        model_type = model_config.get("model_type")
        if peft_config.target_modules is None and model_type not in self.target_module_mapping:
            raise ConfigError(
                "Please specify `target_modules` in `peft_config`: it must name the modules that get an "
                f"adapter, but is None, and peft has no default for the architecture {model_type!r}. "
                "Give a list of names, or 'all-linear'."
            )
        return super()._prepare_adapter_config(peft_config, model_config)

    def _prepare_model(self, peft_config: Any, model: nn.Module) -> None:
        """Check every target first, so that a wrong one does not leave the model half wrapped."""
        wrapped: list[str] = []
        for name, module in model.named_modules():
            if not name or name.startswith(tuple(wrapped)):
                continue
            if isinstance(module, BaseTunerLayer):
                wrapped.append(f"{name}.")
                module = module.get_base_layer()
            if self._check_target_module_exists(peft_config, name):
                self.tuner_layer_cls.check_module(peft_config, module, name)

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        """Wrap the target modules; no match is a ConfigError that names near matches."""
        try:
            super().inject_adapter(model, adapter_name, *args, **kwargs)
        except NoMatchingPeftModuleError as error:
            config: Any = self.peft_config[adapter_name]
            targets = config.target_modules
            linear_names = {
                name.rsplit(".", 1)[-1] for name, module in model.named_modules() if _is_linear(module)
            }
            wanted = sorted(targets)[0] if isinstance(targets, set) and targets else str(targets)
            raise ConfigError(
                f"`target_modules` must match at least one linear layer of {type(model).__name__} that is "
                f"not excluded, but is {targets!r}. {near_matches(wanted, linear_names)} peft says: {error}"
            ) from error

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        """Add an adapter to a wrapped layer, or wrap the layer."""
        if isinstance(target, self.tuner_layer_cls):
            target.update_layer(adapter_name, peft_config, current_key)
            return
        quantization_kwargs = get_quantization_kwargs(self)
        layer = self.tuner_layer_cls(target, adapter_name, peft_config, current_key, **quantization_kwargs)
        self._replace_module(parent, target_name, layer, target)

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Refuse `adapter_names=`: without this hook, peft drops it and each row gets the active adapter."""
        if kwargs.get("adapter_names") is not None:
            name = self.prefix.rstrip("_").upper()
            raise ConfigError(
                f"`adapter_names` must be left out with {name}, but is {kwargs['adapter_names']!r}: {name} "
                "has no batches that mix adapters. Group the rows by adapter and call set_adapter before "
                "each group."
            )
        yield

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: Any, adapter_name: str, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Name the tensors as the model does and refuse a file that lacks or adds any.

        peft calls this from `set_peft_model_state_dict`, thus in each of its ways to load an adapter, before
        the first tensor is copied: nothing is half loaded. peft itself loads with `strict=False`, warns of
        missing keys in `from_pretrained` alone, and drops unexpected ones.
        """
        remapped = super()._remap_adapter_state_dict_for_load(model, config, adapter_name, state_dict)
        check_adapter_keys(model, cls.tuner_layer_cls, adapter_name, remapped)
        return remapped


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
