#!/usr/bin/env python3
"""One data2vec training step in PyTorch, timed, for `cargo xtask bench --peer` and `d2v gpu-check --peer`.

    python torch_step.py --case vision --batch 8
    python torch_step.py --case audio --batch 64 --device cuda --dtype bf16 --compile
    python torch_step.py --case text --batch 4 --impl hf

`--impl lean` is the step as one writes it by hand for speed: fused attention, fused AdamW, one kernel launch for many
tensors in the moving average. `--impl hf` puts the models of the package `transformers` in the place of the network.
Both train: the teacher reads the whole input without gradients, the student the masked one, the loss is at the hidden
positions, then come gradients, clipping, AdamW and the moving average. Input is noise; it and the masks are made
outside the timed region. There is no dropout.

Prints one line, a JSON object whose keys are those of `d2v bench-step --json`. Known to run with PyTorch 2.11 and
transformers 5.
"""

import argparse
import copy
import json
import resource
import statistics
import time
from dataclasses import dataclass
from typing import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = {"tiny": 192, "small": 384, "base": 768, "large": 1024}
DEPTHS = {"tiny": 12, "small": 12, "base": 12, "large": 24}
HEAD_WIDTH = 64
SAMPLE_RATE = 16_000
TEXT_TOKENS = 512
VOCABULARY = 50_265
MASK_ID = VOCABULARY - 1
# (kernel, stride) of the convolutions on sound, each with 512 channels.
WAVE_LAYERS = [(10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)]
WAVE_CHANNELS = 512
POSITIONAL = {"layers": 5, "kernel": 19, "groups": 16}


# ---------------------------------------------------------------- the network, by hand


