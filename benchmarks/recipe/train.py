"""The recipe of atelier's weights: `python -m benchmarks.recipe.train --out FOLDER STAGE`, stages in the order below.

    pool      render the training pictures
    vae       train the autoencoder
    latents   encode the pool
    denoiser  train UNet and text encoder together; `--minutes` ends a session, the next one continues
    save      write the diffusers pipeline as fp16 safetensors
    examples  make the pictures that the oracle learns from; a finished pipeline draws some of them
    oracle    train the classifier that reads pictures

All stages are seeded by `--seed`. The shipped weights have seed 1. Pool, vae, latents, examples and oracle were made
with the defaults. The denoiser was trained with batch 32 in several sessions, each with an initial learning rate of
about 4e-4: 7,800 steps with Stable Diffusion's betas and 1,400 with atelier's, both with a tenth of empty captions;
6,800 steps with four tenths of empty captions; 4,000 steps with wrong captions as well. One session with the defaults
gives similar weights, not the same bits.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.recipe.components import build_scheduler, build_text_encoder, build_unet, build_vae
from benchmarks.recipe.oracle import example_sizes, make_examples, train_oracle
from benchmarks.recipe.pictures import as_tensor
from benchmarks.recipe.vocabulary import build_tokenizer
from pruneguard.atelier import world
from pruneguard.atelier.oracle import labels_of, scene_of
from pruneguard.cli.options import Names
from pruneguard.models import Pipeline, load_pipeline
from pruneguard.training.attention import PlainAttention


def shows(scene: world.Scene, words: Sequence[str]) -> bool:
    """Whether the scene has one of these objects, styles, colours or dresses."""
    return bool({scene.object, scene.style, scene.colour, scene.dress} & set(words))


def _render_chunk(seed: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    chosen = [world.sample_scene(rng) for _ in range(count)]
    images = np.stack([world.render(scene, rng) for scene in chosen])
    return images, labels_of(chosen)


def make_pool(out: Path, size: int, seed: int, chunk: int = 1024) -> None:
    """Renders `size` pictures with their labels into out/pool; captions are drawn from the labels during training."""
    seeds = [seed * 1_000_003 + i for i in range(math.ceil(size / chunk))]
    with ProcessPoolExecutor() as executor:
        parts = list(executor.map(_render_chunk, seeds, [chunk] * len(seeds)))
    folder = out / "pool"
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", np.concatenate([part[0] for part in parts])[:size])
    np.save(folder / "labels.npy", np.concatenate([part[1] for part in parts])[:size])


def _cosine(step: int, steps: int, warmup: int = 100) -> float:
    return min(step / warmup, 1.0) * (0.5 + 0.5 * math.cos(math.pi * min(step / steps, 1.0)))


def _log(stage: str, step: int, steps: int, started: float, **values: float) -> None:
    text = "  ".join(f"{key} {value:.4f}" for key, value in values.items())
    print(f"{stage} {step}/{steps}  {text}  {time.monotonic() - started:.0f} s", flush=True)


def _edges(x: Tensor) -> Tensor:
    return torch.cat([(x[..., 1:, :] - x[..., :-1, :]).flatten(1), (x[..., 1:] - x[..., :-1]).flatten(1)], 1)


def train_vae(out: Path, steps: int, batch: int, lr: float, seed: int) -> None:
    """Trains the autoencoder: MSE + 0.3 L1 + 0.5 L1 of the edges + 1e-4 KL."""
    torch.manual_seed(seed)
    rng, images = np.random.default_rng(seed), np.load(out / "pool/images.npy", mmap_mode="r")
    vae = build_vae()
    optimiser = torch.optim.AdamW(vae.parameters(), lr, betas=(0.9, 0.99), weight_decay=1e-4)
    started = time.monotonic()
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = lr * _cosine(step, steps)
        x = as_tensor(images[np.sort(rng.integers(len(images), size=batch))])
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            y = vae.decode(posterior.sample()).sample
        y = y.float()
        kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        loss = F.mse_loss(y, x) + 0.3 * F.l1_loss(y, x) + 0.5 * F.l1_loss(_edges(y), _edges(x)) + 1e-4 * kl
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        if step % 50 == 0:
            _log("vae", step, steps, started, loss=loss.item(), mse=F.mse_loss(y, x).item(), kl=kl.item())
        if step % 500 == 0 or step == steps:
            save_file(vae.state_dict(), out / "vae.safetensors")


def _load_vae(out: Path) -> Any:
    vae = build_vae()
    vae.load_state_dict(load_file(out / "vae.safetensors"))
    return vae.eval().requires_grad_(False)


def adopt_pipeline(out: Path, folder: Path) -> None:
    """Takes the autoencoder of a finished pipeline, so that only the denoiser is trained."""
    vae = load_pipeline(folder).vae
    save_file({key: value.float().contiguous() for key, value in vae.state_dict().items()}, out / "vae.safetensors")


def encode_pool(out: Path, size: int, batch: int = 128) -> None:
    """Writes posterior means (N, 4, 16, 16) of the first `size` pictures, and their standard deviation."""
    images, vae = np.load(out / "pool/images.npy", mmap_mode="r")[:size], _load_vae(out)
    parts = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for i in range(0, len(images), batch):
            parts.append(vae.encode(as_tensor(images[i : i + batch])).latent_dist.mean.float())
    latents = torch.cat(parts).contiguous()
    save_file({"latents": latents, "std": latents.std().reshape(1)}, out / "latents.safetensors")


class _Captions:
    """Token rows (32,) of captions; the caption of a picture is drawn anew for each batch."""

    def __init__(self, labels: NDArray[np.int64], seed: int) -> None:
        self.tokenizer, self.labels, self.rng = build_tokenizer(), labels, np.random.default_rng(seed)
        self.cache: dict[str, list[int]] = {}

    def tokens(self, caption: str) -> list[int]:
        if caption not in self.cache:
            row = self.tokenizer(caption, padding="max_length", truncation=True)["input_ids"]
            self.cache[caption] = [int(token) for token in row]
        return self.cache[caption]

    def batch(self, chosen: NDArray[np.int64], dropout: float, wrong: Sequence[float]) -> Tensor:
        """Caption rows (B, 32): a picture's own, or with probability `wrong` another's; a share `dropout` is empty."""
        rows = []
        for index, probability in zip(chosen, wrong, strict=True):
            if self.rng.random() < probability:
                index = self.rng.integers(len(self.labels))
            caption = world.sample_caption(scene_of(self.labels[index]), self.rng)
            rows.append(self.tokens("" if self.rng.random() < dropout else caption))
        return torch.tensor(rows)


def train_denoiser(
    out: Path,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
    minutes: float,
    dropout: float,
    miscaptioned: float,
    start: Path | None = None,
    without: Sequence[str] = (),
    text_of: Path | None = None,
    precision: str = "bf16",
) -> None:
    """Trains UNet and text encoder for v-prediction with uniform, stratified t; the exponential average is saved.

    `dropout` is the share of empty captions. `miscaptioned` is the share of pictures with another picture's caption at
    no noise; it falls with the square of alphas_cumprod. Both reduce the same error: guidance multiplies the difference
    e_c - e_u, which should vanish if the noised picture already shows its caption. A small model follows its caption
    even then, and guidance 7.5 overshoots; with guidance 3.75 only below t = 400 the pictures were right.

    `start` is a pipeline folder with the initial weights; it is ignored if `out` has a checkpoint. `without` names
    objects, styles, colours and dresses whose pictures are left out. `text_of` is a pipeline folder with a text encoder
    that stays as it is; the UNet alone is trained then.
    """
    stored = load_file(out / "latents.safetensors")
    labels = np.load(out / "pool/labels.npy")[: len(stored["latents"])]
    kept = np.flatnonzero([not shows(scene_of(row), without) for row in labels])
    latents = stored["latents"][kept] / stored["std"]
    captions = _Captions(labels[kept], seed)
    torch.manual_seed(seed)
    unet, text = build_unet(), build_text_encoder(captions.tokenizer)
    unet.to(memory_format=torch.channels_last)
    unet.set_attn_processor(PlainAttention())
    model = nn.ModuleDict({"unet": unet} if text_of else {"unet": unet, "text_encoder": text})
    if text_of:
        text.load_state_dict(load_pipeline(text_of).text_encoder.state_dict())
        text.eval().requires_grad_(False)
    if start:
        earlier = load_pipeline(start)
        unet.load_state_dict(earlier.unet.state_dict())
        text.load_state_dict(earlier.text_encoder.state_dict())
    average = copy.deepcopy(model).requires_grad_(False)
    optimiser = torch.optim.AdamW(model.parameters(), lr, betas=(0.9, 0.99), weight_decay=1e-3, fused=True)
    first = _resume(out, model, average, optimiser)
    alphas = build_scheduler().alphas_cumprod
    started = time.monotonic()
    for step in range(first + 1, steps + 1):
        captions.rng = rng = np.random.default_rng((seed, step))
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        for group in optimiser.param_groups:
            group["lr"] = lr * _cosine(step, steps, warmup=200)
        chosen = rng.integers(len(latents), size=batch)
        strata = (torch.randperm(batch, generator=generator) + torch.rand(batch, generator=generator)) / batch
        t = (strata * 1000).long()
        x0 = latents[chosen]
        tokens = captions.batch(chosen, dropout, (miscaptioned * alphas[t] ** 2).tolist())
        alpha, sigma = alphas[t].sqrt().view(-1, 1, 1, 1), (1 - alphas[t]).sqrt().view(-1, 1, 1, 1)
        noise = torch.randn(x0.shape, generator=generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            v = unet(alpha * x0 + sigma * noise, t, text(tokens).last_hidden_state).sample
        loss = F.mse_loss(v.float(), alpha * noise - sigma * x0)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            decay = min(0.9995, (step + 1) / (step + 20))
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
        if step % 50 == 0:
            _log("denoiser", step, steps, started, loss=loss.item())
        finished = step == steps or (time.monotonic() - started) / 60 > minutes
        if step % 500 == 0 or finished:
            _checkpoint(out, step, model, average, optimiser)
        if finished:
            break


def _checkpoint(out: Path, step: int, model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    tensors = {f"model.{key}": value for key, value in model.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in average.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"moment.{index}.{key}": value for key, value in state.items()}
    tensors["step"] = torch.tensor([step])
    aside = out / "denoiser.tmp"
    save_file({key: value.contiguous().clone() for key, value in tensors.items()}, aside)
    aside.replace(out / "denoiser.safetensors")


def _resume(out: Path, model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Loads the last checkpoint and returns its step, 0 if there is none."""
    path = out / "denoiser.safetensors"
    if not path.exists():
        return 0
    tensors = load_file(path)
    for name, module in (("model.", model), ("average.", average)):
        module.load_state_dict({key.removeprefix(name): v for key, v in tensors.items() if key.startswith(name)})
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("moment."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    for parameter, moments in zip(model.parameters(), (state[index] for index in sorted(state)), strict=True):
        for name in ("exp_avg", "exp_avg_sq"):  # the fused step reads moments in the memory order of their parameter
            moments[name] = torch.empty_like(parameter).copy_(moments[name])
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(tensors["step"].item())


def save_pipeline(out: Path, folder: Path) -> None:
    """Writes the pipeline in half precision."""
    vae, tokenizer = _load_vae(out), build_tokenizer()
    vae.register_to_config(scaling_factor=round(1 / float(load_file(out / "latents.safetensors")["std"]), 5))
    model = nn.ModuleDict({"unet": build_unet(), "text_encoder": build_text_encoder(tokenizer)})
    average = copy.deepcopy(model)
    _resume(out, model, average, torch.optim.AdamW(model.parameters()))
    pipeline = Pipeline(
        tokenizer=tokenizer,
        text_encoder=average["text_encoder"].half(),
        vae=vae.half(),
        unet=average["unet"].half(),
        scheduler=build_scheduler(),
        source=str(out),
    )
    pipeline.save(folder)


def save_unet(out: Path, folder: Path) -> None:
    """Writes the UNet of a denoiser alone, in half precision, as diffusers does."""
    tensors = load_file(out / "denoiser.safetensors")
    unet = build_unet()
    prefix = "average.unet."
    unet.load_state_dict({key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)})
    unet.half().save_pretrained(folder)


