"""Vision models: convolutions among their targets, trained, saved and loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from tests.adapters.conftest import METHODS
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetForImageClassification, ViTConfig, ViTForImageClassification

from amplitune import create_sora_optimizer


class ConvNet(nn.Module):
    """Two convolutions, one of them strided, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect")
        self.down = nn.Conv2d(6, 8, 2, stride=2)
        self.head = nn.Linear(8, 3)

    def forward(self, pixel_values: Tensor) -> Tensor:
        hidden = self.down(self.stem(pixel_values).relu_()).relu_()
        out: Tensor = self.head(hidden.mean(dim=(-2, -1)))
        return out


def _vit() -> Any:
    return ViTForImageClassification(
        ViTConfig(
            hidden_size=12,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=20,
            image_size=8,
            patch_size=4,
            id2label=dict(enumerate("abc")),
        )
    )


def _resnet() -> Any:
    return ResNetForImageClassification(
        ResNetConfig(
            embedding_size=6,
            hidden_sizes=[6, 8],
            depths=[1, 1],
            layer_type="basic",
            id2label=dict(enumerate("abc")),
        )
    )


@dataclass(frozen=True)
class Vision:
    name: str
    build: Callable[[], Any]
    targets: list[str]
    head: str
    adapted: int

    def model(self) -> Any:
        torch.manual_seed(0)
        return self.build().eval()


MODELS = (
    Vision("convnet", ConvNet, ["stem", "down"], "head", 2),
    Vision("vit", _vit, ["projection", "q_proj", "query"], "classifier", 2),
    Vision("resnet", _resnet, ["convolution"], "classifier", 6),
)


@pytest.fixture(params=MODELS, ids=[model.name for model in MODELS])
def vision(request: pytest.FixtureRequest) -> Vision:
    found: Vision = request.param
    return found


@pytest.fixture(params=["qaa", "sora"])
def method(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def wrap(vision: Vision, method: str, **fields: Any) -> Any:
    config = METHODS[method](
        **{"target_modules": vision.targets, "modules_to_save": [vision.head], "init_weights": False} | fields
    )
    return get_peft_model(vision.model(), config).eval()


def scores(model: nn.Module, pixels: Tensor, **kwargs: Any) -> Tensor:
    out = model(pixels, **kwargs)
    found: Tensor = out if isinstance(out, Tensor) else out.logits
    return found


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_train_save_and_load(vision: Vision, method: str, pixels: Tensor, tmp_path: Path) -> None:
    model = wrap(vision, method, init_weights=True)
    assert len(model.base_model.targeted_module_names) == vision.adapted
    assert torch.equal(scores(model, pixels), scores(vision.model(), pixels))
    labels = torch.tensor([0, 1, 2, 1])
    optimizer = (
        create_sora_optimizer(model, lr=0.05)
        if method == "sora"
        else torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    )
    losses = []
    for _ in range(4):
        # In evaluation mode, as the running averages of a batch norm are no adapter's.
        loss = nn.functional.cross_entropy(scores(model, pixels), labels)
        loss.backward()
        assert all(
            p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad
        )
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    expected = scores(model, pixels)
    model.save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(vision.model(), str(tmp_path)).eval()
    assert torch.equal(scores(loaded, pixels), expected)
    with loaded.disable_adapter():
        assert torch.equal(scores(loaded, pixels), scores(vision.model(), pixels))


def test_images_of_a_batch_may_have_different_adapters(vision: Vision, method: str, pixels: Tensor) -> None:
    model = wrap(vision, method, modules_to_save=None)
    model.add_adapter("second", METHODS[method](target_modules=vision.targets, init_weights=False))
    names = ["second", "__base__", "default", "second"]
    expected = []
    for image, name in zip(pixels.split(1), names, strict=True):
        if name == "__base__":
            expected.append(scores(vision.model(), image))
        else:
            model.set_adapter(name)
            expected.append(scores(model, image))
    model.eval()
    torch.testing.assert_close(scores(model, pixels, adapter_names=names), torch.cat(expected))


def test_sora_merges_into_the_model(vision: Vision, pixels: Tensor) -> None:
    model = wrap(vision, "sora")
    adapted = scores(model, pixels)
    merged = model.merge_and_unload()
    torch.testing.assert_close(scores(merged, pixels), adapted, rtol=1e-4, atol=1e-5)
    assert merged.state_dict().keys() == vision.model().state_dict().keys()


def test_all_linear_takes_no_convolution(vision: Vision, method: str) -> None:
    model = wrap(vision, method, target_modules="all-linear", modules_to_save=None)
    found = {
        type(model.get_submodule(f"base_model.model.{name}").get_base_layer())
        for name in model.base_model.targeted_module_names
    }
    assert found == {nn.Linear}


def test_convolutions_can_be_excluded(vision: Vision, method: str) -> None:
    first = wrap(vision, method).base_model.targeted_module_names[0]
    model = wrap(vision, method, exclude_modules=[first])
    assert len(model.base_model.targeted_module_names) == vision.adapted - 1
