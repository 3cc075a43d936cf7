"""Golden files of the CLIP towers, the pyramids and the mask extractor.

Towers come from transformers and timm. The ViT adapter has no public reference with these
conventions: its deformable attention is written out below, one sample at a time.
"""

import torch
import torch.nn.functional as F
from timm.models.convnext import ConvNeXt
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig
from transformers import CLIPVisionModelWithProjection, SiglipTextConfig, SiglipTextModel, SiglipVisionConfig, SiglipVisionModel

from deformable import bilinear_sample
from golden import export, generator, normal, parameters, randomize

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).double().view(1, 3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).double().view(1, 3, 1, 1)


def pixels(seed, *shape):
    return normal(generator(seed), *shape).requires_grad_()


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def convnext_outputs(model, x):
    stages = []
    x = model.stem(x)
    for stage in model.stages:
        x = stage(x)
        stages.append(nhwc(x))
    pooled = model.head(model.norm_pre(x))
    names = ["stage_1", "stage_2", "stage_3", "stage_4"]
    return dict(zip(names, stages)) | {"pooled": pooled}


def convnext(name, seed, batch, size, **config):
    model = randomize(ConvNeXt(num_classes=0, **config), seed)
    x = pixels(seed + 1, batch, 3, *size)
    grads = [
        "stem.0.weight",
        "stem.1.bias",
        "stages.1.downsample.0.weight",
        "stages.3.downsample.1.weight",
        "stages.1.blocks.0.conv_dw.weight",
        "stages.3.blocks.0.conv_dw.weight",
        "stages.2.blocks.0.mlp.fc1.weight",
        "stages.0.blocks.0.norm.bias",
    ]
    if config["ls_init_value"] is not None:
        grads.append("stages.2.blocks.0.gamma")
    outputs = convnext_outputs(model, x)
    export(name, config, parameters(model), {"pixel_values": x}, outputs, ["stage_4", "stage_2"], grads)


def clip_vit(name, seed, size, interpolate, **config):
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**config, attn_implementation="eager"))
    randomize(model, seed)
    x = pixels(seed + 1, 2, 3, *size)
    out = model(
        pixel_values=x, interpolate_pos_encoding=interpolate, output_hidden_states=True
    )
    vision = model.vision_model(pixel_values=x, interpolate_pos_encoding=interpolate)
    outputs = {
        "last_hidden_state": out.last_hidden_state,
        "pooler_output": vision.pooler_output,
        "hidden_state_1": out.hidden_states[1],
        "image_embeds": out.image_embeds,
    }
    weights = {k.removeprefix("vision_model."): v for k, v in parameters(model).items()}
    grads = [
        "embeddings.class_embedding",
        "embeddings.patch_embedding.weight",
        "embeddings.position_embedding.weight",
        "pre_layrnorm.weight",
        "encoder.layers.0.self_attn.q_proj.weight",
        "encoder.layers.0.self_attn.k_proj.weight",
        "encoder.layers.1.mlp.fc1.bias",
        "encoder.layers.1.layer_norm2.weight",
        "post_layernorm.bias",
    ]
    loss = ["last_hidden_state", "pooler_output"]
    export(name, config, weights, {"pixel_values": x}, outputs, loss, grads)


def clip_text(name, seed, ids, mask, **config):
    model = CLIPTextModelWithProjection(CLIPTextConfig(**config, attn_implementation="eager"))
    randomize(model, seed)
    ids = torch.tensor(ids)
    mask = None if mask is None else torch.tensor(mask)
    out = model(input_ids=ids, attention_mask=mask)
    text = model.text_model(input_ids=ids, attention_mask=mask)
    outputs = {
        "last_hidden_state": out.last_hidden_state,
        "pooler_output": text.pooler_output,
        "text_embeds": out.text_embeds,
    }
    weights = {k.removeprefix("text_model."): v for k, v in parameters(model).items()}
    grads = [
        "embeddings.token_embedding.weight",
        "embeddings.position_embedding.weight",
        "encoder.layers.0.self_attn.v_proj.weight",
        "encoder.layers.1.self_attn.out_proj.bias",
        "final_layer_norm.weight",
    ]
    inputs = {"input_ids": ids}
    if mask is not None:
        inputs["attention_mask"] = mask
    loss = ["last_hidden_state", "pooler_output"]
    export(name, config, weights, inputs, outputs, loss, grads)


