"""CLIP's towers: transformers and timm."""

import torch
from timm.models.convnext import ConvNeXt
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel
from transformers import SiglipTextConfig, SiglipTextModel, SiglipVisionConfig, SiglipVisionModel

ACTIVATIONS = [
    "gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "hardswish",
    "laplace", "leaky_relu", "linear", "mish", "quick_gelu", "relu", "relu2", "relu6", "sigmoid", "silu", "swish",
    "tanh",
]


def size(choice, small, large):
    """Mostly small; sometimes large enough for several blocks of a kernel and no multiple of any of them."""
    return choice.randint(1, large) if choice.random() < 0.1 else choice.randint(*small)


def activation(choice):
    """Mostly the usual ones."""
    return choice.choice(choice.choice([["quick_gelu"], ["gelu"], ACTIVATIONS]))


class Prefixed(torch.nn.Module):
    """A module whose keys in the file start differently, with strangers beside it."""

    def __init__(self, module, old, new, strangers):
        super().__init__()
        self.module, self.old, self.new, self.strangers = module, old, new, strangers

    def state_dict(self):
        state = {self.new + k.removeprefix(self.old): v for k, v in self.module.state_dict().items()}
        return state | {key: torch.randn(3, 2) for key in self.strangers}


def with_prefix(choice, module, prefix, strangers):
    """The same keys with the prefix, with it and the rest of a whole CLIP, or without it."""
    kind = choice.randrange(3)
    return Prefixed(module, prefix, "" if kind == 0 else prefix, strangers if kind == 1 else [])


def vit(choice):
    heads = choice.choice([1, 2, 3, 4])
    patch = choice.randint(2, 9)
    config = CLIPVisionConfig(
        hidden_size=heads * size(choice, (3, 14), 100),
        intermediate_size=size(choice, (5, 60), 700),
        num_hidden_layers=choice.randint(0, 4),
        num_attention_heads=heads,
        num_channels=choice.choice([3, 3, 1, 4]),
        image_size=patch * choice.randint(1, 6) + choice.choice([0, 0, choice.randrange(patch)]),
        patch_size=patch,
        hidden_act=activation(choice),
        layer_norm_eps=choice.choice([1e-5, 1e-6, 1e-3]),
        projection_dim=choice.randint(3, 9),
    )
    model = CLIPVisionModel(config)
    height = width = config.image_size
    if choice.random() < 0.3:
        height, width = (patch * size(choice, (1, 7), 25) + choice.randrange(patch) for _ in range(2))
    other = (height, width) != (config.image_size, config.image_size)
    inputs = {"pixel_values": torch.randn(choice.randint(1, 3), config.num_channels, height, width)}

    def run(pixel_values):
        output = model(pixel_values=pixel_values, interpolate_pos_encoding=other)
        return {"last_hidden_state": output.last_hidden_state, "pooler_output": output.pooler_output}

    strangers = ["visual_projection.weight", "text_projection.weight", "logit_scale", "text_model.final_layer_norm.bias"]
    return config.to_dict(), with_prefix(choice, model, "vision_model.", strangers), inputs, run


def text(choice):
    heads = choice.choice([1, 2, 3, 4])
    vocabulary = choice.randint(8, 90)
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=heads * size(choice, (3, 14), 100),
        intermediate_size=size(choice, (5, 60), 700),
        num_hidden_layers=choice.randint(0, 4),
        num_attention_heads=heads,
        max_position_embeddings=choice.choice([77, choice.randint(5, 40)]),
        hidden_act=activation(choice),
        layer_norm_eps=choice.choice([1e-5, 1e-6, 1e-3]),
        pad_token_id=1,
        bos_token_id=vocabulary - 2,
        eos_token_id=choice.choice([2, vocabulary - 1]),
    )
    model = CLIPTextModel(config)
    batch, length = choice.randint(1, 3), choice.randint(1, config.max_position_embeddings)
    inputs = {"input_ids": torch.randint(0, vocabulary, (batch, length))}
    if choice.random() < 0.3:
        mask = torch.ones(batch, length, dtype=torch.int64)
        for row in range(batch):
            count = choice.randint(0, length - 1)
            if choice.random() < 0.7:
                mask[row, length - count :] = 0
            else:
                mask[row, :count] = 0
        inputs["attention_mask"] = mask

    def run(input_ids, attention_mask=None):
        output = model(input_ids=input_ids, attention_mask=attention_mask)
        return {"last_hidden_state": output.last_hidden_state, "pooler_output": output.pooler_output}

    strangers = ["text_projection.weight", "visual_projection.weight", "logit_scale", "vision_model.post_layernorm.bias"]
    return config.to_dict(), with_prefix(choice, model, "text_model.", strangers), inputs, run


