"""Low-rank adaptation by `peft`: the weights stay, and each gets a trained change of low rank beside it.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685, with W one frozen
matrix, A random and B zero at first:

    y = W x + B A x        A: rank x in    B: out x rank

What slots cannot do: a slot adds a module beside attention or MLP, LoRA changes the matrices inside them.
"""

from typing import Any, cast

from torch import nn

from openfsar.encoders.geometry import EncoderError
from openfsar.encoders.trainable import freeze

_TARGETS = (
    r"blocks\.\d+\.layer\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"
    r"|layer\d\.\d+\.(conv\d|downsample\.0)|attnpool\.[qkvc]_proj"
)
"""In a transformer the six matrices of every block, in CLIP's ResNet everything behind the stem."""


def add_lora(tower: nn.Module, rank: int) -> None:
    """Freeze a visual tower and put a change of that rank beside its matrices; at first they change nothing.

    A tower that has some already gets new ones in their place. Their output is not scaled, because that does
    what the learning rate does (section 4.1 of the paper). A convolution's A has its kernel, its B is 1x1.

    Args:
        tower: ``VisionTower`` or ``ModifiedResNet``.

    Raises:
        ValueError: ``rank`` is not positive.
        EncoderError: `peft` is not installed.
    """
    if rank < 1:
        raise ValueError(f"option {rank=} must be at least 1; LoRA's authors use 1 to 64")
    try:
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer
    except ImportError as error:
        raise EncoderError(
            f"LoRA needs the library peft ({error}); run: pip install 'openfsar[lora]'"
        ) from error
    old = [(name, module) for name, module in tower.named_modules() if isinstance(module, LoraLayer)]
    for name, module in old:
        tower.set_submodule(name, cast(nn.Module, module.get_base_layer()))
    if old:
        del tower.peft_config  # else peft would put the new ones on top
    freeze(tower)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=_TARGETS), tower)


def merge_lora(tower: nn.Module) -> None:
    """Add the changes to the matrices and take the layers away: the stock tower with other weights."""
    from peft.tuners.lora import LoraLayer

    for name, module in [(n, m) for n, m in tower.named_modules() if isinstance(m, LoraLayer)]:
        cast(Any, module).merge()
        tower.set_submodule(name, cast(nn.Module, module.get_base_layer()))
    del tower.peft_config