class ConvNextPyramid(nn.Module):
    """E_V with a ConvNeXt: normalise, four projected stages, projected pooled head."""

    def __init__(self, width, embed, **config):
        super().__init__()
        dims = config["dims"]
        self.visual = nn.Module()
        self.visual.trunk = ConvNeXt(num_classes=0, **config)
        self.visual.head = nn.Module()
        self.visual.head.mlp = nn.Module()
        self.visual.head.mlp.fc1 = nn.Linear(dims[3], 2 * embed)
        self.visual.head.mlp.fc2 = nn.Linear(2 * embed, embed, bias=False)
        for index, dim in enumerate(dims):
            setattr(self, f"adapter_c{index + 2}", nn.Linear(dim, width))
        self.adapter_cls = nn.Linear(dims[3], width)

    def forward(self, x):
        out = convnext_outputs(self.visual.trunk, (x - MEAN.to(x)) / STD.to(x))
        levels = [getattr(self, f"adapter_c{i + 1}")(out[f"stage_{i}"]) for i in range(1, 5)]
        global_token = self.adapter_cls(out["pooled"])[:, None]
        head = self.visual.head.mlp
        return {
            "sequence": torch.cat([global_token, levels[2].flatten(1, 2)], 1),
            "image_embeds": head.fc2(F.gelu(head.fc1(out["pooled"]))),
        } | {f"level_{i + 1}": level for i, level in enumerate(levels)}


def convnext_pyramid(name, seed):
    trunk = dict(depths=[1, 1, 1, 1], dims=[8, 8, 12, 16], patch_size=4)
    model = randomize(ConvNextPyramid(10, 6, **trunk), seed)
    x = torch.rand(2, 3, 32, 48, generator=generator(seed + 1)).double().requires_grad_()
    outputs = model(x)
    config = {"tower": "conv_next", "trunk": trunk, "pyramid_dim": 10, "projection_dim": 6}
    grads = ["visual.trunk.stem.0.weight", "adapter_c2.weight", "adapter_c5.bias"]
    grads += ["adapter_cls.weight", "visual.head.mlp.fc1.weight"]
    export(name, config, parameters(model), {"pixels": x}, outputs, list(outputs), grads)


def apart(weights):
    """Queries, keys and values of torch's attention, which keeps them in one tensor, one by one."""
    result = {}
    for key, tensor in weights.items():
        if "in_proj_" in key:
            parts = tensor.chunk(3)
            result |= {key.replace("in_proj_", f"{part}_proj."): value for part, value in zip("qkv", parts)}
        else:
            result[key] = tensor
    return result


def siglip_vit(name, seed, size, **config):
    model = randomize(SiglipVisionModel(SiglipVisionConfig(**config, attn_implementation="eager")), seed)
    x = pixels(seed + 1, 2, 3, *size)
    out = model(pixel_values=x, interpolate_pos_encoding=size != (config["image_size"],) * 2)
    outputs = {"last_hidden_state": out.last_hidden_state, "pooler_output": out.pooler_output}
    grads = [
        "embeddings.patch_embedding.bias",
        "embeddings.position_embedding.weight",
        "encoder.layers.0.self_attn.v_proj.weight",
        "post_layernorm.weight",
        "head.probe",
        "head.attention.out_proj.weight",
        "head.layernorm.bias",
        "head.mlp.fc1.weight",
    ]
    export(name, config, apart(parameters(model)), {"pixel_values": x}, outputs, ["pooler_output"], grads)


