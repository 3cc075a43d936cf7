"""Golden files of the objectives that correct a bare encoder: crates/engine/tests/golden/objectives, losses and their
gradients, from formulas written anew here in f64 around diffusers' UNet.

    python tools/parity/export_objectives.py

Condition tokens and dropout, denoising feedback (noise and velocity), GenHancer's straight path, un2CLIP's inversion,
DCR's contrast of predicted noise, retention of similarities.
"""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from golden import generator, normal, randomize, write

OUTPUT = Path(__file__).resolve().parents[2] / "crates/engine/tests/golden/objectives"
PICTURES, SIDE, CHANNELS, TOKENS, WIDTH = 3, 4, 4, 2, 8
STEPS, TIMESTEPS = 1000, [17, 480, 903]
UNET = {
    "in_channels": CHANNELS, "out_channels": CHANNELS, "block_out_channels": [8, 16], "layers_per_block": 1,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "cross_attention_dim": WIDTH, "attention_head_dim": 2, "norm_num_groups": 4, "use_linear_projection": True,
}
TAU, SCALE = 0.3, 9.0


def unit(x):
    return x / x.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.dim() - 1))


def main():
    gen = generator(5)
    unet = randomize(UNet2DConditionModel(**UNET), 1)
    draw = lambda *shape: normal(gen, *shape).float().double()
    maps = (PICTURES, SIDE, SIDE, CHANNELS)
    inputs = {
        "latents": draw(*maps), "noise": draw(*maps), "tokens": draw(PICTURES, TOKENS, WIDTH),
        "second": draw(PICTURES, TOKENS, WIDTH), "embeds": draw(PICTURES, 6), "eta": draw(PICTURES, 6),
        "reference": draw(PICTURES, 6), "texts": unit(draw(5, 6)).float().double(), "null": draw(1, WIDTH),
        "places": draw(PICTURES, 5, WIDTH), "pooled": draw(PICTURES, WIDTH),
        "project_weight": draw(WIDTH, 6), "project_bias": draw(WIDTH),
    }
    latents, noise = inputs["latents"], inputs["noise"]
    steps = torch.tensor(TIMESTEPS)
    column = lambda values: values.reshape(-1, 1, 1, 1).double()

    # Stable Diffusion's schedule; betas and alphas are rounded to f32 as in diffusers.
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, STEPS, dtype=torch.float64).square().float()
    alphas = (1.0 - betas.double()).float().double().cumprod(0)[steps]
    signal, sigma = column(alphas.sqrt()), column((1 - alphas).sqrt())
    paths = {
        "epsilon": (signal * latents + sigma * noise, noise),
        "velocity": (signal * latents + sigma * noise, signal * noise - sigma * latents),
    }
    time = column((steps.double() + 0.5) / STEPS)
    paths["flow"] = ((1 - time) * latents + time * noise, noise - latents)

    def predict(path, tokens):
        noisy = paths[path][0].permute(0, 3, 1, 2)
        return unet(noisy, steps, tokens).sample.permute(0, 2, 3, 1)

    def error(path, tokens):
        return (predict(path, tokens) - paths[path][1]).square().mean()

    def contrast(tokens, second, negatives):
        anchor, target = unit(predict("epsilon", tokens)), unit(paths["epsilon"][1])
        cosine = lambda other: (anchor * other).flatten(1).sum(1) / TAU
        positives = [cosine(target)]
        if second is not None:
            positives.append(cosine(unit(predict("epsilon", second))))
        others = [cosine(unit(predict("epsilon", tokens.roll(-shift, 0)))) for shift in range(1, negatives + 1)]
        denominator = sum(c.exp() for c in positives + others)
        return sum((denominator.log() - c).mean() for c in positives) / len(positives)

    def inversion(embeds):
        standard = unit(embeds) * embeds.shape[1] ** 0.5 + 0.5 * inputs["eta"]
        tokens = standard @ inputs["project_weight"].T + inputs["project_bias"]
        return error("epsilon", tokens[:, None])

    def text_retention(embeds):
        of = lambda images: (unit(images) @ inputs["texts"].T * SCALE).log_softmax(1)
        before = of(inputs["reference"])
        return (before.exp() * (before - of(embeds))).sum(1).mean()

    def image_retention(embeds):
        of = lambda images: unit(images) @ unit(images).T
        change = (of(embeds) - of(inputs["reference"])).square()
        return change.sum() / (PICTURES * (PICTURES - 1))  # the diagonal does not change

    cases = {
        "feedback_epsilon": ("tokens", lambda x: error("epsilon", x)),
        "feedback_velocity": ("tokens", lambda x: error("velocity", x)),
        "flow": ("tokens", lambda x: error("flow", x)),
        "inversion": ("embeds", inversion),
        "contrast": ("tokens", lambda x: contrast(x, None, 2)),
        "contrast_second": ("tokens", lambda x: contrast(x, inputs["second"], 1)),
        "text_retention": ("embeds", text_retention),
        "image_retention": ("embeds", image_retention),
    }
    tensors = {f"weight.{key}": value for key, value in unet.named_parameters()}
    tensors |= {f"input.{key}": value for key, value in inputs.items()}
    losses = {}
    for name, (argument, loss) in cases.items():
        x = inputs[argument].clone().requires_grad_()
        value = loss(x)
        losses[name] = value.item()
        tensors[f"grad.{name}"] = torch.autograd.grad(value, x)[0]
    kept = [[0, 3], [1, 4], [2, 3]]
    local = torch.stack([inputs["places"][i, k] for i, k in enumerate(kept)])
    both = torch.cat([inputs["pooled"][:, None], local], 1)
    dropped = both.clone()
    dropped[1] = inputs["null"]
    tensors |= {"output.both": both, "output.dropped": dropped}
    size = write(OUTPUT, tensors, {
        "unet": UNET, "timesteps": TIMESTEPS, "steps": STEPS, "kept": kept, "temperature": TAU, "scale": SCALE, "losses": losses,
    })
    print(size, losses)


if __name__ == "__main__":
    main()
