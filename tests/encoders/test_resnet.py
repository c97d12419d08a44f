"""ImageNet's ResNet against the stock model and against a forward pass written out; maps of every tower."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ResNetConfig, ResNetForImageClassification

from openfsar import hub
from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.geometry import EncoderError
from openfsar.encoders.resnet import IMAGENET_MEAN, from_torchvision, geometry_of
from openfsar.encoders.tiny import tiny_encoder, tiny_resnet
from openfsar.encoders.trainable import unfreeze
from openfsar.encoders.visual import VisualEncoder
from openfsar.encoders.weights import load_encoder
from openfsar.methods.zoo import build, create

SMALL = {"embedding_size": 8, "hidden_sizes": [16, 32, 48, 64], "depths": [2, 1, 1, 2]}


def clips(videos: int, frames: int, side: int = 32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (videos, frames, 3, side, side), dtype=torch.uint8, generator=generator)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


@pytest.fixture(params=["bottleneck", "basic"])
def stock(request: pytest.FixtureRequest) -> ResNetForImageClassification:
    """With statistics and weights of norms that are not those of a fresh one."""
    torch.manual_seed(0)
    model = ResNetForImageClassification(ResNetConfig(**SMALL, layer_type=request.param, num_labels=3)).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if "normalization" in name and tensor.is_floating_point():
                tensor.add_(0.3 * torch.rand_like(tensor))
    return model


def written_out(state: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """The four maps from torchvision's names, step by step."""

    def conv(x: Tensor, name: str, stride: int, padding: int) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], stride=stride, padding=padding)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    x = F.max_pool2d(norm(conv(x, "conv1", 2, 3), "bn1").relu(), 3, 2, 1)
    maps = []
    for stage, depth in enumerate(SMALL["depths"], 1):
        for block in range(depth):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = x
            if f"{name}.conv3.weight" in state:
                y = norm(conv(y, f"{name}.conv1", 1, 0), f"{name}.bn1").relu()
                y = norm(conv(y, f"{name}.conv2", stride, 1), f"{name}.bn2").relu()
                y = norm(conv(y, f"{name}.conv3", 1, 0), f"{name}.bn3")
            else:
                y = norm(conv(y, f"{name}.conv1", stride, 1), f"{name}.bn1").relu()
                y = norm(conv(y, f"{name}.conv2", 1, 1), f"{name}.bn2")
            if f"{name}.downsample.0.weight" in state:
                x = norm(conv(x, f"{name}.downsample.0", stride, 0), f"{name}.downsample.1")
            x = (x + y).relu()
        maps.append(x)
    return maps


def torchvision_names(model: ResNetForImageClassification) -> dict[str, Tensor]:
    """The inverse of ``from_torchvision``, by trying every name a ResNet of torchvision can have."""
    ours = {key.removeprefix("resnet."): value for key, value in model.state_dict().items()}
    leaves = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    parts = ["conv1", "bn1"] + [
        f"layer{stage}.{block}.{part}"
        for stage in range(1, 5)
        for block in range(2)
        for part in ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1")
    ]
    names = [f"{part}.{leaf}" for part in parts for leaf in leaves]
    renamed = {name: next(iter(from_torchvision({name: torch.zeros(0)}))) for name in names}
    found = {name: ours[key] for name, key in renamed.items() if key in ours}
    assert len(found) == len([key for key in ours if not key.startswith("classifier.")])
    return found | {"fc.weight": torch.zeros(3, 64), "fc.bias": torch.zeros(3)}


def saved(model: ResNetForImageClassification, folder: Path) -> Path:
    model.save_pretrained(folder)
    about = {"image_mean": IMAGENET_MEAN, "image_std": [0.2, 0.3, 0.4], "size": {"shortest_edge": 64}}
    (folder / "preprocessor_config.json").write_text(json.dumps(about))
    return folder


@torch.no_grad()
def test_a_folder_gives_what_the_stock_model_gives(
    stock: ResNetForImageClassification, tmp_path: Path
) -> None:
    encoder = load_encoder(str(saved(stock, tmp_path))).double()
    assert (encoder.image_size, encoder.dim, encoder.widths) == (64, 64, (16, 32, 48, 64))
    video = clips(2, 3, 64)
    mean, std = encoder.mean, encoder.std
    assert mean.flatten().tolist() == pytest.approx(IMAGENET_MEAN)
    assert std.flatten().tolist() == pytest.approx([0.2, 0.3, 0.4])
    pixels = (video.flatten(0, 1).double() / 255 - mean) / std
    expected = stock.double().resnet(pixels, output_hidden_states=True)
    for level, (found, right) in enumerate(zip(encoder.maps(video), expected.hidden_states[1:], strict=True)):
        assert found.shape == (2, 3, encoder.widths[level], 16 >> level, 16 >> level)
        close(found.flatten(0, 1), right)
    close(encoder.frames(video).flatten(0, 1), expected.pooler_output[..., 0, 0])