def siglip_text(name, seed, ids, **config):
    model = randomize(SiglipTextModel(SiglipTextConfig(**config, attn_implementation="eager")), seed)
    ids = torch.tensor(ids)
    out = model(input_ids=ids)
    outputs = {"last_hidden_state": out.last_hidden_state, "pooler_output": out.pooler_output}
    weights = {key.replace("head.", "text_projection."): value for key, value in parameters(model).items()}
    grads = ["embeddings.position_embedding.weight", "encoder.layers.1.mlp.fc2.weight", "text_projection.bias"]
    export(name, config, weights, {"input_ids": ids}, outputs, ["pooler_output"], grads)


class DeformableAttention(nn.Module):
    """Deformable DETR, Eq. 3, sample by sample."""

    def __init__(self, width, heads, points, levels, ratio):
        super().__init__()
        self.heads, self.points, self.levels = heads, points, levels
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, int(width * ratio))
        self.output_proj = nn.Linear(int(width * ratio), width)

    def forward(self, queries, maps):
        """`queries`: list of [b, h, w, c]; `maps`: list of [b, h, w, c]; gives a list of [b, h, w, c]."""
        values = [self.value_proj(m) for m in maps]
        dim = values[0].shape[-1] // self.heads
        results = []
        for query in queries:
            batch, height, width, _ = query.shape
            rows = []
            for b in range(batch):
                for y in range(height):
                    for x in range(width):
                        q = query[b, y, x]
                        offsets = self.sampling_offsets(q).view(self.heads, self.levels, self.points, 2)
                        logits = self.attention_weights(q).view(self.heads, -1)
                        weights = logits.softmax(-1).view(self.heads, self.levels, self.points)
                        head_outputs = []
                        for h in range(self.heads):
                            total = 0
                            for level, value in enumerate(values):
                                mh, mw = value.shape[1:3]
                                for p in range(self.points):
                                    px = (x + 0.5) / width + offsets[h, level, p, 0] / mw
                                    py = (y + 0.5) / height + offsets[h, level, p, 1] / mh
                                    part = value[b, :, :, h * dim : (h + 1) * dim]
                                    total = total + weights[h, level, p] * bilinear_sample(part, px, py)
                            head_outputs.append(total)
                        rows.append(torch.cat(head_outputs))
            sampled = torch.stack(rows).view(batch, height, width, -1)
            results.append(self.output_proj(sampled))
        return results


class Injector(nn.Module):
    def __init__(self, width, heads, points, ratio):
        super().__init__()
        self.query_norm, self.feat_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = DeformableAttention(width, heads, points, 3, ratio)
        self.gamma = nn.Parameter(torch.zeros(width))

    def forward(self, x, levels):
        attended = self.attn([self.query_norm(x)], [self.feat_norm(c) for c in levels])[0]
        return x + self.gamma * attended


class Extractor(nn.Module):
    def __init__(self, width, heads, points, ratio, ffn):
        super().__init__()
        self.query_norm, self.feat_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = DeformableAttention(width, heads, points, 1, ratio)
        self.ffn = nn.Module()
        self.ffn.fc1 = nn.Linear(width, ffn)
        self.ffn.dwconv = nn.Conv2d(ffn, ffn, 3, padding=1, groups=ffn)
        self.ffn.fc2 = nn.Linear(ffn, width)
        self.ffn_norm = nn.LayerNorm(width)

    def forward(self, levels, x):
        attended = self.attn([self.query_norm(c) for c in levels], [self.feat_norm(x)])
        levels = [c + a for c, a in zip(levels, attended)]
        result = []
        for c in levels:
            hidden = self.ffn.fc1(self.ffn_norm(c)).permute(0, 3, 1, 2)
            hidden = nhwc(self.ffn.dwconv(hidden))
            result.append(c + self.ffn.fc2(F.gelu(hidden)))
        return result


class ChannelNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).square().mean(1, keepdim=True)
        x = (x - mean) / (variance + 1e-6).sqrt()
        return x * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


