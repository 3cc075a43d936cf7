"""Golden files of the composition: an independent, slow, double-precision DEEM written from the paper.

The inner networks are the public classes (timm, transformers' Q-Former, diffusers) and the slow MMFS, ViT
adapter and deformable attention of the other exporters; the language model and everything between the
networks is written out here, one image and one position at a time. A file holds the weights of a whole
model, a batch, the noise, its three losses and the gradient of their weighted sum on every parameter.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel, CLIPVisionConfig
from transformers import CLIPVisionModelWithProjection

from export_clip import ConvNextPyramid, VitPyramid
from export_mmfs import GatedMmfs, RmsNorm, UnetMmfs, sine_cosine
from export_perceiver import key_of, normalise_heads
from golden import generator, normal, parameters, randomize, write

GOLDEN = Path(__file__).resolve().parents[2] / "crates" / "engine" / "tests" / "golden"
IGNORE = -100
GRID = 16  # side of the fixed position table


class Resampler(nn.Module):
    """A Q-Former under deem's name."""

    def __init__(self, config):
        super().__init__()
        fields = {k: v for k, v in config.items() if k != "qk_normalization"}
        fields |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        self.model = Blip2QFormerModel(Blip2QFormerConfig(**fields, attn_implementation="eager"))
        if config["qk_normalization"]:
            normalise_heads(self.model)

    def forward(self, queries, sequence, mask=None):
        queries = queries.expand(sequence.shape[0], -1, -1)
        return self.model(
            query_embeds=queries, encoder_hidden_states=sequence, encoder_attention_mask=mask
        ).last_hidden_state


def position_table(height, width, features):
    table = sine_cosine(GRID, features).permute(2, 0, 1)[None]
    table = F.interpolate(table, size=(height, width), mode="bicubic", align_corners=False)
    return table[0].permute(1, 2, 0)


def inside(mask, height, width):
    """[h, w] of a mask [H, W]: 1 where a cell's bilinear sample touches the region."""
    small = F.interpolate(mask[None, None], size=(height, width), mode="bilinear", align_corners=False)
    return (small[0, 0] > 0).double()


class ImageEncoder(nn.Module):
    def __init__(self, config, vision, llm_dim, cross_dim):
        super().__init__()
        width, hidden = config["vision"]["pyramid_dim"], config["resampler"]["hidden_size"]
        self.vision = vision
        self.pos_proj = nn.Linear(width, width)
        self.pos_ln = nn.LayerNorm(width, eps=1e-6)
        self.ln = nn.LayerNorm(width, eps=1e-6)
        self.query_tokens = nn.Parameter(torch.zeros(config["queries"], hidden))
        self.resampler = Resampler(config["resampler"])
        self.proj_t = nn.Linear(hidden, llm_dim)
        self.proj_i = nn.Linear(hidden, cross_dim)
        self.pooled = config.get("pooled_queries", False)

    def one(self, pixels, mask):
        """One image [3, h, w] in [0, 1], with a mask [h, w]."""
        seen = self.vision(pixels[None])
        levels = [seen[f"level_{i}"][0] for i in range(1, 5)]
        height, width, features = levels[2].shape
        sequence = self.pos_ln(self.pos_proj(seen["sequence"][0]))
        overall, cells = sequence[:1], sequence[1:].view(height, width, features)
        cells = cells + position_table(height, width, features)
        cells = cells * inside(mask, height, width)[..., None]
        sequence = self.ln(torch.cat([overall, cells.view(-1, features)]))
        pyramid = []
        for level in levels:
            h, w = level.shape[:2]
            pyramid.append((level + position_table(h, w, features)) * inside(mask, h, w)[..., None])
        queries = self.query_tokens
        if self.pooled:
            side = math.isqrt(len(queries) - 1)
            regions = F.adaptive_avg_pool2d(pyramid[3].permute(2, 0, 1), side).flatten(1).T
            queries = queries + torch.cat([sequence[:1], regions])
        tokens = self.resampler(queries[None], sequence[None])[0]
        return self.proj_t(tokens), self.proj_i(tokens), pyramid


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        heads, groups = c["num_attention_heads"], c["num_key_value_heads"]
        width, bias = c["hidden_size"], c.get("attention_bias", False)
        self.dim, self.heads, self.groups = width // heads, heads, groups
        self.q_proj = nn.Linear(width, width, bias=bias)
        self.k_proj = nn.Linear(width, groups * self.dim, bias=bias)
        self.v_proj = nn.Linear(width, groups * self.dim, bias=bias)
        self.o_proj = nn.Linear(width, width, bias=bias)

    def turn(self, x, positions):
        """Rotary positions: pairs (i, i + dim/2) of each head turn by position / 10000^(2i/dim)."""
        half = self.dim // 2
        rates = torch.tensor([10000 ** (-i / half) for i in range(half)]).double()
        angles = positions[:, None] * rates
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def forward(self, x, positions):
        """x: [seq, width] without padding."""
        seq = len(x)
        q = self.turn(self.q_proj(x).view(seq, self.heads, self.dim), positions)
        k = self.turn(self.k_proj(x).view(seq, self.groups, self.dim), positions)
        v = self.v_proj(x).view(seq, self.groups, self.dim)
        rows = []
        for i in range(seq):
            heads = []
            for h in range(self.heads):
                g = h // (self.heads // self.groups)
                weights = (k[: i + 1, g] @ q[i, h] / self.dim**0.5).softmax(0)
                heads.append(weights @ v[: i + 1, g])
            rows.append(torch.cat(heads))
        return self.o_proj(torch.stack(rows))


