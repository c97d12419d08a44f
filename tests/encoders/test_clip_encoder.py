"""ClipEncoder: pixels and names in, features out."""

import copy
import inspect

import pytest
import torch
from torch.nn import functional as F

from openfsar.encoders import ClipEncoder, tiny_encoder, trainable_parameters
from openfsar.encoders.adapters import Bottleneck
from openfsar.encoders.clip import CLIP_MEAN, CLIP_STD


@pytest.fixture
def encoder() -> ClipEncoder:
    return tiny_encoder()


def draw_clips(*shape: int, side: int = 32) -> torch.Tensor:
    return torch.randint(
        0, 256, (*shape, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def count_sentences(encoder: ClipEncoder) -> list[int]:
    """Grows by the batch size of every pass of the text tower."""
    sizes: list[int] = []
    encoder.text_tower.register_forward_hook(lambda _, args, __: sizes.append(len(args[0])))
    return sizes


def test_it_says_what_it_is(encoder):
    assert (encoder.name, encoder.pretrained, encoder.image_size, encoder.dim) == ("tiny", False, 32, 16)
    assert len(encoder.vision.blocks) == 2 and encoder.vision.grid == (4, 4) and encoder.vision.width == 32
    assert not encoder.training and not trainable_parameters(encoder)
    assert encoder.logit_scale.item() == pytest.approx(2.6592)


def test_pixels_are_normalised_with_clips_statistics():
    encoder = tiny_encoder(dtype=torch.float64)
    clips = draw_clips(2, 3)
    mean, std = torch.tensor(CLIP_MEAN, dtype=torch.float64), torch.tensor(CLIP_STD, dtype=torch.float64)
    expected = (clips.double() / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(encoder.normalise(clips), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(encoder.frames(clips), encoder.vision(expected), rtol=1e-5, atol=1e-6)


def test_each_frame_is_encoded_alone(encoder):
    clips = draw_clips(2, 3)
    single = torch.stack([torch.stack([encoder.frames(f[None, None])[0, 0] for f in clip]) for clip in clips])
    torch.testing.assert_close(encoder.frames(clips), single, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-5), (torch.bfloat16, 0.05)])
def test_it_works_in_other_precisions(encoder, dtype, close):
    other = tiny_encoder(dtype=dtype)
    clips, names = draw_clips(1, 2), ["run", "jump"]
    for a, b in [(encoder.frames(clips), other.frames(clips)), (encoder.text(names), other.text(names))]:
        assert b.dtype == dtype
        assert F.cosine_similarity(a.double(), b.double(), dim=-1).min() > 1 - close


@pytest.mark.parametrize(
    "clips",
    [draw_clips(1, 2, side=24), draw_clips(1, 2)[..., :30], draw_clips(1, 2).int()],
    ids=["small", "oblong", "not bytes"],
)
def test_clips_it_was_not_made_for_are_refused(encoder, clips):
    normalise = inspect.unwrap(ClipEncoder.normalise)  # the shape checks of the suite would speak first
    with pytest.raises(ValueError, match="needs uint8 clips of 32x32"):
        normalise(encoder, clips)


def test_text_is_the_renormalised_mean_of_unit_vectors(encoder):
    names, templates = ["run", "brush_hair", "JumpHigh"], ("a photo of {}.", "{}", "someone doing {}")
    expected = []
    for words in ("run", "brush hair", "Jump High"):
        ids = [encoder.tokenize([template.format(words)]) for template in templates]
        expected.append(torch.stack([F.normalize(encoder.text_tower(row)[0], dim=0) for row in ids]).mean(0))
    expected = F.normalize(torch.stack(expected), dim=-1)
    text = encoder.text(names, templates)
    torch.testing.assert_close(text, expected, rtol=1e-5, atol=1e-6)
    assert not text.requires_grad and torch.equal(encoder.text(names[::-1], templates), text.flip(0))


def test_a_name_is_encoded_once_per_set_of_templates(encoder):
    sizes = count_sentences(encoder)
    first = encoder.text(["run", "jump", "run"])
    assert torch.equal(first[0], first[2])
    encoder.text(["jump", "fly"])
    encoder.text(["fly", "run"])
    assert sizes == [2, 1]
    encoder.text(["run"], ("{}", "{}!"))
    assert sizes == [2, 1, 2]


def test_a_large_vocabulary_passes_in_chunks(encoder):
    sizes = count_sentences(encoder)
    names = [f"action number {i}" for i in range(300)]
    text = encoder.text(names)
    assert sizes == [256, 44]
    torch.testing.assert_close(text[299], tiny_encoder().text(names[299:])[0], rtol=1e-5, atol=1e-6)


def test_kept_text_is_dropped_when_the_tower_changes_or_moves(encoder):
    sizes = count_sentences(encoder)
    first = encoder.text(["run"])
    with torch.no_grad():
        encoder.text_tower.projection.weight.mul_(-1)
    torch.testing.assert_close(encoder.text(["run"]), -first)
    encoder.load_state_dict(tiny_encoder(seed=0).state_dict())
    assert torch.equal(encoder.text(["run"]), first)
    assert encoder.double().text(["run"]).dtype == torch.float64
    encoder.float().text(["run"])
    encoder.text_tower.blocks[0].beside = Bottleneck(32, skip=False)
    encoder.text(["run"])
    encoder.text(["run"])
    assert sizes == [1] * 6
    assert not [name for name in encoder.state_dict() if "known" in name or name in ("mean", "std")]


def test_kept_text_does_not_depend_on_the_mode_of_the_first_caller(encoder):
    plain = tiny_encoder().text(["run"])
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        encoder.text(["run"])
    text = encoder.text(["run"])
    assert torch.equal(text, plain)
    weight = torch.ones(16, requires_grad=True)
    (text * weight).sum().backward()  # an inference tensor would refuse


def test_the_text_tower_is_open_to_gradients(encoder):
    ids = encoder.tokenize(["a photo of running."])
    encoder.text_tower.projection.requires_grad_(True)
    assert encoder.text_tower.tokens(ids).shape == (1, ids.shape[1], 32)
    encoder.text_tower(ids).sum().backward()
    assert encoder.text_tower.projection.weight.grad.any()


def test_a_prompt_that_is_too_long_warns_names_the_class_and_keeps_its_end(encoder):
    name = "putting something " * 6
    with pytest.warns(UserWarning, match="putting something .* is cut to 77"):
        ids = encoder.tokenize([name, "run"])
    assert ids.shape == (2, 77) and ids[0, -1] == encoder.text_tower.end
    assert ids[1].tolist() == [*encoder.tokenize(["run"])[0].tolist(), *[encoder.pad] * (77 - 5)]


def test_a_copy_computes_the_same(encoder):
    other = copy.deepcopy(encoder)
    clips = draw_clips(1, 2)
    assert torch.equal(other.frames(clips), encoder.frames(clips))
    assert torch.equal(other.text(["run"]), encoder.text(["run"]))