class ConvNorm(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = ChannelNorm(outputs)

    def forward(self, x):
        return self.norm(self.conv(x)).relu()


class VitPyramid(nn.Module):
    """E_V with a ViT: the adapter around transformers' layers."""

    def __init__(self, vit, inplane, points, deform_ratio, cffn_ratio, extra, pyramid_dim):
        super().__init__()
        width, heads = vit.config.hidden_size, vit.config.num_attention_heads
        self.vision_model = vit
        self.adapter = a = nn.Module()
        a.level_embed = nn.Parameter(torch.zeros(3, width))
        a.spm = s = nn.Module()
        s.stem = nn.Sequential(ConvNorm(3, inplane, 2), ConvNorm(inplane, inplane, 1), ConvNorm(inplane, inplane, 1))
        s.conv2 = ConvNorm(inplane, 2 * inplane, 2)
        s.conv3 = ConvNorm(2 * inplane, 4 * inplane, 2)
        s.conv4 = ConvNorm(4 * inplane, 4 * inplane, 2)
        for index, factor in enumerate([1, 2, 4, 4]):
            setattr(s, f"fc{index + 1}", nn.Conv2d(factor * inplane, width, 1))
        a.interactions = nn.ModuleList()
        for index in range(4):
            block = nn.Module()
            block.injector = Injector(width, heads, points, deform_ratio)
            block.extractor = Extractor(width, heads, points, deform_ratio, int(width * cffn_ratio))
            block.extra_extractors = nn.ModuleList(
                Extractor(width, heads, points, deform_ratio, int(width * cffn_ratio))
                for _ in range(extra if index == 3 else 0)
            )
            a.interactions.append(block)
        a.up = nn.ConvTranspose2d(width, width, 2, 2)
        self.adapter_levels = nn.ModuleList(nn.Linear(width, pyramid_dim) for _ in range(4))
        self.adapter_sequence = nn.Linear(width, pyramid_dim)

    def forward(self, x):
        vit, a, s = self.vision_model, self.adapter, self.adapter.spm
        x = (x - MEAN.to(x)) / STD.to(x)
        patch = vit.config.patch_size
        h, w = x.shape[2] // patch, x.shape[3] // patch
        tokens = vit.pre_layrnorm(vit.embeddings(x, interpolate_pos_encoding=True))

        image = F.interpolate(x, size=(16 * h, 16 * w), mode="bilinear", align_corners=False)
        c1 = F.max_pool2d(s.stem(image), 3, 2, 1)
        c2 = s.conv2(c1)
        c3 = s.conv3(c2)
        c4 = s.conv4(c3)
        prior = [nhwc(fc(c)) for fc, c in zip([s.fc1, s.fc2, s.fc3, s.fc4], [c1, c2, c3, c4])]
        levels = [c + a.level_embed[i] for i, c in enumerate(prior[1:])]

        layers, outs = list(vit.encoder.layers), []
        for index, block in enumerate(a.interactions):
            patches = tokens[:, 1:].view(-1, h, w, tokens.shape[-1])
            patches = block.injector(patches, levels)
            tokens = torch.cat([tokens[:, :1], patches.flatten(1, 2)], 1)
            for layer in layers[index * len(layers) // 4 : (index + 1) * len(layers) // 4]:
                tokens = layer(tokens, None)
            patches = tokens[:, 1:].view(-1, h, w, tokens.shape[-1])
            levels = block.extractor(levels, patches)
            for extractor in block.extra_extractors:
                levels = extractor(levels, patches)
            outs.append(patches)

        finest = nhwc(a.up(levels[0].permute(0, 3, 1, 2))) + prior[0]
        result = {}
        for i, (level, out) in enumerate(zip([finest] + levels, outs)):
            out = F.interpolate(
                out.permute(0, 3, 1, 2), size=level.shape[1:3], mode="bilinear", align_corners=False
            )
            result[f"level_{i + 1}"] = self.adapter_levels[i](level + nhwc(out))
        return {"sequence": self.adapter_sequence(tokens)} | result


def vit_pyramid(name, seed):
    trunk = dict(
        hidden_size=12, intermediate_size=20, num_hidden_layers=5, num_attention_heads=2,
        image_size=21, patch_size=7, hidden_act="quick_gelu", projection_dim=4,
    )
    adapter = dict(conv_inplane=4, points=2, deform_ratio=0.5, cffn_ratio=0.5, extra_extractors=1)
    vit = CLIPVisionModelWithProjection(CLIPVisionConfig(**trunk, attn_implementation="eager")).vision_model
    model = VitPyramid(vit, 4, 2, 0.5, 0.5, 1, 6)
    randomize(model, seed)
    x = torch.rand(1, 3, 21, 14, generator=generator(seed + 1)).double().requires_grad_()
    outputs = model(x)
    config = {"tower": "vit", "trunk": trunk, "adapter": adapter, "pyramid_dim": 6}
    grads = [
        "vision_model.embeddings.position_embedding.weight",
        "vision_model.encoder.layers.2.mlp.fc1.weight",
        "adapter.level_embed",
        "adapter.spm.stem.0.conv.weight",
        "adapter.spm.conv4.norm.weight",
        "adapter.interactions.0.injector.gamma",
        "adapter.interactions.1.injector.attn.sampling_offsets.weight",
        "adapter.interactions.2.extractor.attn.attention_weights.bias",
        "adapter.interactions.3.extra_extractors.0.ffn.dwconv.weight",
        "adapter.up.weight",
        "adapter.up.bias",
        "adapter_levels.3.weight",
        "adapter_sequence.bias",
    ]
    export(name, config, parameters(model), {"pixels": x}, outputs, list(outputs), grads)


def mask_extractor(name, seed):
    gen = generator(seed)
    features = normal(gen, 2, 5, 8, 3).requires_grad_()
    mask = torch.zeros(2, 33, 47).double()
    mask[0, 4:20, 11:30] = 1
    mask[1, 32, 46] = 1
    mask[1, 16, 20:24] = 1
    inside = F.interpolate(mask[:, None], size=(5, 8), mode="bilinear", align_corners=False)[:, 0] > 0
    output = features * inside[..., None]
    export(name, {}, {}, {"features": features, "mask": mask}, {"output": output}, ["output"], [])


if __name__ == "__main__":
    dims = dict(depths=(1, 2, 1, 1), dims=(8, 12, 16, 20))
    convnext("convnext_patch4", 1, 2, (38, 53), **dims, patch_size=4, ls_init_value=1e-6)
    convnext("convnext_patch2", 2, 2, (37, 34), **dims, patch_size=2, ls_init_value=None)
    small = dict(depths=(1, 1, 1, 1), dims=(4, 8, 8, 12))
    convnext("convnext_patch8", 3, 1, (96, 72), **small, patch_size=8, ls_init_value=1e-6)
    convnext("convnext_patch16", 4, 1, (64, 80), **small, patch_size=16, ls_init_value=1e-6)
    vit = dict(num_hidden_layers=3, num_attention_heads=3, patch_size=7, image_size=28, projection_dim=10)
    clip_vit("clip_vit", 10, (28, 28), False, hidden_size=24, intermediate_size=40, hidden_act="quick_gelu", **vit)
    clip_vit("clip_vit_resized", 11, (36, 49), True, hidden_size=24, intermediate_size=40, hidden_act="gelu", **vit)
    text = dict(
        vocab_size=30, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=12, projection_dim=10,
    )
    ids = [[20, 4, 5, 6, 29, 29, 29], [20, 7, 29, 1, 1, 1, 1], [20, 8, 9, 10, 11, 12, 29]]
    clip_text("clip_text", 20, ids, None, eos_token_id=2, hidden_act="gelu", **text)
    mask = [[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0, 0], [1] * 7]
    clip_text("clip_text_masked", 21, ids, mask, eos_token_id=29, hidden_act="quick_gelu", **text)
    siglip = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, patch_size=7, image_size=28)
    siglip_vit("siglip_vit", 50, (28, 28), **siglip)
    siglip_vit("siglip_vit_resized", 51, (21, 35), **siglip)
    siglip_text(
        "siglip_text", 52, [[20, 4, 5, 1, 1, 1], [20, 7, 29, 3, 2, 1]],
        vocab_size=30, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=6, projection_size=24,
    )
    convnext_pyramid("convnext_pyramid", 30)
    vit_pyramid("vit_pyramid", 31)
    mask_extractor("mask_extractor", 40)
