"""What has no public class: the slow double-precision implementations of the exporters, at random sizes."""

import torch
import torch.nn.functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

import export_deem
from export_clip import VitPyramid
from export_mmfs import Mmfs


class Named(torch.nn.Module):
    """A module in double precision whose keys are renamed."""

    def __init__(self, module, rename=lambda key: key):
        super().__init__()
        self.module, self.rename = module.double(), rename

    def state_dict(self):
        return {self.rename(key): value for key, value in self.module.named_parameters()}


def deform_attn(choice):
    batch, queries, heads = choice.randint(1, 3), choice.randint(1, 7), choice.randint(1, 4)
    dim, points, levels = choice.randint(1, 9), choice.randint(1, 5), choice.randint(1, 4)
    shapes = torch.tensor([[choice.randint(1, 8), choice.randint(1, 8)] for _ in range(levels)])
    inputs = {
        "value": torch.randn(batch, int(shapes.prod(1).sum()), heads, dim),
        "spatial_shapes": shapes,
        "sampling_locations": torch.rand(batch, queries, heads, levels, points, 2) * 1.6 - 0.3,
        "attention_weights": torch.rand(batch, queries, heads, levels, points),
    }

    def run(value, spatial_shapes, sampling_locations, attention_weights):
        maps = value.split([int(h * w) for h, w in spatial_shapes], dim=1)
        total = 0
        for level, (features, (height, width)) in enumerate(zip(maps, spatial_shapes.tolist())):
            features = features.permute(0, 2, 3, 1).reshape(batch * heads, dim, height, width)
            grid = sampling_locations[:, :, :, level].transpose(1, 2).flatten(0, 1) * 2 - 1
            sampled = F.grid_sample(features, grid, align_corners=False)
            weights = attention_weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]
            total = total + (sampled * weights).sum(-1)
        return {"output": total.reshape(batch, heads * dim, queries).transpose(1, 2)}

    return {}, None, inputs, run


def mmfs(choice):
    heads = choice.randint(1, 3)
    config = {
        "query_dim": choice.randint(2, 12), "value_dim": choice.randint(1, 8),
        "attention_dim": heads * choice.randint(1, 4), "heads": heads, "points": choice.randint(1, 3),
        "levels": [choice.randint(1, 9) for _ in range(choice.randint(1, 3))], "base_size": choice.randint(1, 6),
        "offset_init": 1.0, "max_images": 5,
    }
    batch, queries, images = choice.randint(1, 2), choice.randint(1, 5), choice.randint(1, 3)
    inputs = {
        "query": torch.randn(batch, queries, config["query_dim"]).double(),
        "reference": torch.rand(batch, queries, 2).double(),
        "relative": torch.randint(0, 5, (batch, queries, images)),
    }
    for index in range(len(config["levels"])):
        size = [choice.randint(1, 6), choice.randint(1, 6)]
        inputs[f"level_{index + 1}"] = torch.randn(batch, images, *size, config["value_dim"]).double()
    module = Mmfs(**config)

    def run(query, reference, relative, **levels):
        return {"output": module(query, reference, list(levels.values()), relative)}

    return config, Named(module), inputs, run


def mask_extractor(choice):
    batch, grid = choice.randint(1, 3), [choice.randint(1, 9) for _ in range(2)]
    mask = torch.zeros(batch, choice.randint(1, 50), choice.randint(1, 50))
    for row in mask:
        for _ in range(choice.randint(1, 3)):
            y, x = choice.randrange(row.shape[0]), choice.randrange(row.shape[1])
            row[y : y + choice.randint(1, 20), x : x + choice.randint(1, 20)] = 1

    def run(features, mask):
        small = F.interpolate(mask[:, None], size=grid, mode="bilinear", align_corners=False)[:, 0]
        return {"output": features * (small > 0)[..., None]}

    return {}, None, {"features": torch.randn(batch, *grid, choice.randint(1, 6)), "mask": mask}, run


