"""ls-ood train: from nothing to a bundle, on the procedural street."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """\
Trains DeepLabv3+ on rendered drives of the procedural fisheye street, measures its mIoU on drives it has not
seen, calibrates the OoD detectors on further drives and writes a bundle. All figures are on synthetic pictures.

With --initial the encoder starts from torchvision's ImageNet weights (a .pth state dict of the chosen backbone).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="bundle folder to write")
    parser.add_argument(
        "--initial", type=Path, metavar="PTH", help="ImageNet weights of the backbone (torchvision state dict)"
    )
    parser.add_argument(
        "--epochs", type=int, default=14, help="passes over the training pictures (default %(default)s)"
    )
    parser.add_argument("--batch", type=int, default=8, help="pictures a step (default %(default)s)")
    parser.add_argument("--drives", type=int, default=90, help="training drives, 8 pictures each (default %(default)s)")
    parser.add_argument(
        "--calibration-drives", type=int, default=60, help="drives, 8 pictures each (default %(default)s)"
    )
    parser.add_argument(
        "--target-rate",
        type=float,
        default=0.01,
        help="accepted share of clean frames above the threshold (default %(default)s)",
    )
    parser.add_argument("--detector", default="multitap", help="detector that raises the alarm (default %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of training and of the mask bank (default %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Train, validate, calibrate, save."""
    import numpy as np

    from ..bundle import save_bundle
    from ..core.classes import CLASS_NAMES
    from ..core.detectors import DETECTORS
    from ..core.metrics import mean_iou, per_class_iou
    from ..core.threshold import wilson_interval
    from ..errors import ConfigError
    from ..monitor import FramePass, LatentSettings, choose_device
    from ..offline import street_data
    from ..offline.calibration import collect_features, fit_detectors, summarise
    from ..offline.street import CAMERAS
    from ..offline.training import (
        LabelledSet,
        TrainingSettings,
        evaluate_segmentation,
        load_initial_weights,
        train_network,
    )
    from ..vision.deeplabv3p import NetworkSettings
    from ..vision.mc_dropout import draw_mask_bank
    from ..vision.preprocess import PreprocessSpec, resize_image, resize_labels
    from .console import console, progress_bar, write_json

    if args.detector not in DETECTORS:
        raise ConfigError(f"--detector is {args.detector!r}; it must be one of {', '.join(DETECTORS)}.")
    device = choose_device(args.device)
    spec = PreprocessSpec()
    network_settings = NetworkSettings(
        classes=len(CLASS_NAMES), aspp_channels=128, separable=True, dropblock_size=3, dropblock_prob=0.3
    )
    settings = TrainingSettings(epochs=args.epochs, batch=args.batch, seed=args.seed)
    initial = load_initial_weights(args.initial) if args.initial else None

    def labelled(title: str, drives: range) -> LabelledSet:
        shots = street_data.spread_shots(drives, 2, CAMERAS)
        with progress_bar(title, len(shots)) as update:
            rendered = list(street_data.render_shots(shots, progress=update))
        return LabelledSet(
            np.stack([resize_image(item.image, spec) for item in rendered]),
            np.stack([resize_labels(item.labels, spec.width, spec.height) for item in rendered]),
        )

    training_drives = street_data.TRAINING_DRIVES[: args.drives]
    training = labelled("Rendering training drives", training_drives)
    with progress_bar("Training", settings.epochs * (len(training.images) // settings.batch)) as update:
        network = train_network(
            training,
            settings,
            network_settings,
            spec,
            initial=initial,
            device=device,
            progress=lambda step, _steps, loss: update(step, f"loss {loss:.3f}"),
        )
    validation = labelled("Rendering unseen drives", street_data.VALIDATION_DRIVES[:16])
    confusion = evaluate_segmentation(network, validation, spec, device=device)
    miou = mean_iou(confusion)
    for name, value in zip(CLASS_NAMES, per_class_iou(confusion), strict=True):
        console.print(f"  IoU {name:13s} {value:.3f}")
    console.print(f"mIoU {miou:.3f} on {len(validation.images)} synthetic pictures of 16 unseen drives")

    # The seam's size follows from the input size; ask the network rather than compute it.
    import torch

    with torch.inference_mode():
        seam = network.encode(torch.zeros(1, 3, spec.height, spec.width, device=device)).high.shape[2:]
    latents = LatentSettings(mask_seed=args.seed)
    bank = draw_mask_bank(
        latents.mc_samples,
        seam[0],
        seam[1],
        block_size=network_settings.dropblock_size,
        drop_prob=network_settings.dropblock_prob,
        seed=latents.mask_seed,
    )
    frame_pass = FramePass(network, spec, bank, device)

    def features(title: str, drives: range):  # type: ignore[no-untyped-def]
        shots = street_data.spread_shots(drives, 2, CAMERAS)
        with progress_bar(title, len(shots)) as update:
            frames = (item.frame for item in street_data.render_shots(shots))
            table = collect_features(frames, frame_pass, progress=update)
        return table, np.array([shot.drive for shot in shots])

    table, drives = features("Calibrating on unseen drives", street_data.CALIBRATION_DRIVES[: args.calibration_drives])
    detectors, thresholds = fit_detectors(table, drives, target_rate=args.target_rate)
    test, _ = features("Checking on further drives", street_data.TEST_DRIVES[:30])
    rates = {}
    for name, detector in detectors.items():
        above = int((detector.score(test.features.of(DETECTORS[name].feature)) > thresholds[name].value).sum())
        low, high = wilson_interval(above, len(test.cameras))
        rates[name] = {"above": above, "frames": len(test.cameras), "low": low, "high": high}
        console.print(
            f"{name:12s} {above} of {len(test.cameras)} clean frames of 30 further drives above the threshold "
            f"(target {args.target_rate:.1%}, 95 % interval {low:.1%} to {high:.1%})"
        )
    provenance = {
        "domain": "procedural fisheye street (synthetic)",
        "training": {
            "drives": [training_drives.start, training_drives.stop],
            "pictures": len(training.images),
            "epochs": settings.epochs,
            "batch": settings.batch,
            "seed": settings.seed,
            "initial_weights": args.initial.name if args.initial else None,
        },
        "validation": {"drives": 16, "pictures": len(validation.images), "miou": round(float(miou), 4)},
        "calibration": {**summarise(table), "drives": args.calibration_drives, "held_out": "one drive at a time"},
        "check_on_unseen_drives": rates,
    }
    identity = save_bundle(args.out, frame_pass, latents, detectors, thresholds, args.detector, CLASS_NAMES, provenance)
    write_json(args.json, {"bundle": {"sha256": identity}, **provenance})
    console.print(f"Bundle {identity[:12]} written to {args.out}")
    return 0