@torch.no_grad()
def test_a_torchvision_file_gives_what_its_convolutions_written_out_give(
    stock: ResNetForImageClassification, tmp_path: Path
) -> None:
    state = torchvision_names(stock)
    torch.save(state, tmp_path / "resnet.pth")
    encoder = load_encoder(str(tmp_path / "resnet.pth")).double()
    assert (encoder.image_size, encoder.widths) == (224, (16, 32, 48, 64))
    assert geometry_of(state).depths == (2, 1, 1, 2)
    video = clips(1, 1, 224)
    exact = {name: tensor.double() for name, tensor in state.items()}
    expected = written_out(exact, encoder.normalise(video).flatten(0, 1))
    for found, right in zip(encoder.maps(video), expected, strict=True):
        close(found.flatten(0, 1), right)


def test_resnet_50_has_the_parameters_of_resnet_50() -> None:
    encoder = load_encoder("resnet-50", pretrained=False)
    assert sum(p.numel() for p in encoder.parameters()) == 25_557_032 - 2_049_000  # the classifier's
    assert (encoder.image_size, encoder.dim) == (224, 2048)
    assert encoder.mean.flatten().tolist() == pytest.approx(IMAGENET_MEAN)


def test_statistics_stay_and_videos_do_not_see_each_other_while_training() -> None:
    encoder = unfreeze(tiny_resnet(dtype=torch.float64)).train()
    before = {name: tensor.clone() for name, tensor in encoder.named_buffers()}
    both = encoder.frames(clips(2, 3))
    alone = encoder.frames(clips(2, 3)[:1])
    close(both[:1], alone)
    both.sum().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.named_buffers())
    assert all(p.grad is not None for p in encoder.parameters())


def test_recomputed_blocks_give_equal_gradients() -> None:
    def gradients(recompute: bool) -> list[Tensor]:
        encoder = unfreeze(tiny_resnet(dtype=torch.float64))
        encoder.vision.checkpoint_blocks(recompute)
        encoder.frames(clips(2, 3)).square().sum().backward()
        return [parameter.grad for parameter in encoder.parameters() if parameter.grad is not None]

    kept, again = gradients(False), gradients(True)
    assert len(kept) == len(again) > 0
    for one, other in zip(kept, again, strict=True):
        close(one, other, 1e-12)


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (tiny_encoder, [(32, 4, 4)] * 4),
        (tiny_resnet, [(8, 8, 8), (16, 4, 4), (32, 2, 2), (64, 1, 1)]),
        (
            lambda: load_encoder("tiny-resnet", pretrained=False),
            [(32, 16, 16), (64, 8, 8), (128, 4, 4), (256, 2, 2)],
        ),
    ],
    ids=["transformer", "resnet", "clip's resnet"],
)
@torch.no_grad()
def test_every_tower_gives_four_maps(
    make: Callable[[], VisualEncoder], shapes: list[tuple[int, int, int]]
) -> None:
    encoder = make()
    maps = encoder.maps(clips(2, 3, encoder.image_size))
    assert [tuple(level.shape) for level in maps] == [(2, 3, *shape) for shape in shapes]
    assert encoder.widths == tuple(width for width, _, _ in shapes)


@torch.no_grad()
def test_the_maps_of_a_transformer_are_its_patches_in_reading_order() -> None:
    encoder = tiny_encoder(dtype=torch.float64)
    pixels = encoder.normalise(clips(1, 2))
    first, _, third, last = encoder.maps(clips(1, 2))
    tokens = encoder.vision.tokens(pixels)
    close(third, tokens[:, :, 1:].mT.unflatten(-1, (4, 4)), 1e-12)
    normed = encoder.vision.head.norm(tokens[:, :, 1:])
    close(last[0, 1, :, 2, 3], normed[0, 1, 4 * 2 + 3], 1e-12)
    assert not torch.equal(first, third)


def test_weights_that_do_not_fit_are_named(stock: ResNetForImageClassification, tmp_path: Path) -> None:
    folder = saved(stock, tmp_path)
    config = json.loads((folder / "config.json").read_text()) | {"hidden_sizes": [16, 32, 48, 80]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderError, match="do not fit its configuration"):
        load_encoder(str(folder))


def test_an_incomplete_torchvision_file_is_named(stock: ResNetForImageClassification, tmp_path: Path) -> None:
    state = torchvision_names(stock)
    short = {name: tensor for name, tensor in state.items() if not name.startswith("layer2.0.bn")}
    torch.save(short, tmp_path / "resnet.pth")
    with pytest.raises(EncoderError, match=r"lacks layer2\.0\.bn.*copy the file again"):
        load_encoder(str(tmp_path / "resnet.pth"))


@torch.no_grad()
def test_methods_without_names_run_on_a_resnet_and_come_back(tmp_path: Path) -> None:
    method = create("otam", encoder="tiny-imagenet-resnet", pretrained=False)
    assert not isinstance(method.encoder, ClipEncoder)
    hub.save(method, tmp_path / "model")
    video = clips(2, 3)
    close(hub.load(tmp_path / "model").encode(video).frames, method.encode(video).frames, 0)


def test_methods_that_read_names_refuse_an_encoder_that_reads_none() -> None:
    with pytest.raises(ValueError, match="'zero-shot' reads class names, and encoder 'tiny-imagenet-resnet'"):
        build("zero-shot", tiny_resnet())
    with pytest.raises(ValueError, match="reads no class names; leave them out"):
        build("otam", tiny_resnet(), text_share=0.5)
