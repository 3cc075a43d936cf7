"""The composition, the structure of a batch, and the three losses of stage 1."""

import torch
import torch.nn.functional as F
from torch import nn

from .diffusion import Autoencoder, UNet, alphas_cumprod
from .encoder import ImageEncoder
from .layers import Named, Perceiver, encode_positions
from .llama import Llama

# CLIP's head, which takes no part in DEEM.
UNUSED = "image_encoder.vision.visual.head."


class Structure:
    """Where everything stands in a batch of interleaved sequences, as index tensors."""

    def __init__(self, tokens, rows, special, queries):
        """tokens: list of rows * seq ids."""
        ids = torch.tensor(tokens).view(rows, -1)
        self.ids, self.seq = ids, ids.shape[1]
        self.soi = (ids == special["soi"])[..., None].float()
        images, self.documents = [], torch.zeros_like(ids)
        for row, line in enumerate(ids.tolist()):
            document = 0
            for position, token in enumerate(line):
                document = position if token == special["bos"] else document
                self.documents[row, position] = document
                if token == special["soi"] and position + 1 < len(line):
                    images.append((row, position))
        self.images = images
        real = ids != special["pad"]
        assert (real.int().diff() <= 0).all(), "padding at the right only"
        self.positions = real.long().cumsum(1) - real.long()
        # Where visual tokens go.
        spots = [(row, soi + 1 + query) for row, soi in images for query in range(queries)]
        self.visual = torch.tensor(spots).T.unbind() if spots else None
        # The images of each row, and how far back each lies as seen from each position.
        of_row = [[i for i, image in enumerate(images) if image[0] == row] for row in range(rows)]
        self.per_row = max(map(len, of_row), default=0)
        self.slots = torch.zeros(rows, self.per_row, dtype=torch.long)
        self.relative = torch.zeros(rows, self.seq, self.per_row, dtype=torch.long)
        for row, mine in enumerate(of_row):
            for slot, index in enumerate(mine):
                self.slots[row, slot] = index
                soi = images[index][1]
                sees = (torch.arange(self.seq) >= soi) & (self.documents[row] <= soi)
                self.relative[row, sees, : slot + 1] += (self.relative[row, sees, : slot + 1] > 0).long()
                self.relative[row, sees, slot] = 1

    def contexts(self, targets):
        """Hidden states from the nearest bos to each target's <soi>, reversed in time: flat indices and
        which are real, [targets, longest]."""
        spans = []
        for row, soi in targets:
            start = self.documents[row, soi].item()
            spans.append((row * self.seq + soi, soi - start + 1))
        longest = max(length for _, length in spans)
        back = torch.arange(longest)
        rows = torch.stack([end - back.clamp_max(length - 1) for end, length in spans])
        real = torch.stack([back < length for _, length in spans])
        return rows, real


class ImageDecoder(nn.Module):
    def __init__(self, config, queries, llm_dim):
        super().__init__()
        assert config["synchronizer"] is None, "the twin has no UNet-side synchroniser"
        hidden = config["resampler"]["hidden_size"]
        self.context_feat_proj = nn.Linear(llm_dim, llm_dim)
        self.query_tokens = nn.Parameter(torch.zeros(queries, hidden))
        self.resampler = Perceiver(config["resampler"])
        self.null_condition = nn.Parameter(torch.zeros(queries, hidden))

    def forward(self, context, real, keep):
        """context: [n, s, d]; real: [n, s]; keep: [n, 1, 1], 0 for the null condition."""
        position = encode_positions(torch.arange(context.shape[1]), context.shape[2]).float()
        condition = self.resampler(self.query_tokens, self.context_feat_proj(context) + position, real)
        return condition * keep + self.null_condition * (1 - keep)