def vit_tower(choice, pyramid_dim, side):
    """Configuration of a ViT with its adapter for images of a side."""
    heads = choice.choice([1, 2])
    patch = choice.choice([size for size in range(4, 17) if side // size in (1, 2, 3, 4)])
    return {
        "tower": "vit",
        "trunk": {
            # As wide as the pyramid it would need no projection.
            "hidden_size": choice.choice([size for size in (4, 8, 12) if size != pyramid_dim]),
            "intermediate_size": choice.randint(4, 12), "num_hidden_layers": choice.randint(4, 6),
            "num_attention_heads": heads, "image_size": patch * choice.randint(1, 4), "patch_size": patch,
            "hidden_act": choice.choice(["quick_gelu", "gelu"]), "projection_dim": 4,
        },
        "adapter": {
            "conv_inplane": choice.choice([2, 4]), "points": choice.randint(1, 2), "deform_ratio": choice.choice([0.5, 1.0]),
            "cffn_ratio": choice.choice([0.25, 0.5]), "extra_extractors": choice.randint(0, 1),
        },
        "pyramid_dim": pyramid_dim,
    }


def vit_adapter(choice):
    side = choice.choice([16, 20, 24])
    config = vit_tower(choice, choice.choice([16, 20]), side)
    trunk = CLIPVisionConfig(**config["trunk"], attn_implementation="sdpa")
    a = config["adapter"]
    module = VitPyramid(
        CLIPVisionModelWithProjection(trunk).vision_model, a["conv_inplane"], a["points"], a["deform_ratio"],
        a["cffn_ratio"], a["extra_extractors"], config["pyramid_dim"],
    )

    def run(pixels):
        out = module(pixels)
        levels = {f"level_{i}": out[f"level_{i}"].permute(0, 3, 1, 2) for i in range(1, 5)}
        return {"sequence": out["sequence"]} | levels

    other = side + choice.choice([0, 4])
    return config, Named(module), {"pixels": torch.rand(choice.randint(1, 2), 3, side, other).double()}, run


def document(choice, queries):
    """Tokens of one document: text and images, at least one of each."""
    words = lambda count: [choice.randint(3, 14) for _ in range(count)]
    tokens = [export_deem.BOS] + words(choice.randint(0, 2))
    for _ in range(choice.randint(1, 2)):
        tokens += [export_deem.SOI] + [export_deem.TOKENS["image"]] * queries + words(choice.randint(1, 3))
    return tokens + [export_deem.EOS]


def deem(choice):
    pooled = choice.random() < 0.5
    queries = choice.choice([2, 5]) if pooled else choice.randint(1, 4)
    if choice.random() < 0.5:
        vision = vit_tower(choice, 8, 32)
    else:
        vision = {
            "tower": "conv_next", "pyramid_dim": 8, "projection_dim": 2,
            "trunk": {"depths": [1, 1, 1, 1], "dims": [choice.randint(3, 8) for _ in range(4)], "patch_size": 4},
        }
    depth = choice.randint(1, 2)
    unet = {
        "block_out_channels": [8] * depth,
        "down_block_types": [choice.choice(["CrossAttnDownBlock2D", "DownBlock2D"]) for _ in range(depth)],
        "up_block_types": [choice.choice(["CrossAttnUpBlock2D", "UpBlock2D"]) for _ in range(depth)],
        "attention_head_dim": choice.choice([2, [choice.choice([1, 2, 4]) for _ in range(depth)]]),
        "use_linear_projection": choice.choice([True, False]),
    }
    llama = {"tie_word_embeddings": choice.choice([True, False]), "attention_bias": choice.choice([True, False])}
    config = export_deem.config(
        vision, queries, choice.choice(["epsilon", "v_prediction"]), llama, unet, pooled_queries=pooled
    )
    rows = [sum((document(choice, queries) for _ in range(choice.randint(1, 2))), []) for _ in range(2)]
    longest, left = max(map(len, rows)), choice.choice([True, False])
    pad = lambda row: [export_deem.PAD] * (longest - len(row))
    rows = [pad(row) + row if left else row + pad(row) for row in rows]
    tokens, images = config["tokens"], sum(row.count(export_deem.SOI) for row in rows)
    counted = [choice.random() < 0.8 for _ in range(images)]
    targets, image = 0, 0
    for row in rows:
        for position, token in enumerate(row):
            bos = position if token == export_deem.BOS else bos if position else 0
            if token == export_deem.SOI:
                targets += position - bos > 1 and counted[image]
                image += 1
    if targets == 0:  # a file cannot hold a tensor of nothing
        return deem(choice)
    masks = torch.ones(images, 32, 32).double()
    if choice.random() < 0.5:
        for mask in masks:
            mask[: choice.randint(0, 16), : choice.randint(8, 32)] = 0
    inputs = {
        "tokens": torch.tensor(rows),
        "labels": torch.tensor([export_deem.labels_of(row, tokens, []) for row in rows]),
        "pixels": torch.rand(images, 3, 32, 32).double(),
        "masks": masks,
        "targets": torch.rand(images, 3, 8, 8).double(),
        "feedback_noise": torch.randn(images, 4, 4, 4).double(),
        "feedback_timesteps": torch.randint(0, 1000, (images,)),
        "image_noise": torch.randn(targets, 4, 4, 4).double(),
        "image_timesteps": torch.randint(0, 1000, (targets,)),
        "counted": torch.tensor(counted).long(),
        "drop": torch.randint(0, 2, (targets,)),
    }
    module = export_deem.Deem(config)
    module.text_decoder.head_new.bias.data.fill_(95)

    def run(**batch):
        out = export_deem.losses(module, batch)
        outputs = {"losses": torch.cat([out["text"], out["image"], out["feedback"]])}
        return outputs | {key: out[key] for key in ("embeddings", "condition")}

    return config, Named(module, export_deem.name_of), inputs, run