def siglip(choice):
    heads = choice.choice([1, 2, 3, 4])
    patch = choice.randint(2, 9)
    config = SiglipVisionConfig(
        hidden_size=heads * size(choice, (3, 14), 100),
        intermediate_size=size(choice, (5, 60), 700),
        num_hidden_layers=choice.randint(0, 4),
        num_attention_heads=heads,
        num_channels=choice.choice([3, 3, 1, 4]),
        image_size=patch * choice.randint(1, 6) + choice.choice([0, 0, choice.randrange(patch)]),
        patch_size=patch,
        hidden_act=choice.choice(["gelu_pytorch_tanh", "gelu_pytorch_tanh", activation(choice)]),
        layer_norm_eps=choice.choice([1e-5, 1e-6, 1e-3]),
    )
    model = SiglipVisionModel(config)
    inputs = {"pixel_values": torch.randn(choice.randint(1, 3), config.num_channels, config.image_size, config.image_size)}

    def run(pixel_values):
        output = model(pixel_values=pixel_values)
        return {"last_hidden_state": output.last_hidden_state, "pooler_output": output.pooler_output}

    strangers = ["logit_scale", "logit_bias", "text_model.head.bias"]
    return config.to_dict(), below(choice, model, "vision_model.", strangers), inputs, run


def siglip_text(choice):
    heads = choice.choice([1, 2, 3, 4])
    width = heads * size(choice, (3, 14), 100)
    config = SiglipTextConfig(
        vocab_size=choice.randint(8, 90),
        hidden_size=width,
        intermediate_size=size(choice, (5, 60), 700),
        num_hidden_layers=choice.randint(0, 4),
        num_attention_heads=heads,
        max_position_embeddings=choice.randint(5, 64),
        projection_size=choice.choice([width, choice.randint(3, 40)]),
    )
    model = SiglipTextModel(config)
    inputs = {"input_ids": torch.randint(0, config.vocab_size, (choice.randint(1, 3), choice.randint(1, config.max_position_embeddings)))}

    def run(input_ids):
        output = model(input_ids=input_ids)
        return {"last_hidden_state": output.last_hidden_state, "pooler_output": output.pooler_output}

    strangers = ["logit_scale", "logit_bias", "vision_model.post_layernorm.bias"]
    return config.to_dict(), below(choice, model, "text_model.", strangers), inputs, run


def below(choice, module, prefix, strangers):
    """The module's own keys, those with the prefix, or the latter and the rest of a whole SigLIP."""
    kind = choice.randrange(3)
    return Prefixed(module, "", "" if kind == 0 else prefix, strangers if kind == 1 else [])


def convnext(choice):
    config = {
        "depths": [choice.randint(0, 3) for _ in range(4)],
        "dims": [size(choice, (3, 26), 150) for _ in range(4)],
        "patch_size": choice.choice([2, 4, 4, 4, 8, 16]),
    }
    if choice.random() < 0.3:
        config |= {"ls_init_value": choice.choice([None, 1e-6, 0.5]), "kernel_sizes": choice.choice([3, 5, 7])}
    if choice.random() < 0.2:
        config["in_chans"] = choice.choice([1, 4])
    if choice.random() < 0.2:
        config["norm_eps"] = choice.choice([None, 1e-5, 1e-3])
    model = ConvNeXt(**config, num_classes=choice.choice([0, 5]))
    reduction = config["patch_size"] * (16 if config["patch_size"] == 2 else 8)
    sides = [reduction * size(choice, (1, 3), 6) + choice.choice([0, 0, choice.randrange(reduction)]) for _ in range(2)]
    inputs = {"pixel_values": torch.randn(choice.randint(1, 2), config.get("in_chans", 3), *sides)}

    def run(pixel_values):
        x, stages = model.stem(pixel_values), {}
        for number, stage in enumerate(model.stages):
            x = stages[f"stage_{number + 1}"] = stage(x)
        return {"stage_4": x} | stages

    prefix = choice.choice(["", "visual.trunk."])
    strangers = ["visual.head.mlp.fc1.weight", "visual.head.proj.weight", "logit_scale", "text.ln_final.weight"]
    return config, Prefixed(model, "", prefix, strangers if prefix else []), inputs, run