class Mlp(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c, mmfs):
        super().__init__()
        width = c["hidden_size"]
        self.self_attn = Attention(c)
        self.mlp = Mlp(width, c["intermediate_size"])
        self.input_layernorm = RmsNorm(width, 1e-6)
        self.post_attention_layernorm = RmsNorm(width, 1e-6)
        if mmfs:
            self.mmfs = GatedMmfs(query_dim=width, **mmfs)

    def forward(self, x, positions, levels, relative):
        x = x + self.self_attn(self.input_layernorm(x), positions)
        if hasattr(self, "mmfs"):
            x = x + self.mmfs(x[None], levels, relative[None])[0]
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, c, mmfs):
        super().__init__()
        width, vocabulary = c["hidden_size"], c["vocab_size"]
        self.model = m = nn.Module()
        m.embed_tokens = nn.Embedding(vocabulary, width)
        fields = {k: v for k, v in mmfs.items() if k != "every"}
        m.layers = nn.ModuleList(
            Layer(c, fields if i % mmfs["every"] == 0 else None) for i in range(c["num_hidden_layers"])
        )
        m.norm = RmsNorm(width, 1e-6)
        if not c["tie_word_embeddings"]:
            self.lm_head = nn.Linear(width, vocabulary, bias=False)

    def head(self, x):
        tied = not hasattr(self, "lm_head")
        return x @ (self.model.embed_tokens.weight if tied else self.lm_head.weight).T