class Attention(nn.Module):
    """Self-attention. With `key_bias` off, the projection has a bias for queries and values alone, as in BEiT."""

    def __init__(self, width: int, key_bias: bool):
        super().__init__()
        self.project = nn.Linear(width, 3 * width, bias=key_bias)
        self.query_value_bias = None if key_bias else nn.Parameter(torch.zeros(2, width))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, logit_bias: Tensor | None) -> Tensor:
        bias = self.project.bias
        if self.query_value_bias is not None:
            query, value = self.query_value_bias
            bias = torch.cat([query, torch.zeros_like(query), value])
        qkv = F.linear(x, self.project.weight, bias).unflatten(-1, (3, -1, HEAD_WIDTH))
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        if logit_bias is not None:
            logit_bias = logit_bias.to(q.dtype)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=logit_bias)
        return self.out(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Sequential):
    def __init__(self, width: int):
        super().__init__(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class PreNormBlock(nn.Module):
    """Of images: norms in front, learned scales behind. What targets are made of is the block's output."""

    def __init__(self, width: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.attention, self.feed_forward = Attention(width, key_bias=False), FeedForward(width)
        self.scales = nn.ParameterList(torch.full((width,), 1e-4) for _ in range(2))

    def forward(self, x: Tensor, logit_bias: Tensor | None) -> tuple[Tensor, Tensor]:
        x = torch.addcmul(x, self.scales[0], self.attention(self.norms[0](x), logit_bias))
        x = torch.addcmul(x, self.scales[1], self.feed_forward(self.norms[1](x)))
        return x, x


class PostNormBlock(nn.Module):
    """Of speech and text: norms behind the sums. What targets are made of is the feed-forward output."""

    def __init__(self, width: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention, self.feed_forward = Attention(width, key_bias=True), FeedForward(width)

    def forward(self, x: Tensor, logit_bias: Tensor | None) -> tuple[Tensor, Tensor]:
        x = self.norms[0](x + self.attention(x, logit_bias))
        inner = self.feed_forward(x)
        return self.norms[1](x + inner), inner


class RelativeBias(nn.Module):
    """A learned number per head and offset between patches, shared by all blocks, with rows for the class token."""

    def __init__(self, heads: int, side: int):
        super().__init__()
        span = 2 * side - 1
        place = torch.arange(side * side)
        row, column = place // side, place % side
        offset = lambda axis: axis[:, None] - axis[None, :] + side - 1
        to_class, from_class, own = span * span, span * span + 1, span * span + 2
        index = F.pad(offset(row) * span + offset(column), (1, 0, 1, 0))
        index[:, 0], index[0, :], index[0, 0] = to_class, from_class, own
        self.register_buffer("index", index)
        self.table = nn.Parameter(torch.zeros(heads, span * span + 3))

    def forward(self) -> Tensor:
        return self.table[:, self.index].unsqueeze(0)


class Pictures(nn.Module):
    """Patches of 16 pixels on 224, and a class token in front."""

    extra_tokens = 1

    def __init__(self, width: int):
        super().__init__()
        self.patches = nn.Conv2d(3, width, kernel_size=16, stride=16)
        self.class_token = nn.Parameter(torch.zeros(width))
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.bias = RelativeBias(width // HEAD_WIDTH, side=14)

    def features(self, pictures: Tensor) -> Tensor:
        return self.patches(pictures).flatten(2).mT

    def tokens(self, features: Tensor, hidden: Tensor | None) -> Tensor:
        features = replace(features, hidden, self.mask_token)
        front = self.class_token.to(features.dtype).expand(len(features), 1, -1)
        return torch.cat([front, features], dim=1)

    def logit_bias(self) -> Tensor:
        return self.bias()


class ConvNormGelu(nn.Module):
    """A convolution over time, layer norm over channels, GELU; `[B, C, T]` in and out."""

    def __init__(self, conv: nn.Conv1d, affine: bool):
        super().__init__()
        self.conv, self.norm = conv, nn.LayerNorm(conv.out_channels, elementwise_affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.norm(self.conv(x).mT)).mT


class Sound(nn.Module):
    """Seven convolutions on the waveform; the output of five grouped ones is added for the positions."""

    extra_tokens = 0

    def __init__(self, width: int):
        super().__init__()
        channels = [1] + [WAVE_CHANNELS] * len(WAVE_LAYERS)
        self.wave = nn.Sequential(
            *(
                ConvNormGelu(nn.Conv1d(inside, outside, kernel, stride, bias=False), affine=True)
                for inside, outside, (kernel, stride) in zip(channels, channels[1:], WAVE_LAYERS)
            )
        )
        self.project = nn.Sequential(nn.LayerNorm(WAVE_CHANNELS), nn.Linear(WAVE_CHANNELS, width))
        kernel, groups = POSITIONAL["kernel"], POSITIONAL["groups"]
        self.position = nn.Sequential(
            *(
                ConvNormGelu(nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups), affine=False)
                for _ in range(POSITIONAL["layers"])
            )
        )
        self.norm = nn.LayerNorm(width)
        self.mask_token = nn.Parameter(torch.zeros(width))

    def features(self, samples: Tensor) -> Tensor:
        return self.project(self.wave(samples.unsqueeze(1)).mT)

    def tokens(self, features: Tensor, hidden: Tensor | None) -> Tensor:
        x = replace(features, hidden, self.mask_token)
        return self.norm(x + self.position(x.mT).mT)

    def logit_bias(self) -> None:
        return None


class Words(nn.Module):
    """Embeddings of ids and of places."""

    extra_tokens = 0

    def __init__(self, width: int):
        super().__init__()
        self.ids = nn.Embedding(VOCABULARY, width)
        self.places = nn.Parameter(0.02 * torch.randn(TEXT_TOKENS, width))
        self.norm = nn.LayerNorm(width)

    def features(self, ids: Tensor) -> Tensor:
        return ids

    def tokens(self, ids: Tensor, hidden: Tensor | None) -> Tensor:
        if hidden is not None:
            ids = ids.masked_fill(hidden, MASK_ID)
        return self.norm(self.ids(ids) + self.places[: ids.shape[1]])

    def logit_bias(self) -> None:
        return None


def replace(features: Tensor, hidden: Tensor | None, token: Tensor) -> Tensor:
    if hidden is None:
        return features
    return torch.where(hidden.unsqueeze(-1), token.to(features.dtype), features)


class Network(nn.Module):
    """Front end and Transformer. A call takes what `features` returns."""

    def __init__(self, front_end: nn.Module, block: type[nn.Module], width: int, depth: int):
        super().__init__()
        self.front_end = front_end
        self.blocks = nn.ModuleList(block(width) for _ in range(depth))
        final = block is PreNormBlock
        self.norm = nn.LayerNorm(width, eps=1e-6) if final else nn.Identity()

    def features(self, inputs: Tensor) -> Tensor:
        return self.front_end.features(inputs)

    def _run(self, features: Tensor, hidden: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        x, inner = self.front_end.tokens(features, hidden), []
        logit_bias = self.front_end.logit_bias()
        for block in self.blocks:
            x, layer = block(x, logit_bias)
            inner.append(layer)
        return x, inner

    def layers(self, features: Tensor, top: int) -> list[Tensor]:
        """What targets are made of: the last `top` layers, `[B, L, D]` each."""
        _, inner = self._run(features, None)
        return [layer[:, self.front_end.extra_tokens :] for layer in inner[-top:]]

    def forward(self, features: Tensor, hidden: Tensor) -> Tensor:
        """`[B, L, D]`, of the masked input."""
        x, _ = self._run(features, hidden)
        return self.norm(x)[:, self.front_end.extra_tokens :]


# ---------------------------------------------------------------- the network, of transformers


class Transformers(nn.Module):
    """A model of the package `transformers` with the calls of `Network`; its front end is part of every call."""

    def __init__(self, case: str, width: int, depth: int):
        super().__init__()
        import transformers

        shape = {
            "hidden_size": width,
            "num_hidden_layers": depth,
            "num_attention_heads": width // HEAD_WIDTH,
            "intermediate_size": 4 * width,
        }
        off = ["hidden_dropout_prob", "attention_probs_dropout_prob"]
        if case == "vision":
            config, model = transformers.Data2VecVisionConfig, transformers.Data2VecVisionModel
            off.append("drop_path_rate")
            shape |= {"use_mask_token": True, "use_shared_relative_position_bias": True}
            self.mask_argument = "bool_masked_pos"
        elif case == "audio":
            config, model = transformers.Data2VecAudioConfig, transformers.Data2VecAudioModel
            off = ["hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "layerdrop"]
            self.mask_argument = "mask_time_indices"
        else:
            config, model = transformers.Data2VecTextConfig, transformers.Data2VecTextModel
            # Its positions count from the id of padding on.
            shape |= {"vocab_size": VOCABULARY, "max_position_embeddings": TEXT_TOKENS + 2, "type_vocab_size": 1}
            self.mask_argument = None
        self.model = model(config(**shape, **dict.fromkeys(off, 0.0)))
        self.extra_tokens = 1 if case == "vision" else 0

    def features(self, inputs: Tensor) -> Tensor:
        return inputs

    def layers(self, inputs: Tensor, top: int) -> list[Tensor]:
        states = self.model(inputs, output_hidden_states=True).hidden_states
        return [state[:, self.extra_tokens :] for state in states[-top:]]

    def forward(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        if self.mask_argument is None:
            out = self.model(inputs.masked_fill(hidden, MASK_ID))
        else:
            out = self.model(inputs, **{self.mask_argument: hidden})
        return out.last_hidden_state[:, self.extra_tokens :]


# ---------------------------------------------------------------- what the cases differ in


def over_channels(layer: Tensor) -> Tensor:
    return F.layer_norm(layer, layer.shape[-1:])


def over_time(layer: Tensor) -> Tensor:
    return F.instance_norm(layer.mT).mT


def smooth_l1(beta: float, scale: Callable[[int], float]) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(predictions: Tensor, targets: Tensor) -> Tensor:
        total = F.smooth_l1_loss(predictions, targets, beta=beta, reduction="sum")
        return total * scale(targets.shape[1]) / targets.shape[0]

    return loss


def squared(predictions: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(predictions, targets, reduction="sum") / targets.shape[1] ** 0.5 / targets.shape[0]


def linear_head(width: int) -> nn.Module:
    return nn.Linear(width, width)


def mlp_head(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


@dataclass(frozen=True)
class Case:
    front_end: type[nn.Module]
    block: type[nn.Module]
    head: Callable[[int], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    normalise: Callable[[Tensor], Tensor]
    normalise_sum: bool
    top_layers: int
    hidden_share: float
    # The teacher reads the student's front end instead of having one of its own.
    shared_front_end: bool


CASES = {
    "vision": Case(
        Pictures, PreNormBlock, linear_head, smooth_l1(2.0, lambda width: 1 / width), over_channels, True, 6, 0.6, False
    ),
    "audio": Case(Sound, PostNormBlock, linear_head, squared, over_time, False, 8, 0.49, True),
    "text": Case(
        Words, PostNormBlock, mlp_head, smooth_l1(4.0, lambda width: 1.0), over_channels, False, 10, 0.15, False
    ),
}


# ---------------------------------------------------------------- the step


class Learner:
    """Student, head, teacher, optimizer; `step` is what is timed."""

    def __init__(self, case: str, impl: str, size: str, device: torch.device, dtype: str, compiled: bool):
        self.case = CASES[case]
        width, depth = WIDTHS[size], DEPTHS[size]
        if impl == "lean":
            student = Network(self.case.front_end(width), self.case.block, width, depth)
        else:
            student = Transformers(case, width, depth)
        self.student = student.to(device).train()
        self.head = self.case.head(width).to(device)
        self.top = min(self.case.top_layers, depth)
        self.shares = impl == "lean" and self.case.shared_front_end
        self.teacher = copy.deepcopy(self.student).eval().requires_grad_(False)
        if self.shares:
            self.teacher.front_end.wave = self.teacher.front_end.project = None
        by_name = dict(self.student.named_parameters())
        self.averaged = [parameter for _, parameter in self.teacher.named_parameters()]
        self.followed = [by_name[name] for name, _ in self.teacher.named_parameters()]
        self.learned = [*self.student.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.AdamW(self.learned, lr=5e-4, fused=True)
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bf16")
        self.loss = torch.compile(self._loss) if compiled else self._loss

    def _targets(self, features: Tensor, hidden: Tensor) -> Tensor:
        layers = self.teacher.layers(features, self.top)
        total = self.case.normalise(layers[0].float())
        for layer in layers[1:]:
            total = total + self.case.normalise(layer.float())
        mean = total / len(layers)
        return (self.case.normalise(mean) if self.case.normalise_sum else mean)[hidden]

    def _loss(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        with self.autocast:
            features = self.student.features(inputs)
            with torch.no_grad():
                seen = features if self.shares else self.teacher.features(inputs)
                targets = self._targets(seen, hidden)
            predictions = self.head(self.student(features, hidden)[hidden])
        return self.case.loss(predictions.float(), targets)

    def step(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        loss = self.loss(inputs, hidden)
        loss.backward()
        nn.utils.clip_grad_norm_(self.learned, max_norm=3.0, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(self.averaged, self.followed, weight=1e-3)
        return loss.detach()


# ---------------------------------------------------------------- noise, counting, timing


def wave_lengths(samples: int) -> list[int]:
    """Outputs of each convolution on so many samples."""
    lengths = []
    for kernel, stride in WAVE_LAYERS:
        samples = (samples - kernel) // stride + 1
        lengths.append(samples)
    return lengths


def positions(case: str, seconds: float) -> int:
    if case == "audio":
        return wave_lengths(int(seconds * SAMPLE_RATE))[-1]
    return 14 * 14 if case == "vision" else TEXT_TOKENS


def noise(case: str, batch: int, seconds: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Inputs, and the positions `[B, L]` that are hidden: equally many in every row."""
    count = positions(case, seconds)
    hidden = torch.zeros(batch, count, dtype=torch.bool)
    chosen = torch.rand(batch, count).topk(round(CASES[case].hidden_share * count)).indices
    hidden.scatter_(1, chosen, True)
    if case == "vision":
        inputs = torch.randn(batch, 3, 224, 224, device=device)
    elif case == "audio":
        inputs = torch.randn(batch, int(seconds * SAMPLE_RATE), device=device)
    else:
        inputs = torch.randint(4, MASK_ID, (batch, count), device=device)
    return inputs, hidden.to(device)


def model_flops(case: str, size: str, batch: int, seconds: float) -> int:
    """Matrix products of a step: teacher, student, and twice the student for its gradients.

    Class token and head are left out; convolutions on sound run for the student alone, whoever else may read them.
    """
    d, depth, count = WIDTHS[size], DEPTHS[size], positions(case, seconds)
    linear, attention = 12 * d * d, 2 * count * d
    forward = depth * count * 2 * (linear + attention)
    for_student = 0
    if case == "vision":
        forward += count * 2 * (3 * 16 * 16) * d
    elif case == "audio":
        kernel, layers, groups = POSITIONAL["kernel"], POSITIONAL["layers"], POSITIONAL["groups"]
        forward += layers * (count * 2 * d * d // groups * kernel)
        inside = 1
        for length, (kernel, _) in zip(wave_lengths(int(seconds * SAMPLE_RATE)), WAVE_LAYERS):
            for_student += length * 2 * kernel * inside * WAVE_CHANNELS
            inside = WAVE_CHANNELS
        for_student += count * 2 * WAVE_CHANNELS * d
    return batch * (4 * forward + 3 * for_student)


def peak_mib(device: torch.device) -> int:
    """Of tensors on CUDA, of the whole process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, default="vision")
    parser.add_argument("--impl", choices=["lean", "hf"], default="lean")
    parser.add_argument("--size", choices=WIDTHS, default="base")
    parser.add_argument("--batch", type=int, default=8, help="samples per step")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each sound")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--dtype", choices=["f32", "tf32", "bf16"], default="f32", help="of matrix products")
    parser.add_argument("--compile", action="store_true", help="by torch.compile")
    parser.add_argument("--steps", type=int, default=7, help="steps timed")
    parser.add_argument("--warmup", type=int, default=2, help="steps before, not timed")
    parser.add_argument("--threads", type=int, help="of the CPU; without it, PyTorch's choice")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(args.device)
    torch.set_float32_matmul_precision("highest" if args.dtype == "f32" else "high")
    torch.backends.cudnn.allow_tf32 = args.dtype != "f32"
    learner = Learner(args.case, args.impl, args.size, device, args.dtype, args.compile)

    def finish() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    times_ms = []
    for index in range(args.warmup + args.steps):
        inputs, hidden = noise(args.case, args.batch, args.seconds, device)
        finish()
        start = time.perf_counter()
        loss = learner.step(inputs, hidden)
        finish()
        if index >= args.warmup:
            times_ms.append(1e3 * (time.perf_counter() - start))
    ms = statistics.median(times_ms)
    flops = model_flops(args.case, args.size, args.batch, args.seconds)
    result = {
        "peer": "pytorch",
        "impl": args.impl,
        "compiled": args.compile,
        "case": args.case,
        "size": args.size,
        "batch": args.batch,
        "tokens": positions(args.case, args.seconds),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "dtype": args.dtype,
        "threads": torch.get_num_threads(),
        "steps": len(times_ms),
        "ms_per_step": ms,
        "ms_min": min(times_ms),
        "ms_max": max(times_ms),
        "samples_per_s": 1e3 * args.batch / ms,
        "step_gflop": flops / 1e9,
        "tflops": flops / ms / 1e9,
        "loss": loss.item(),
        "peak_mib": peak_mib(device),
        "parameters": sum(parameter.numel() for parameter in learner.learned),
        "torch": torch.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