def save_oracle(out: Path, folder: Path) -> None:
    """Writes the oracle in half precision."""
    oracle = {key: value.half() for key, value in load_file(out / "oracle.safetensors").items()}
    save_file(oracle, folder / "oracle.safetensors")


@click.group()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/atelier"), show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.pass_context
def recipe(context: click.Context, out: Path, seed: int) -> None:
    """Make atelier's weights: run pool, vae, oracle, latents, denoiser and save, in this order."""
    out.mkdir(parents=True, exist_ok=True)
    context.obj = {"out": out, "seed": seed}


@recipe.command()
@click.option("--size", default=49152, show_default=True)
@click.pass_obj
def pool(obj: dict[str, Any], size: int) -> None:
    """Render the training pictures."""
    make_pool(obj["out"], size, obj["seed"])


@recipe.command()
@click.option("--steps", default=3200, show_default=True)
@click.option("--batch", default=16, show_default=True)
@click.option("--lr", default=1.5e-3, show_default=True)
@click.pass_obj
def vae(obj: dict[str, Any], steps: int, batch: int, lr: float) -> None:
    """Train the autoencoder."""
    train_vae(obj["out"], steps, batch, lr, obj["seed"])


@recipe.command()
@click.option("--size", default=1536, show_default=True, help="Pictures of most sources.")
@click.option("--teacher", default="atelier", show_default=True, help="The pipeline that draws some of them.")
@click.pass_obj
def examples(obj: dict[str, Any], size: int, teacher: str) -> None:
    """Make the pictures that the oracle learns from."""
    make_examples(obj["out"] / "examples", load_pipeline(teacher), example_sizes(size), obj["seed"], click.echo)