class Synchronizer(nn.Module):
    def __init__(self, config, unet):
        super().__init__()
        fields = {k: v for k, v in config.items() if k != "position_grid"}
        widths, layers = unet["block_out_channels"], unet["layers_per_block"]
        skips = [(widths[0], 1)]  # width, and how many times smaller than the finest map
        for index, width in enumerate(widths):
            skips += [(width, 2**index)] * layers
            if index + 1 < len(widths):
                skips.append((width, 2 ** (index + 1)))

        def block(width, reduction):  # offsets count cells of the block's own map
            own = {**fields, "base_size": fields["base_size"] // reduction}
            return UnetMmfs(config["position_grid"], query_dim=width, **own)

        self.mmfs_down_blocks = nn.ModuleList(block(*skip) for skip in skips)
        self.mmfs_mid_block = block(widths[-1], 2 ** (len(widths) - 1))


class ImageDecoder(nn.Module):
    def __init__(self, config, unet, queries, llm_dim):
        super().__init__()
        hidden = config["resampler"]["hidden_size"]
        self.context_feat_proj = nn.Linear(llm_dim, llm_dim)
        self.query_tokens = nn.Parameter(torch.zeros(queries, hidden))
        self.resampler = Resampler(config["resampler"])
        self.null_condition = nn.Parameter(torch.zeros(queries, hidden))
        self.synchronizer = Synchronizer(config["synchronizer"], unet)

    def condition(self, states):
        """states: [length, width], from bos to soi."""
        length, width = states.shape
        half = width // 2
        context = self.context_feat_proj(states.flip(0))
        positions = []
        for p in range(length):
            angles = [p / 10000 ** (i / half) for i in range(half)]
            positions.append([math.sin(a) for a in angles] + [math.cos(a) for a in angles])
        context = context + torch.tensor(positions).double()
        return self.resampler(self.query_tokens[None], context[None])[0]


class Deem(nn.Module):
    def __init__(self, c):
        super().__init__()
        llm_dim, cross_dim = c["llama"]["hidden_size"], c["unet"]["cross_attention_dim"]
        vision = c["image_encoder"]["vision"]
        trunk = vision["trunk"]
        if vision["tower"] == "conv_next":
            tower = ConvNextPyramid(vision["pyramid_dim"], vision["projection_dim"], **trunk)
        else:
            vit = CLIPVisionModelWithProjection(CLIPVisionConfig(**trunk, attn_implementation="sdpa"))
            a = vision["adapter"]
            tower = VitPyramid(
                vit.vision_model, a["conv_inplane"], a["points"], a["deform_ratio"], a["cffn_ratio"],
                a["extra_extractors"], vision["pyramid_dim"],
            )
        self.image_encoder = ImageEncoder(c["image_encoder"], tower, llm_dim, cross_dim)
        self.llama = Llama(c["llama"], c["llama_mmfs"])
        self.text_decoder = nn.Module()
        self.text_decoder.head_new = nn.Linear(llm_dim, c["new_tokens"])
        self.soi_token = nn.Parameter(torch.zeros(llm_dim))
        self.image_decoder = ImageDecoder(
            c["image_decoder"], c["unet"], c["image_encoder"]["queries"], llm_dim
        )
        self.autoencoder = AutoencoderKL(**c["autoencoder"])
        self.unet = UNet2DConditionModel(**c["unet"])
        self.config = c

    def latents(self, pixels):
        mean = self.autoencoder.encode(pixels[None] * 2 - 1).latent_dist.mean[0]
        return mean * self.config["autoencoder"]["scaling_factor"]

    def read(self, row, encoded):
        """Last hidden states of one row; at padding they are zero. `row`: tokens; `encoded`: of its images."""
        c, t = self.config, self.config["tokens"]
        queries, table = c["image_encoder"]["queries"], self.llama.model.embed_tokens.weight
        starts = [i for i, token in enumerate(row) if token == t["soi"]]
        real = [i for i, token in enumerate(row) if token != t["pad"]]
        embeds, relative = [], []
        for i in real:
            token = row[i]
            if token == t["image"]:
                image = max(n for n, start in enumerate(starts) if start < i)
                embeds.append(encoded[image][0][i - starts[image] - 1])
            elif token < c["llama"]["vocab_size"]:
                embeds.append(table[token])
            else:  # a token that the language model does not know
                embeds.append(self.soi_token if token == t["soi"] else torch.zeros_like(table[0]))
            bos = max([0] + [j for j in range(i + 1) if row[j] == t["bos"]])
            seen = [n for n, start in enumerate(starts) if bos <= start <= i]
            relative.append([len(seen) - seen.index(n) if n in seen else 0 for n in range(len(starts))])
        assert row.count(t["image"]) == queries * len(starts)
        levels = len(c["llama_mmfs"]["levels"])
        stacked = [torch.stack([e[2][i] for e in encoded])[None] for i in range(4)][-levels:]
        x, positions = torch.stack(embeds), torch.arange(len(real)).double()
        for layer in self.llama.model.layers:
            x = layer(x, positions, stacked, torch.tensor(relative))
        x = self.llama.model.norm(x)
        states = torch.zeros(len(row), x.shape[1]).double()
        return states.index_copy(0, torch.tensor(real), x)

    def logits(self, state):
        new = self.text_decoder.head_new(state) - 100
        return torch.cat([self.llama.head(state), new])

    def denoise(self, noisy, step, condition, pyramid, k):
        """One image [c, h, w]; `pyramid`: the image to look at, `k`: 1, or 0 if it is not to be seen."""
        unet, sync = self.unet, self.image_decoder.synchronizer
        time = unet.time_embedding(unet.time_proj(torch.tensor([step])).double())
        condition = condition[None]
        x = unet.conv_in(noisy[None])
        skips = (x,)
        for block in unet.down_blocks:
            if getattr(block, "has_cross_attention", False):
                x, new = block(x, time, encoder_hidden_states=condition)
            else:
                x, new = block(x, time)
            skips += new
        x = unet.mid_block(x, time, encoder_hidden_states=condition)
        used = len(self.config["image_decoder"]["synchronizer"]["levels"])
        levels = [level[None, None] for level in pyramid][-used:]
        relative = torch.tensor([[k]])

        def look(block, x):
            return x + block(x.permute(0, 2, 3, 1), levels, relative).permute(0, 3, 1, 2)

        assert len(skips) == len(sync.mmfs_down_blocks)
        skips = tuple(look(block, skip) for block, skip in zip(sync.mmfs_down_blocks, skips))
        x = look(sync.mmfs_mid_block, x)
        for block in unet.up_blocks:
            taken, skips = skips[-len(block.resnets) :], skips[: -len(block.resnets)]
            if getattr(block, "has_cross_attention", False):
                x = block(x, taken, time, encoder_hidden_states=condition)
            else:
                x = block(x, taken, time)
        return unet.conv_out(F.silu(unet.conv_norm_out(x)))[0]

    def error(self, latents, noise, step, condition, pyramid, k):
        """Squared error [c, h, w] of the prediction."""
        s = self.config["scheduler"]
        kept = 1.0
        for i in range(step + 1):
            first, last = s["beta_start"] ** 0.5, s["beta_end"] ** 0.5
            kept *= 1 - (first + (last - first) * i / (s["num_train_timesteps"] - 1)) ** 2
        signal, sigma = kept**0.5, (1 - kept) ** 0.5
        predicted = self.denoise(signal * latents + sigma * noise, step, condition, pyramid, k)
        target = noise if s["prediction_type"] == "epsilon" else signal * noise - sigma * latents
        return (predicted - target) ** 2


def labels_of(row, tokens, prompts):
    """The token where it counts: not padding, placeholders, bos, a soi right after bos, or a prompt."""
    labels = []
    for i, token in enumerate(row):
        silent = token in (tokens["pad"], tokens["image"], tokens["bos"]) or i in prompts
        silent = silent or (token == tokens["soi"] and row[i - 1] == tokens["bos"])
        labels.append(IGNORE if silent else token)
    return labels


def losses(model, batch):
    c, t = model.config, model.config["tokens"]
    encoded = [model.image_encoder.one(p, m) for p, m in zip(batch["pixels"], batch["masks"])]
    latents = [model.latents(p) for p in batch["targets"]]

    # L_CSR: every image given what the encoder says of it, and its own pyramid.
    errors, area = [], []
    for n, (_, condition, pyramid) in enumerate(encoded):
        step = batch["feedback_timesteps"][n].item()
        error = model.error(latents[n], batch["feedback_noise"][n], step, condition, pyramid, 1)
        keep = inside(batch["masks"][n], *error.shape[1:])
        errors.append((error.mean(0) * keep).sum())
        area.append(keep.sum())
    feedback = sum(errors) / sum(area)

    # L_NTP.
    states, text, first = [], [], 0
    for row, labels in zip(batch["tokens"].tolist(), batch["labels"].tolist()):
        count = row.count(t["soi"])
        states.append(model.read(row, encoded[first : first + count]))
        first += count
        for i, label in enumerate(labels):
            if label != IGNORE:
                text.append(-model.logits(states[-1][i - 1]).log_softmax(0)[label])

    # L_NIP: every image that has a context, seeing the image before it.
    image, conditions, n, target = [], [], 0, 0
    for row, hidden in zip(batch["tokens"].tolist(), states):
        previous = None
        for i, token in enumerate(row):
            if token == t["bos"]:
                bos, previous = i, None
            if token != t["soi"]:
                continue
            if i - bos > 1 and batch["counted"][n]:
                condition = model.image_decoder.condition(hidden[bos : i + 1])
                if batch["drop"][target]:
                    condition = model.image_decoder.null_condition
                conditions.append(condition)
                look = n if previous is None else previous
                step = batch["image_timesteps"][target].item()
                noise = batch["image_noise"][target]
                visible = 0 if previous is None else 1
                image.append(
                    model.error(latents[n], noise, step, condition, encoded[look][2], visible).mean()
                )
                target += 1
            previous, n = n, n + 1
    assert target == len(batch["image_timesteps"]) and n == len(encoded)
    return {
        "embeddings": torch.stack([e[0] for e in encoded]),
        "condition": torch.stack([e[1] for e in encoded]),
        "hidden": torch.stack(states),
        "context_condition": torch.stack(conditions),
        "text": torch.stack(text).mean()[None],
        "image": torch.stack(image).mean()[None],
        "feedback": feedback[None],
    }


def deem(name, seed, config, weights, rows, prompts, counted, drop, timesteps, masks):
    t = config["tokens"]
    model = Deem(config)
    randomize(model, seed)
    model.text_decoder.head_new.bias.data += 95
    gen = generator(seed + 1)
    side, small = config["image_size"], config["diffusion_size"]
    images, targets = sum(row.count(t["soi"]) for row in rows), len(drop)
    latent = small // 2 ** (len(config["autoencoder"]["block_out_channels"]) - 1)
    channels = config["autoencoder"]["latent_channels"]
    batch = {
        "tokens": torch.tensor(rows),
        "labels": torch.tensor([labels_of(row, t, p) for row, p in zip(rows, prompts)]),
        "pixels": torch.rand(images, 3, side, side, generator=gen).double(),
        "targets": torch.rand(images, 3, small, small, generator=gen).double(),
        "masks": torch.ones(images, side, side).double() if masks is None else masks,
        "feedback_noise": normal(gen, images, channels, latent, latent),
        "feedback_timesteps": torch.tensor(timesteps[0]),
        "image_noise": normal(gen, targets, channels, latent, latent),
        "image_timesteps": torch.tensor(timesteps[1]),
        "counted": torch.tensor(counted),
        "drop": torch.tensor(drop),
    }
    outputs = losses(model, batch)
    total = sum(weights[term] * outputs[term] for term in weights)
    values = {name_of(k): v for k, v in parameters(model).items()}
    gradients = torch.autograd.grad(total, list(values.values()), allow_unused=True)
    tensors = {f"weight.{k}": v for k, v in values.items()}
    tensors |= {f"output.{k}": v for k, v in outputs.items()}
    largest = max(g.norm() for g in gradients if g is not None)
    silent = 0
    for key, gradient in zip(values, gradients):
        if gradient is None or gradient.norm() < 1e-9 * largest:  # zero but for rounding
            silent += 1
            continue
        tensors[f"grad.{key}"] = gradient
    if masks is None:
        del batch["masks"]
    tensors |= {f"input.{k}": v for k, v in batch.items()}
    size = write(GOLDEN / name, tensors, {"config": config, "loss": weights})
    terms = {k: round(outputs[k].item(), 3) for k in weights}
    print(f"{name}: {len(values)} parameters, {silent} without gradient, {size} bytes, {terms}")


def name_of(key):
    """`resampler.model.…` is `resampler.…` in deem; see also export_perceiver."""
    return key_of(key.replace("resampler.model.", "resampler."))


TOKENS = {"bos": 1, "eos": 2, "pad": 15, "soi": 16, "image": 17}
BOS, EOS, PAD, SOI = 1, 2, 15, 16
STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


def resampler(hidden, encoder, layers, frequency, qk):
    return {
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 12,
        "cross_attention_frequency": frequency, "encoder_hidden_size": encoder, "layer_norm_eps": 1e-6,
        "hidden_act": "gelu", "qk_normalization": qk,
    }


def config(vision, queries, prediction, llama, unet, **encoder):
    return {
        "image_size": 32,
        "diffusion_size": 8,
        "image_encoder": {
            "vision": vision, "resampler": resampler(8, 8, 3, 2, True), "queries": queries,
        } | encoder,
        "llama": {
            "vocab_size": 16, "hidden_size": 12, "intermediate_size": 14, "num_hidden_layers": 3,
            "num_attention_heads": 3, "num_key_value_heads": 1,
        } | llama,
        "llama_mmfs": {
            "every": 2, "value_dim": 8, "attention_dim": 4, "heads": 2, "points": 2, "levels": [4, 2, 1],
            "base_size": 2, "offset_init": 3.0, "max_images": 4,
        },
        "new_tokens": 3,
        "tokens": TOKENS,
        "image_decoder": {
            "resampler": resampler(8, 12, 1, 1, False),
            "synchronizer": {
                "value_dim": 8, "attention_dim": 4, "heads": 2, "points": 2, "levels": [8, 4, 2, 1],
                "base_size": 8, "offset_init": 1.0, "max_images": 3, "position_grid": 4,
            },
        },
        "autoencoder": {
            "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2,
            "block_out_channels": [4, 4], "layers_per_block": 1, "latent_channels": 4, "norm_num_groups": 2,
            "scaling_factor": 0.6,
        },
        "unet": {
            "in_channels": 4, "out_channels": 4, "block_out_channels": [8, 8], "layers_per_block": 1,
            "norm_num_groups": 4, "cross_attention_dim": 8, "attention_head_dim": [2, 4],
        } | unet,
        "scheduler": STABLE | {"prediction_type": prediction},
    }


def interleaved():
    """Right padding, two documents in a row, a dropped condition, one image loss with a previous image."""
    vision = {
        "tower": "conv_next", "pyramid_dim": 8, "projection_dim": 2,
        "trunk": {"depths": [1, 1, 1, 1], "dims": [4, 4, 6, 8], "patch_size": 4},
    }
    unet = {
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "use_linear_projection": True,
    }
    image = [SOI, 17, 17, 17]
    rows = [
        [BOS] + image + [5, 6] + image + [7, EOS, BOS, 8, 9] + image + [10],
        [BOS, 11] + image + [12, 4, EOS],
    ]
    rows[1] += [PAD] * (len(rows[0]) - len(rows[1]))
    deem(
        "deem_interleaved", 600, config(vision, 3, "epsilon", {"tie_word_embeddings": False}, unet),
        {"text": 1.0, "image": 2.0, "feedback": 3.0}, rows, [[], []], [True] * 4, [False, True, False],
        ([200, 421, 650, 799], [3, 500, 999]), None,
    )


def masked():
    """Left padding, region masks, prompts, a ViT, pooled queries, velocity prediction, tied embeddings."""
    vision = {
        "tower": "vit", "pyramid_dim": 8,
        "trunk": {
            "hidden_size": 12, "intermediate_size": 10, "num_hidden_layers": 4, "num_attention_heads": 2,
            "image_size": 32, "patch_size": 8, "hidden_act": "quick_gelu", "projection_dim": 4,
        },
        "adapter": {
            "conv_inplane": 4, "points": 1, "deform_ratio": 0.5, "cffn_ratio": 0.5, "extra_extractors": 0,
        },
    }
    unet = {
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "use_linear_projection": False,
    }
    image = [SOI] + [17] * 5
    rows = [
        [BOS, 5] + image + [6] + image + [7, EOS],
        [BOS] + image + [9, 10, EOS, BOS, 11, 12] + image + [13, 14, EOS],
    ]
    rows[0] = [PAD] * (len(rows[1]) - len(rows[0])) + rows[0]
    masks = torch.ones(4, 32, 32).double()
    masks[0, :, :13] = 0
    masks[2] = 0
    masks[2, 9:22, 4:30] = 1
    masks[3, 20:] = 0
    deem(
        "deem_masked", 701,
        config(
            vision, 5, "v_prediction", {"tie_word_embeddings": True, "attention_bias": True}, unet,
            pooled_queries=True,
        ),
        {"text": 2.0, "image": 1.0, "feedback": 1.5}, rows, [[], [8]], [False, True, True, True],
        [False, True], ([10, 320, 555, 990], [77, 640]), masks,
    )


if __name__ == "__main__":
    interleaved()
    masked()