class Deem(nn.Module):
    def __init__(self, config):
        super().__init__()
        llm_dim, cross_dim = config["llama"]["hidden_size"], config["unet"]["cross_attention_dim"]
        encoder = config["image_encoder"]
        self.image_encoder = ImageEncoder(encoder, config["image_size"], llm_dim, cross_dim)
        self.llama = Llama(config["llama"], config["llama_mmfs"])
        self.text_decoder = Named(head_new=nn.Linear(llm_dim, config["new_tokens"]))
        self.soi_token = nn.Parameter(torch.zeros(llm_dim))
        self.image_decoder = ImageDecoder(config["image_decoder"], encoder["queries"], llm_dim)
        self.autoencoder, self.unet = Autoencoder(config["autoencoder"]), UNet(config["unet"])
        levels = alphas_cumprod(config["scheduler"])
        self.register_buffer("signal", levels.sqrt().float(), persistent=False)
        self.register_buffer("sigma", (1 - levels).sqrt().float(), persistent=False)

    def load(self, weights):
        self.load_state_dict({key: w for key, w in weights.items() if not key.startswith(UNUSED)})

    def embed(self, structure, embeddings):
        x = self.llama.embed(structure.ids) + structure.soi * self.soi_token
        if structure.visual is None or embeddings is None:
            return x
        return x.index_put(structure.visual, embeddings.flatten(0, 1).to(x.dtype))

    def look(self, structure, pyramid):
        """What the language model's MMFS layers look at."""
        if not structure.per_row:
            return [None] * len(self.llama.model.layers)
        return self.llama.prepare([level[structure.slots] for level in pyramid])

    def logits(self, hidden):
        # The frozen head's padding contributes -100 to appended tokens.
        return torch.cat([self.llama.logits(hidden), self.text_decoder.head_new(hidden) - 100.0], -1)

    def denoising_error(self, latents, noise, timesteps, condition):
        def level(table):
            return table[timesteps].view(-1, 1, 1, 1)

        noisy = latents * level(self.signal) + noise * level(self.sigma)
        return F.mse_loss(self.unet(noisy, timesteps, condition), noise)

    def losses(self, batch, noise):
        """text, image and feedback; `noise`: of the feedback, of the image loss."""
        structure = batch.structure
        embeddings, condition, pyramid = self.image_encoder(batch.pixels)
        latents = self.autoencoder.latents(batch.targets)
        feedback = self.denoising_error(latents, noise[0], batch.feedback_timesteps, condition)
        hidden = self.llama(
            self.embed(structure, embeddings), structure.positions, self.look(structure, pyramid), structure.relative
        ).flatten(0, 1)
        text = F.cross_entropy(self.logits(hidden[batch.counted - 1]), batch.labels)
        context = self.image_decoder(hidden[batch.context_rows], batch.context_real, batch.keep)
        chosen = latents[batch.image_targets]
        image = self.denoising_error(chosen, noise[1], batch.image_timesteps, context)
        return text, image, feedback


class Batch:
    """The dumped batch as tensors."""

    def __init__(self, step, inputs, config, memory_format):
        assert "masks" not in inputs, "the twin knows stage 1, which has no region masks"
        rows, tokens = step["batch"]["rows"], step["batch"]["tokens"]
        queries = config["image_encoder"]["queries"]
        self.structure = Structure(tokens, rows, config["tokens"], queries)
        labels = torch.tensor(step["batch"]["labels"])
        first = torch.arange(len(labels)) % self.structure.seq == 0
        self.counted = ((labels != -100) & ~first).nonzero().flatten()
        self.labels = labels[self.counted]
        self.pixels = inputs["pixels"].to(memory_format=memory_format)
        self.targets = inputs["targets"].to(memory_format=memory_format)
        self.feedback_timesteps = torch.tensor(step["feedback"]["timesteps"])
        image = step["image"]
        self.image_targets = torch.tensor(image["targets"])
        self.image_timesteps = torch.tensor(image["timesteps"])
        self.keep = 1 - torch.tensor(image["drop"]).float().view(-1, 1, 1)
        targets = [self.structure.images[i] for i in image["targets"]]
        self.context_rows, self.context_real = self.structure.contexts(targets)
        self.noise = [
            inputs[name].permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
            for name in ["feedback.noise", "image.noise"]
        ]
