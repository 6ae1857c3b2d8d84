"""The tuner that puts adapters around the layers of a model."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

from peft.tuners.tuners_utils import BaseTunerLayer, _maybe_include_all_linear_layers
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, get_quantization_kwargs
from peft.utils.error import NoMatchingPeftModuleError
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from amplitune.adapters.coarse_angles import warn_of_coarse_angles
from amplitune.adapters.files.loading import adapter_made, check_readable
from amplitune.adapters.files.state_dicts import StateDictTuner
from amplitune.adapters.layers.adapter_layer import AdapterLayer
from amplitune.adapters.layers.fast_path import leave_fast_path
from amplitune.adapters.layers.merging import MergeableLayer
from amplitune.adapters.layers.mixed_batch import mixed_batch
from amplitune.adapters.layers.quantized_base import quantized_linear_names
from amplitune.adapters.layers.tied_weights import untie
from amplitune.adapters.patterns import check_patterns_match
from amplitune.adapters.targets import check_saved, check_targets, outside_saved, why_no_target
from amplitune.errors import ConfigError, check_choice, near_matches


class AdapterTuner(StateDictTuner):
    """What the tuners of QAA, SoRA and CONTROL share.

    A subclass sets `prefix`, `layer_classes`, one class for each kind of module that the method can go
    around, and `tuner_layer_cls`, what these classes have in common. `refusals` holds the kinds that it
    cannot go around for a reason of its own, which the error then gives.
    """

    layer_classes: ClassVar[tuple[type[AdapterLayer], ...]]
    refusals: ClassVar[dict[type[nn.Module], str]] = {}
    tuner_layer_cls: type[AdapterLayer]
    target_module_mapping: Any = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    def _check_new_adapter_config(self, config: Any) -> None:
        """Check the fields that need the method's name, before anything is changed."""
        check_choice("bias", config.bias, ("none", "all", f"{self.prefix}only"))
        super()._check_new_adapter_config(config)

    def _cast_adapter_dtype(self, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:
        """Keep an adapter in float32, as it is made, unless the user asks for the base layer's dtype."""
        super()._cast_adapter_dtype(adapter_name, autocast_adapter_dtype)
        if not autocast_adapter_dtype:
            for layer in self.model.modules():
                if isinstance(layer, self.tuner_layer_cls):
                    layer.cast_adapter_to_base(adapter_name)

    def train(self, mode: bool = True) -> Self:
        """Turn training on or off; Trainer does so before each of its steps."""
        if mode:
            warn_of_coarse_angles(self.model, self.tuner_layer_cls)
        return super().train(mode)

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
        # peft does so as well, but only after this check, and without linear layers of other classes.
        asked = peft_config.target_modules
        _maybe_include_all_linear_layers(peft_config, model)
        modules = _own_modules(model)
        if peft_config.target_modules is not asked:
            names = peft_config.target_modules | quantized_linear_names(model)
            peft_config.target_modules = outside_saved(names, modules)
        targets = [name for name in modules if self._check_target_module_exists(peft_config, name)]
        check_targets(peft_config, modules, targets)
        for name in targets:
            self._layer_class(modules[name], name).check_module(peft_config, modules[name], name)
        check_patterns_match(peft_config, targets)

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        """Wrap the target modules; no match is a ConfigError that names near matches."""
        _check_adapter_name(adapter_name)
        config: Any = self.peft_config[adapter_name]
        check_readable(config, model)
        check_saved(config, model, adapter_name, self.tuner_layer_cls.adapter_layer_names)
        trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        try:
            super().inject_adapter(model, adapter_name, *args, **kwargs)
            adapter_made(config, model, adapter_name, trainable)
        except NoMatchingPeftModuleError as error:
            modules = _own_modules(model)
            possible = {
                name.rsplit(".", 1)[-1]
                for name, module in modules.items()
                if any(layer_cls.goes_around(module) for layer_cls in self.layer_classes)
            }
            raise ConfigError(
                f"`target_modules` must match at least one layer of {type(model).__name__} that can have an "
                f"adapter and is not excluded, but is {config.target_modules!r}. "
                f"{why_no_target(config, modules, possible)} peft says: {error}"
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
        base = target.get_base_layer() if isinstance(target, BaseTunerLayer) else target
        layer_cls = self._layer_class(base, current_key)
        layer = layer_cls(target, adapter_name, peft_config, current_key, **get_quantization_kwargs(self))
        leave_fast_path(self.model, parent, layer)
        self._replace_module(parent, target_name, layer, target)

    def _replace_module(
        self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module
    ) -> None:
        """Put a layer around a module, or the module back into its place.

        peft would also move the adapter to where the module's weight is, although a new adapter is where the
        module computes, and copy the weight of a module to itself, where HQQ, GPTQ and AWQ have none.
        """
        setattr(parent, child_name, new_module)

    @classmethod
    def _layer_class(cls, module: nn.Module, name: str) -> type[AdapterLayer]:
        """Choose the class that goes around a module; none is a ConfigError."""
        reasons = _NEVER_RUN | cls.refusals
        reason = next((f" {why}" for kind, why in reasons.items() if isinstance(module, kind)), "")
        if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
            reason = (
                " Its widths are not known yet: run the model once on an input, then put adapters into it."
            )
        for layer_cls in cls.layer_classes:
            if layer_cls.goes_around(module) and not reason:
                return layer_cls
        kinds = ", ".join(kind.__name__ for layer_cls in cls.layer_classes for kind in layer_cls.wraps)
        inside = any(
            layer_cls.goes_around(child) for layer_cls in cls.layer_classes for child in module.modules()
        )
        if not inside and _has_experts(module):
            reason = f" {_EXPERTS}"
        raise ConfigError(
            f"`target_modules` must name layers that {cls.prefix.rstrip('_').upper()} can go around "
            f"({kinds}), but {name} is {type(module).__name__}.{reason} Take it out of `target_modules`, "
            f"{'name the layers inside it, ' if inside and not reason else ''}or exclude it with "
            "`exclude_modules`."
        )

    def merge_adapter(self, adapter_names: list[str] | None = None, safe_merge: bool = False) -> None:
        """Merge adapters, the active ones by default; where one cannot be merged, none is."""
        self._prepare_merge(adapter_names, safe_merge)
        super().merge_adapter(adapter_names, safe_merge)

    def set_adapter(self, adapter_name: str | list[str], inference_mode: bool = False) -> None:
        """Activate one adapter, or several whose branches add up; an unknown name changes nothing."""
        self._check_adapters_exist(
            "adapter_name", [adapter_name] if isinstance(adapter_name, str) else adapter_name
        )
        super().set_adapter(adapter_name, inference_mode=inference_mode)

    def delete_adapter(self, adapter_name: str) -> None:
        """Delete an adapter; a PeftModel keeps the last one's name as active and fails to find it."""
        super().delete_adapter(adapter_name)
        if not self.peft_config:
            warnings.warn(
                f"{adapter_name!r} was the model's last adapter, and a PeftModel without one ends in a "
                "KeyError when it is called. Call unload() for the base model, or add an adapter and give "
                "its name to set_adapter.",
                stacklevel=3,
            )

    def _unload_and_optionally_merge(
        self,
        merge: bool = True,
        progressbar: bool = False,
        safe_merge: bool = False,
        adapter_names: list[str] | None = None,
    ) -> Any:
        if merge:
            self._prepare_merge(adapter_names, safe_merge)
        return super()._unload_and_optionally_merge(merge, progressbar, safe_merge, adapter_names)

    def _check_adapters_exist(self, argument: str, adapter_names: Any) -> None:
        """Refuse names that would be passed over in silence."""
        if not isinstance(adapter_names, list | tuple):
            raise ConfigError(
                f"`{argument}` must be a list of names of adapters, but is {adapter_names!r}. Give "
                f"[{adapter_names!r}] for a single one."
            )
        for name in adapter_names:
            if name not in self.peft_config:
                raise ConfigError(
                    f"`{argument}` must name adapters of the model, but {name!r} does not exist. "
                    f"{near_matches(str(name), self.peft_config)}"
                )

    def _prepare_merge(self, adapter_names: list[str] | None, safe_merge: bool) -> None:
        """Ask every layer before the first is merged, and untie what a merge would change elsewhere."""
        if adapter_names is not None:
            self._check_adapters_exist("adapter_names", adapter_names)
        layers: list[MergeableLayer] = []
        for layer in self.model.modules():
            if isinstance(layer, MergeableLayer):
                names = layer.active_adapters if adapter_names is None else adapter_names
                for adapter_name in names:
                    layer.check_mergeable(adapter_name)
                if safe_merge:
                    layer.check_finite(names)
                if any(layer.has_adapter(adapter_name) for adapter_name in names):
                    layers.append(layer)
        untie(self.model, layers)

    def _get_tied_target_modules(self, model: nn.Module) -> list[str]:
        """Leave out peft's advice to untie weights before they are merged."""
        return []

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Hand `adapter_names=` to the layers; without this hook, peft drops it in silence."""
        adapter_names = kwargs.get("adapter_names")
        if adapter_names is None:
            yield
            return
        with mixed_batch(self, self.tuner_layer_cls, adapter_names, kwargs):
            yield


NO_WEIGHT = (
    "torch's MultiheadAttention reads the weights of its projections inside one function and never calls "
    "them: only a change of weight has an effect there, and this method has no weight, as its branch is not "
    "linear in x. SoRAConfig goes around a MultiheadAttention."
)
_EXPERTS = (
    "It has the weights of several experts as parameters of its own, and no layers that an adapter could go "
    "around: `target_parameters` of peft's LoraConfig adapts these."
)
_NEVER_RUN: dict[type[nn.Module], str] = {
    NonDynamicallyQuantizableLinear: "torch's MultiheadAttention reads the weights of its projections and "
    "never calls them, so an adapter around one would change nothing. SoRAConfig goes around the attention "
    "as a whole."
}


def _has_experts(module: nn.Module) -> bool:
    """Whether a module has a matrix for each of several experts, in one parameter."""
    one_layer = isinstance(module, _ConvNd | nn.Bilinear)
    own = module.parameters(recurse=False)
    return not one_layer and any(parameter.dim() == 3 and len(parameter) > 1 for parameter in own)


def _own_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that a model has without adapters, by their names in it."""
    wrapped: list[str] = []
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if not name or name.startswith(tuple(wrapped)):
            continue
        if isinstance(module, BaseTunerLayer):
            wrapped.append(f"{name}.")
            module = module.get_base_layer()
        found[name] = module
    return found


def _check_adapter_name(adapter_name: Any) -> None:
    """Refuse what torch's containers of parameters and modules cannot have as a key."""
    name = str(adapter_name)
    taken = any(hasattr(container, name) for container in (nn.ParameterDict(), nn.ModuleDict()))
    if not isinstance(adapter_name, str) or not name or "." in name or taken:
        raise ConfigError(
            "`adapter_name` must be a name without dots that no attribute of a torch.nn.Module has, but is "
            f"{adapter_name!r}. Choose another, such as {'my_' + name.replace('.', '_')!r}."
        )
