"""Small trained parts that enter a frozen tower through the slots of its blocks."""

from openfsar.encoders.adapters.bottleneck import Bottleneck
from openfsar.encoders.adapters.lora import add_lora
from openfsar.encoders.adapters.multimodal import MultimodalAdapter, Scaled, TemporalPosition
from openfsar.encoders.adapters.slots import (
    AdaptedBlock,
    Adapter,
    AfterAttention,
    AroundAdapter,
    Attend,
    BlockContext,
    TokenAdapter,
)
from openfsar.encoders.adapters.ted import Ted, TemporalEnhancement
from openfsar.encoders.adapters.time import JointSpaceTime, PatchShift

__all__ = [
    "AdaptedBlock",
    "Adapter",
    "AfterAttention",
    "AroundAdapter",
    "Attend",
    "BlockContext",
    "Bottleneck",
    "JointSpaceTime",
    "MultimodalAdapter",
    "PatchShift",
    "Scaled",
    "Ted",
    "TemporalEnhancement",
    "TemporalPosition",
    "TokenAdapter",
    "add_lora",
]
