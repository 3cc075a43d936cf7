"""The diffusion model: AutoencoderKL, UNet2DConditionModel and the noise schedule, under diffusers' names."""

import torch
import torch.nn.functional as F
from torch import nn

from .layers import Named, timestep_encoding


def at(value, index):
    """A configuration field that is given once for all blocks or once for each."""
    return value[index] if isinstance(value, list) else value


def conv3(inputs, outputs, stride=1, padding=1):
    return nn.Conv2d(inputs, outputs, 3, stride, padding)


class ResnetBlock(nn.Module):
    def __init__(self, inputs, outputs, groups, eps, time_dim=None):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, inputs, eps), conv3(inputs, outputs)
        self.norm2, self.conv2 = nn.GroupNorm(groups, outputs, eps), conv3(outputs, outputs)
        self.time_emb_proj = nn.Linear(time_dim, outputs) if time_dim else None
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, time=None):
        hidden = self.conv1(F.silu(self.norm1(x)))
        if time is not None:
            hidden = hidden + self.time_emb_proj(time)[..., None, None]
        return self.conv_shortcut(x) + self.conv2(F.silu(self.norm2(hidden)))


class CrossAttention(nn.Module):
    def __init__(self, width, source, heads, bias=False):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias)
        self.to_k, self.to_v = nn.Linear(source, width, bias), nn.Linear(source, width, bias)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x, source):
        def split(y):
            return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        y = F.scaled_dot_product_attention(split(self.to_q(x)), split(self.to_k(source)), split(self.to_v(source)))
        return self.to_out[0](y.transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    def __init__(self, width, cross_dim, heads):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1 = CrossAttention(width, width, heads)
        self.attn2 = CrossAttention(width, cross_dim, heads)
        geglu = Named(proj=nn.Linear(width, 8 * width))
        self.ff = Named(net=nn.ModuleList([geglu, nn.Identity(), nn.Linear(4 * width, width)]))

    def forward(self, x, condition):
        query = self.norm1(x)
        x = x + self.attn1(query, query)
        x = x + self.attn2(self.norm2(x), condition)
        hidden, gate = self.ff.net[0].proj(self.norm3(x)).chunk(2, -1)
        return x + self.ff.net[2](hidden * F.gelu(gate))


class Transformer2d(nn.Module):
    def __init__(self, width, cross_dim, heads, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, 1e-6)
        self.proj_in, self.proj_out = nn.Linear(width, width), nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, cross_dim, heads)])

    def forward(self, x, condition):
        hidden = self.proj_in(self.norm(x).permute(0, 2, 3, 1).flatten(1, 2))
        for block in self.transformer_blocks:
            hidden = block(hidden, condition)
        return x + self.proj_out(hidden).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


class UNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        plain = {
            "act_fn": "silu", "resnet_time_scale_shift": "default", "use_linear_projection": True,
            "only_cross_attention": False, "transformer_layers_per_block": 1, "flip_sin_to_cos": True,
            "freq_shift": 0.0, "center_input_sample": False, "downsample_padding": 1,
            "mid_block_scale_factor": 1.0, "mid_block_type": "UNetMidBlock2DCrossAttn",
        }
        for field, expected in plain.items():
            assert config[field] == expected, f"the twin's UNet knows {field} = {expected}, not {config[field]}"
        channels, groups, eps = config["block_out_channels"], config["norm_num_groups"], config["norm_eps"]
        last, time_dim = len(channels) - 1, config["time_embedding_dim"] or 4 * channels[0]

        def resnet(inputs, outputs):
            return ResnetBlock(inputs, outputs, groups, eps, time_dim)

        def attentions(block, count, kind):
            cross, heads = at(config["cross_attention_dim"], block), at(config["attention_head_dim"], block)
            count = count if kind.startswith("CrossAttn") else 0
            return nn.ModuleList(Transformer2d(channels[block], cross, heads, groups) for _ in range(count))

        self.conv_in = conv3(config["in_channels"], channels[0])
        self.time_embedding = Named(
            linear_1=nn.Linear(channels[0], time_dim), linear_2=nn.Linear(time_dim, time_dim)
        )
        self.down_blocks, skips = nn.ModuleList(), [channels[0]]
        for block, outputs in enumerate(channels):
            layers = at(config["layers_per_block"], block)
            inputs = [channels[max(block - 1, 0)]] + [outputs] * (layers - 1)
            down = [Named(conv=conv3(outputs, outputs, 2))] if block < last else []
            self.down_blocks.append(
                Named(
                    resnets=nn.ModuleList(resnet(i, outputs) for i in inputs),
                    attentions=attentions(block, layers, config["down_block_types"][block]),
                    downsamplers=nn.ModuleList(down),
                )
            )
            skips += [outputs] * (layers + len(down))
        self.mid_block = Named(
            resnets=nn.ModuleList(resnet(channels[last], channels[last]) for _ in range(2)),
            attentions=attentions(last, 1, "CrossAttn"),
        )
        self.up_blocks, width = nn.ModuleList(), channels[last]
        for step, block in enumerate(range(last, -1, -1)):
            resnets, outputs = nn.ModuleList(), channels[block]
            for _ in range(at(config["layers_per_block"], block) + 1):
                resnets.append(resnet(width + skips.pop(), outputs))
                width = outputs
            up = [Named(conv=conv3(outputs, outputs))] if block > 0 else []
            self.up_blocks.append(
                Named(
                    resnets=resnets,
                    attentions=attentions(block, len(resnets), config["up_block_types"][step]),
                    upsamplers=nn.ModuleList(up),
                )
            )
        self.conv_norm_out = nn.GroupNorm(groups, channels[0], eps)
        self.conv_out = conv3(channels[0], config["out_channels"])

    def forward(self, x, timesteps, condition):
        """x: [n, c, h, w]; timesteps: [n]; condition: [n, tokens, cross_dim]."""
        time = timestep_encoding(timesteps, self.time_embedding.linear_1.in_features)
        time = F.silu(self.time_embedding.linear_2(F.silu(self.time_embedding.linear_1(time))))

        def layer(block, index, x):
            x = block.resnets[index](x, time)
            return block.attentions[index](x, condition) if index < len(block.attentions) else x

        x = self.conv_in(x)
        skips = [x]
        for block in self.down_blocks:
            for index in range(len(block.resnets)):
                x = layer(block, index, x)
                skips.append(x)
            for down in block.downsamplers:
                x = down.conv(x)
                skips.append(x)
        for index in range(2):
            x = layer(self.mid_block, index, x)
        for block in self.up_blocks:
            for index in range(len(block.resnets)):
                x = layer(block, index, torch.cat([x, skips.pop()], 1))
            for up in block.upsamplers:
                x = up.conv(F.interpolate(x, size=skips[-1].shape[2:], mode="nearest"))
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class PixelAttention(CrossAttention):
    def __init__(self, width, groups):
        super().__init__(width, width, 1, bias=True)
        self.group_norm = nn.GroupNorm(groups, width, 1e-6)

    def forward(self, x):
        pixels = self.group_norm(x).permute(0, 2, 3, 1).flatten(1, 2)
        return x + super().forward(pixels, pixels).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


class Autoencoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        assert config["use_quant_conv"] and config["use_post_quant_conv"] and config["mid_block_add_attention"]
        assert config["act_fn"] == "silu" and config["shift_factor"] is None
        channels, groups = config["block_out_channels"], config["norm_num_groups"]
        layers, latent, last = config["layers_per_block"], config["latent_channels"], len(channels) - 1
        self.scaling_factor = config["scaling_factor"]

        def resnet(inputs, outputs):
            return ResnetBlock(inputs, outputs, groups, 1e-6)

        def middle(width):
            return Named(
                resnets=nn.ModuleList(resnet(width, width) for _ in range(2)),
                attentions=nn.ModuleList([PixelAttention(width, groups)]),
            )

        def blocks(order, layers, name, change):
            made, width = nn.ModuleList(), channels[order[0]]
            for block in order:
                inputs = [width] + [channels[block]] * (layers - 1)
                changers = [Named(conv=change(channels[block]))] if block != order[-1] else []
                resnets = nn.ModuleList(resnet(i, channels[block]) for i in inputs)
                made.append(Named(resnets=resnets, **{name: nn.ModuleList(changers)}))
                width = channels[block]
            return made

        order = list(range(last + 1))
        self.encoder = Named(
            conv_in=conv3(config["in_channels"], channels[0]),
            down_blocks=blocks(order, layers, "downsamplers", lambda width: conv3(width, width, 2, 0)),
            mid_block=middle(channels[last]),
            conv_norm_out=nn.GroupNorm(groups, channels[last], 1e-6),
            conv_out=conv3(channels[last], 2 * latent),
        )
        self.decoder = Named(
            conv_in=conv3(latent, channels[last]),
            mid_block=middle(channels[last]),
            up_blocks=blocks(order[::-1], layers + 1, "upsamplers", lambda width: conv3(width, width)),
            conv_norm_out=nn.GroupNorm(groups, channels[0], 1e-6),
            conv_out=conv3(channels[0], config["out_channels"]),
        )
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)

    def middle(self, block, x):
        return block.resnets[1](block.attentions[0](block.resnets[0](x)))

    def latents(self, pixels):
        """[n, 3, h, w] in 0..1 -> scaled posterior means [n, c, h / f, w / f]."""
        net = self.encoder
        x = net.conv_in(pixels * 2 - 1)
        for block in net.down_blocks:
            for resnet in block.resnets:
                x = resnet(x)
            for down in block.downsamplers:
                x = down.conv(F.pad(x, (0, 1, 0, 1)))
        x = net.conv_out(F.silu(net.conv_norm_out(self.middle(net.mid_block, x))))
        return self.quant_conv(x).chunk(2, 1)[0] * self.scaling_factor

    def decode(self, latents):
        """Scaled latents -> [n, 3, h, w] in 0..1."""
        net = self.decoder
        x = self.middle(net.mid_block, net.conv_in(self.post_quant_conv(latents / self.scaling_factor)))
        for block in net.up_blocks:
            for resnet in block.resnets:
                x = resnet(x)
            for up in block.upsamplers:
                x = up.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        return (net.conv_out(F.silu(net.conv_norm_out(x))) / 2 + 0.5).clamp(0, 1)


def alphas_cumprod(config):
    """Of the scaled linear schedule, with epsilon prediction."""
    assert config["beta_schedule"] == "scaled_linear" and config["prediction_type"] == "epsilon"
    ends = [config["beta_start"] ** 0.5, config["beta_end"] ** 0.5]
    betas = torch.linspace(*ends, config["num_train_timesteps"]).double().square().float()
    return (1 - betas).double().cumprod(0)
