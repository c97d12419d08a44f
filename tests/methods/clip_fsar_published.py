"""CLIP-FSAR as published: names and sizes of its tensors, and what its code computes from them, spelt out.

For test_released_clip_fsar.py, which makes files of them at small sizes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from openfsar.encoders.clip import CLIP_MEAN, CLIP_STD
from openfsar.episode import Episode

Shapes = dict[str, tuple[int, ...]]
State = dict[str, Tensor]


def vit_shapes(*, width: int, layers: int, patch: int, side: int, joint: int) -> Shapes:
    """Names and sizes of the published ``backbone.*`` of a ViT."""
    shapes: Shapes = {
        "class_embedding": (width,),
        "positional_embedding": ((side // patch) ** 2 + 1, width),
        "proj": (width, joint),
        "conv1.weight": (width, 3, patch, patch),
    }
    norms = ["ln_pre", "ln_post"]
    for i in range(layers):
        block = f"transformer.resblocks.{i}"
        norms += [f"{block}.ln_1", f"{block}.ln_2"]
        shapes |= {
            f"{block}.attn.in_proj_weight": (3 * width, width),
            f"{block}.attn.in_proj_bias": (3 * width,),
            f"{block}.attn.out_proj.weight": (width, width),
            f"{block}.attn.out_proj.bias": (width,),
            f"{block}.mlp.c_fc.weight": (4 * width, width),
            f"{block}.mlp.c_fc.bias": (4 * width,),
            f"{block}.mlp.c_proj.weight": (width, 4 * width),
            f"{block}.mlp.c_proj.bias": (width,),
        }
    return shapes | {f"{norm}.{kind}": (width,) for norm in norms for kind in ("weight", "bias")}


def resnet_shapes(*, width: int, layers: tuple[int, ...], side: int, joint: int) -> Shapes:
    """The same of a ResNet of CLIP."""
    half, last = width // 2, 32 * width
    shapes: Shapes = {
        "conv1.weight": (half, 3, 3, 3),
        "conv2.weight": (half, half, 3, 3),
        "conv3.weight": (width, half, 3, 3),
        "attnpool.positional_embedding": ((side // 32) ** 2 + 1, last),
        "attnpool.c_proj.weight": (joint, last),
        "attnpool.c_proj.bias": (joint,),
    }
    for one in "qkv":
        shapes |= {f"attnpool.{one}_proj.weight": (last, last), f"attnpool.{one}_proj.bias": (last,)}
    norms = {"bn1": half, "bn2": half, "bn3": width}
    channels = width
    for stage, blocks in enumerate(layers):
        inner = width * 2**stage
        for i in range(blocks):
            block = f"layer{stage + 1}.{i}"
            shapes |= {
                f"{block}.conv1.weight": (inner, channels, 1, 1),
                f"{block}.conv2.weight": (inner, inner, 3, 3),
                f"{block}.conv3.weight": (4 * inner, inner, 1, 1),
            }
            norms |= {f"{block}.bn1": inner, f"{block}.bn2": inner, f"{block}.bn3": 4 * inner}
            if i == 0:
                shapes[f"{block}.downsample.0.weight"] = (4 * inner, channels, 1, 1)
                norms[f"{block}.downsample.1"] = 4 * inner
            channels = 4 * inner
    for norm, size in norms.items():
        shapes |= {f"{norm}.{kind}": (size,) for kind in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{norm}.num_batches_tracked"] = ()
    return shapes


def head_shapes(joint: int) -> Shapes:
    """What stands beside ``backbone.*``."""
    first, second = "context2.layers.0.0", "context2.layers.0.1.net"
    return {
        "scale": (1,),
        f"{first}.norm.weight": (joint,),
        f"{first}.norm.bias": (joint,),
        f"{first}.fn.to_q.weight": (joint, joint),
        f"{first}.fn.to_k.weight": (joint, joint),
        f"{first}.fn.to_v.weight": (joint, joint),
        f"{first}.fn.to_out.0.weight": (joint, joint),
        f"{first}.fn.to_out.0.bias": (joint,),
        f"{second}.0.weight": (2048, joint),
        f"{second}.0.bias": (2048,),
        f"{second}.3.weight": (joint, 2048),
        f"{second}.3.bias": (joint,),
    }


def attention(q: Tensor, k: Tensor, v: Tensor, width: int) -> Tensor:
    """Heads of that width, spelt out."""
    heads = [x.unflatten(-1, (-1, width)).transpose(-2, -3) for x in (q, k, v)]
    weights = (heads[0] @ heads[1].mT / width**0.5).softmax(-1)
    return (weights @ heads[2]).transpose(-2, -3).flatten(-2)


def vit(s: State, x: Tensor) -> Tensor:
    width, patch = s["conv1.weight"].shape[0], s["conv1.weight"].shape[-1]

    def norm(y: Tensor, name: str) -> Tensor:
        return F.layer_norm(y, (width,), s[f"{name}.weight"], s[f"{name}.bias"])

    x = F.conv2d(x, s["conv1.weight"], stride=patch).flatten(2).mT
    x = torch.cat([s["class_embedding"].expand(len(x), 1, -1), x], 1) + s["positional_embedding"]
    x = norm(x, "ln_pre")
    for i in range(len([name for name in s if name.endswith("in_proj_bias")])):
        b = f"transformer.resblocks.{i}"
        mixed = F.linear(norm(x, f"{b}.ln_1"), s[f"{b}.attn.in_proj_weight"], s[f"{b}.attn.in_proj_bias"])
        seen = attention(*mixed.chunk(3, -1), 64)
        x = x + F.linear(seen, s[f"{b}.attn.out_proj.weight"], s[f"{b}.attn.out_proj.bias"])
        y = F.linear(norm(x, f"{b}.ln_2"), s[f"{b}.mlp.c_fc.weight"], s[f"{b}.mlp.c_fc.bias"])
        x = x + F.linear(y * (1.702 * y).sigmoid(), s[f"{b}.mlp.c_proj.weight"], s[f"{b}.mlp.c_proj.bias"])
    return norm(x[:, 0], "ln_post") @ s["proj"]


def resnet(s: State, x: Tensor) -> Tensor:
    def norm(y: Tensor, name: str) -> Tensor:
        mean, var, scale, shift = (
            s[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (y - mean) / (var + 1e-5).sqrt() * scale + shift

    def conv(y: Tensor, name: str, **options: int) -> Tensor:
        return F.conv2d(y, s[f"{name}.weight"], **options)

    x = norm(conv(x, "conv1", stride=2, padding=1), "bn1").relu()
    x = norm(conv(x, "conv2", padding=1), "bn2").relu()
    x = F.avg_pool2d(norm(conv(x, "conv3", padding=1), "bn3").relu(), 2)
    for stage in range(4):
        for i in range(
            len([name for name in s if name.startswith(f"layer{stage + 1}.") and "conv3" in name])
        ):
            b = f"layer{stage + 1}.{i}"
            step = 2 if stage and not i else 1
            y = norm(conv(x, f"{b}.conv1"), f"{b}.bn1").relu()
            y = norm(conv(y, f"{b}.conv2", padding=1), f"{b}.bn2").relu()
            y = norm(conv(F.avg_pool2d(y, step), f"{b}.conv3"), f"{b}.bn3")
            if i == 0:
                x = norm(conv(F.avg_pool2d(x, step), f"{b}.downsample.0"), f"{b}.downsample.1")
            x = (x + y).relu()
    x = x.flatten(2).mT
    x = torch.cat([x.mean(1, keepdim=True), x], 1) + s["attnpool.positional_embedding"]
    q, k, v = (F.linear(x, s[f"attnpool.{n}_proj.weight"], s[f"attnpool.{n}_proj.bias"]) for n in "qkv")
    return F.linear(attention(q, k, v, 64)[:, 0], s["attnpool.c_proj.weight"], s["attnpool.c_proj.bias"])


def block(s: State, x: Tensor) -> Tensor:
    """Eight heads; one norm for the three maps, none before the second half."""
    first, second = "context2.layers.0.0", "context2.layers.0.1.net"
    width = x.shape[-1]
    u = F.layer_norm(x, (width,), s[f"{first}.norm.weight"], s[f"{first}.norm.bias"])
    q, k, v = (F.linear(u, s[f"{first}.fn.to_{one}.weight"]) for one in "qkv")
    seen = attention(q, k, v, width // 8)
    x = x + F.linear(seen, s[f"{first}.fn.to_out.0.weight"], s[f"{first}.fn.to_out.0.bias"])
    y = F.gelu(F.linear(x, s[f"{second}.0.weight"], s[f"{second}.0.bias"]))
    return x + F.linear(y, s[f"{second}.3.weight"], s[f"{second}.3.bias"])


def aligned(distances: Tensor, softness: float = 0.5) -> Tensor:
    """The published table, cell by cell, with a column of zeros on either side."""
    rows, columns = distances.shape
    d = F.pad(distances, (1, 1))

    def soft(*costs: Tensor) -> Tensor:
        return -softness * sum((-cost / softness).exp() for cost in costs).log()

    table = [[d.new_zeros(())] for _ in range(rows)]
    for m in range(1, columns + 2):
        table[0].append(table[0][-1] + d[0, m])
    for r in range(1, rows):
        for m in range(1, columns + 2):
            ways = [table[r - 1][m - 1], table[r][m - 1]]
            if m in (1, columns + 1):
                ways.append(table[r - 1][m])
            table[r].append(d[r, m] + soft(*ways))
    return table[-1][-1]


def published(s: State, task: Episode, text: Tensor, *, merge: str, pixels: str) -> tuple[Tensor, Tensor]:
    """Costs of queries by classes, and the mean frames of the queries before the block."""
    mean, std = (CLIP_MEAN, CLIP_STD) if pixels == "clip" else ((0.0,) * 3, (1.0,) * 3)
    centre, spread = (torch.tensor(x).double().view(3, 1, 1) for x in (mean, std))
    tower = {name.removeprefix("backbone."): x for name, x in s.items() if name.startswith("backbone.")}
    see = resnet if "attnpool.c_proj.weight" in tower else vit

    def frames(clips: Tensor) -> Tensor:
        x = (clips.flatten(0, 1).double() / 255 - centre) / spread
        return see(tower, x).unflatten(0, clips.shape[:2])

    support, query = frames(task.support), frames(task.query)
    labels, length = task.support_labels, support.shape[1]
    own = text[labels]
    if merge == "before":
        support = torch.stack([support[labels == n].mean(0) for n in range(3)])
        own = torch.stack([own[labels == n].mean(0) for n in range(3)])
    read = block(s, torch.cat([support, own[:, None]], 1))[:, :length]
    prototypes = read if merge == "before" else torch.stack([read[labels == n].mean(0) for n in range(3)])
    costs = torch.zeros(3, 3, dtype=torch.float64)
    for i, video in enumerate(block(s, query)):
        for n, prototype in enumerate(prototypes):
            lengths = video.norm(dim=-1)[:, None] * prototype.norm(dim=-1)
            distances = 1 - video @ prototype.T / (lengths + 0.01)
            costs[i, n] = aligned(distances) + aligned(distances.T)
    return costs, query.mean(1)