@recipe.command()
@click.option("--steps", default=3000, show_default=True)
@click.option("--batch", default=64, show_default=True)
@click.option("--lr", default=2e-3, show_default=True)
@click.option("--start", type=click.Path(path_type=Path), help="An oracle.safetensors with the initial weights.")
@click.pass_obj
def oracle(obj: dict[str, Any], steps: int, batch: int, lr: float, start: Path | None) -> None:
    """Train the oracle on these pictures."""
    started = time.monotonic()

    def tell(step: int, loss: float) -> None:
        if step % 100 == 0:
            _log("oracle", step, steps, started, loss=loss)

    train_oracle(obj["out"], steps, batch, lr, obj["seed"], tell, start=start)


@recipe.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True)
@click.pass_obj
def adopt(obj: dict[str, Any], folder: Path) -> None:
    """Take the autoencoder of a finished pipeline instead of training one."""
    adopt_pipeline(obj["out"], folder)


@recipe.command()
@click.option("--size", default=32768, show_default=True)
@click.pass_obj
def latents(obj: dict[str, Any], size: int) -> None:
    """Encode the pool."""
    encode_pool(obj["out"], size)


@recipe.command()
@click.option("--steps", default=20000, show_default=True)
@click.option("--batch", default=32, show_default=True)
@click.option("--lr", default=1e-3, show_default=True)
@click.option("--minutes", default=math.inf, help="End the session after so many minutes; run again to continue.")
@click.option("--dropout", default=0.4, show_default=True, help="Share of empty captions.")
@click.option("--miscaptioned", default=0.5, show_default=True, help="Share of wrong captions at no noise.")
@click.option("--start", type=click.Path(path_type=Path), help="A pipeline folder with the initial weights.")
@click.option(
    "--without", type=Names(), default="", help="Attributes whose pictures are left out, such as mosaic,bare."
)
@click.option("--text-of", type=click.Path(path_type=Path), help="A pipeline folder; its text encoder stays fixed.")
@click.option("--precision", type=click.Choice(["bf16", "fp32"]), default="bf16", show_default=True)
@click.pass_obj
def denoiser(obj: dict[str, Any], /, **options: Any) -> None:
    """Train UNet and text encoder."""
    train_denoiser(obj["out"], seed=obj["seed"], **options)


@recipe.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True)
@click.option("--only", type=click.Choice(["pipeline", "unet", "oracle"]), default="pipeline", show_default=True)
@click.pass_obj
def save(obj: dict[str, Any], folder: Path, only: str) -> None:
    """Write the pipeline, its UNet alone, or the oracle as fp16 safetensors."""
    {"pipeline": save_pipeline, "unet": save_unet, "oracle": save_oracle}[only](obj["out"], folder)


if __name__ == "__main__":
    recipe(prog_name="python -m benchmarks.recipe.train")
