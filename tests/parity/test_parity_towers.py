"""Our towers against the stock models, in float64 with random weights."""

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

from openfsar.encoders.towers import TextTower, VisionTower

TOWER = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4)
IDS = dict(bos_token_id=38, eos_token_id=39, pad_token_id=39)
VISION = dict(TOWER, image_size=30, patch_size=6)
TEXT = dict(TOWER, vocab_size=40, max_position_embeddings=12, **IDS)
EXACT = dict(rtol=0, atol=1e-10)


def stock(kind: str) -> CLIPModel | SiglipModel:
    torch.manual_seed(0)
    if kind == "clip":
        model = CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24))
    else:
        model = SiglipModel(SiglipConfig(text_config=dict(TEXT, projection_size=32), vision_config=VISION))
    for parameter in model.parameters():  # stock biases are zero: a forgotten one would go unseen
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.double().eval()


@pytest.fixture(params=["clip", "siglip"])
def model(request: pytest.FixtureRequest) -> CLIPModel | SiglipModel:
    return stock(request.param)


@torch.no_grad()
def test_a_vision_tower_with_empty_slots_equals_the_stock_model(model):
    pixels = torch.randn(2, 3, 3, 30, 30, dtype=torch.float64)
    expected = model.get_image_features(pixel_values=pixels.flatten(0, 1)).pooler_output.unflatten(0, (2, 3))
    torch.testing.assert_close(VisionTower(model)(pixels), expected, **EXACT)


@torch.no_grad()
def test_the_vision_tokens_equal_the_stock_hidden_states_before_the_final_norm(model):
    pixels = torch.randn(1, 2, 3, 30, 30, dtype=torch.float64)
    states = model.vision_model(pixel_values=pixels[0], output_hidden_states=True).hidden_states
    torch.testing.assert_close(VisionTower(model).tokens(pixels)[0], states[-1], **EXACT)


@torch.no_grad()
def test_a_text_tower_with_empty_slots_equals_the_stock_model(model):
    ids = torch.randint(0, 38, (5, 12))
    ids[torch.arange(5), torch.tensor([3, 11, 5, 7, 1])] = 39
    ids[1, 11] = 39
    tower = TextTower(model, end=39)
    torch.testing.assert_close(tower(ids), model.get_text_features(input_ids=ids).pooler_output, **EXACT)
    torch.testing.assert_close(tower.tokens(ids), model.text_model(input_ids=ids).last_hidden_state, **EXACT)


def test_the_gradients_of_the_stock_parameters_are_the_stock_gradients(model):
    pixels = torch.randn(1, 2, 3, 30, 30, dtype=torch.float64)
    model.get_image_features(pixel_values=pixels[0]).pooler_output.square().sum().backward()
    expected = [p.grad.clone() for p in model.vision_model.parameters()]
    model.zero_grad()
    VisionTower(model)(pixels).square().sum().backward()
    for parameter, gradient in zip(model.vision_model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, **EXACT)


@torch.no_grad()
def test_clip_pools_at_the_end_token_it_was_told_though_an_old_configuration_says_otherwise():
    model = stock("clip")
    model.config.text_config.eos_token_id = 2  # what the published OpenAI configurations say
    ids = torch.tensor([[38, 5, 30, 7, 39, 37]])
    hidden = model.text_model(input_ids=ids).last_hidden_state
    for end, place in ((39, 4), (30, 2)):  # the end need not be the largest id, nor the last
        expected = model.text_projection(hidden[:, place])
        torch.testing.assert_close(TextTower(model, end=end)(ids), expected, **EXACT)


@torch.no_grad()
def test_what_follows_the_end_token_changes_nothing_in_clip():
    tower = TextTower(stock("clip"), end=39)
    short, padded = torch.tensor([[38, 5, 39]]), torch.tensor([[38, 5, 39, 39, 0, 17]])
    torch.testing.assert_close(tower(padded), tower(short), **EXACT)
