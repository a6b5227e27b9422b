"""ls-ood train: train, evaluate and calibrate the network on a data set, and write a bundle."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import CalibrationError, ConfigError, DataError, SettingError
from .console import console, progress_bar, warn, write_json

if TYPE_CHECKING:
    from ..anomalies.random_anomaly import RandomAnomaly
    from ..calibration.settings import CalibrationSettings
    from ..training.data import LabelledPictures
    from ..training.module import SegmentationModule
    from ..training.settings import TrainingSettings
    from ..training.sources import TrainingSource
    from ..vision.deeplabv3p import DeepLabV3Plus, NetworkSettings
    from ..vision.preprocess import PreprocessSpec

_T = TypeVar("_T")

DESCRIPTION = """\
Trains DeepLabv3+ on a data set, keeps the checkpoint with the best mIoU on validation drives, evaluates it on drives
that were used for nothing else, calibrates the OoD detectors and writes a bundle for the vehicle.

  ls-ood train -d woodscape -p Data/WoodScape -m deeplabv3p-backbone-dropblock2d -b 2 -e 30 --loss_type focal_loss \\
      --initial resnet101-63fe2227.pth
  ls-ood train -d street --compact -e 14 -b 8          (no data set needed; all results are synthetic)
  ls-ood train -d woodscape -p Data/WoodScape --evaluate runs/woodscape/checkpoints/best.ckpt

Whole drives (or cities, or blocks of neighbouring pictures) go to training, validation or test, never single pictures.
The output folder gets checkpoints/, tensorboard/ (watch it with: tensorboard --logdir DIR), split.json, curve.csv
and curve.png, report.json, confusion.png, examples.png, calibration.png and bundle/.
Needs the train extra: pip install -r requirements/train.txt.
"""

_MODELS = (
    "deeplabv3p-normal",
    "deeplabv3p-backbone-dropblock2d",
    "deeplabv3p-backbone-dropblock2d-larex",
    "deeplabv3p-variational-layer",
)
_BACKBONES = ("mobilenet_v2", "resnet18", "resnet50", "resnet101")
_DATA_SETS = ("woodscape", "woodscape-soiling", "cityscapes", "street")
#: Options with another name than their setting.
_OPTION_OF = {"early_stopping_epochs": "early-stopping", "width": "imgw", "height": "imgh"}
_PRETRAINED = {"cityscapes": "Model_CityScapes.ckpt"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options. The first group has the names and defaults of the reference."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument_group("as in the reference").add_argument
    add("-m", "--model", choices=_MODELS, default=_MODELS[0], help="variant (default %(default)s)")
    add("-e", "--epochs", type=int, default=1, help="passes over the pictures (default %(default)s)")
    add("-b", "--batch", type=int, default=16, help="pictures per step and device (default %(default)s)")
    add("--loss_type", choices=("cross_entropy", "focal_loss"), default="cross_entropy", help="(default %(default)s)")
    add("-s", "--seed", type=int, default=9290, help="seed of weights, order and split (default %(default)s)")
    add("-d", "--dataset", choices=_DATA_SETS, default="woodscape", help="(default %(default)s)")
    add("-p", "--datapath", type=Path, default=Path("Data/WoodScape"), help="(default %(default)s)")
    add(
        "--load_pretrained",
        nargs="?",
        const="",
        metavar="FILE",
        help="start from the weights of this checkpoint or state dict, where they fit "
        "(without FILE: Model_Woodscape.pth, for cityscapes Model_CityScapes.ckpt)",
    )
    add("--fine_tuning", action="store_true", help="with --load_pretrained: freeze the backbone, train the rest")
    add("--imgh", type=int, help="network input height (default 483; street: 242)")
    add("--imgw", type=int, help="network input width (default 640; street: 320)")
    add("--slurm", action="store_true", help="4 GPUs on each node of the SLURM job")
    add("--tqmd", "--tqdm", action="store_true", help="plain progress bar instead of the rich one")

    add = parser.add_argument_group("network").add_argument
    add("--backbone", choices=_BACKBONES, help="(default resnet101; with --compact: mobilenet_v2)")
    add("--output-stride", type=int, choices=(8, 16), default=16, help="(default %(default)s)")
    add("--compact", action="store_true", help="separable 128-channel decoder, DropBlock 3 p 0.3, AdamW: CPU-sized")
    add("--initial", type=Path, metavar="PTH", help="torchvision's ImageNet weights of the backbone")

    add = parser.add_argument_group("training").add_argument
    add("--optimiser", choices=("adamw", "sgd"), help="(default sgd; with --compact: adamw)")
    add("--learning-rate", type=float, help="(default 0.01 normal, 0.001 others; --compact: 0.002)")
    add(
        "--schedule", choices=("one_cycle", "cosine", "poly", "constant"), help="(default cosine; --compact: one_cycle)"
    )
    add(
        "--augmentation",
        choices=("none", "mirror", "reference"),
        help="none, mirror, or reference: one of crop, mirror, hue, brightness (default none; --compact: mirror)",
    )
    add("--early-stopping", type=int, default=0, metavar="EPOCHS", help="patience; 0 = never")
    add("--resume", type=Path, metavar="CKPT", help="continue an interrupted run")
    add("--precision", choices=("32-true", "16-mixed", "bf16-mixed"), default="32-true", help="(default %(default)s)")
    add("--device", choices=("auto", "cpu", "gpu"), default="auto", help="(default %(default)s)")
    add("--devices", type=int, default=0, help="number of GPUs; 0 = all (default)")
    add("--workers", type=int, help="reading processes (default: 0 street, 4 or fewer others)")

    add = parser.add_argument_group("procedural street").add_argument
    add("--drives", type=int, default=90, help="training drives, 8 pictures each (default %(default)s)")
    add("--validation-drives", type=int, default=16, help="(default %(default)s)")
    add("--calibration-drives", type=int, default=120, help="(default %(default)s)")
    add("--check-drives", type=int, default=30, help="(default %(default)s)")

    add = parser.add_argument_group("result").add_argument
    add("--out", type=Path, metavar="DIR", help="output folder (default runs/<dataset>)")
    add("--evaluate", type=Path, metavar="CKPT", help="only evaluate this checkpoint on the test drives")
    add(
        "--disturb",
        metavar="KIND,...",
        help="with --evaluate: apply one of these synthetic anomalies to each picture (see ls-ood anomalies; 'reference' = "
        "mud,fog,sun_flare)",
    )
    add("--no-bundle", action="store_true", help="do not calibrate")
    add("--detector", default="spatial", help="detector that raises the alarm (default %(default)s)")
    add(
        "--target-rate",
        type=float,
        default=0.01,
        help="accepted share of clean frames above the threshold (default %(default)s)",
    )
    add("--allow-small", action="store_true", help="calibrate on too few frames for the target")
    add(
        "--no-table",
        action="store_true",
        help="leave the features of the clean frames out of the bundle; no drive can be added later",
    )


def run(args: argparse.Namespace) -> int:
    """Train, evaluate, calibrate and save; with --evaluate only evaluate."""
    _require_packages()
    from ..calibration.settings import CalibrationSettings
    from ..engines.device import choose_device

    disturbance = _check_options(args)
    # Faulty pictures are left out, but however many they are, a training does not end with them.
    calibration = CalibrationSettings(args.target_rate, block_s=None, allow_small=args.allow_small, max_faulty=1.0)
    settings = _with_option_names(lambda: _training_settings(args))
    wanted = "gpu" if args.slurm else args.device
    device = str(choose_device({"gpu": "cuda"}.get(wanted, wanted)))
    if args.evaluate:
        return _evaluate(args, disturbance, device)
    return _train(args, settings, calibration, device)


def _require_packages() -> None:
    try:
        from ..vision import torchvision_compat  # noqa: F401  before lightning, which looks for torchvision

        import pytorch_lightning  # noqa: F401  isort: skip
        import tensorboard  # noqa: F401  isort: skip
        import torchmetrics  # noqa: F401  isort: skip
    except ModuleNotFoundError as error:
        raise ConfigError(f"training needs {error.name}; install it: pip install -r requirements/train.txt.") from error


def _check_options(args: argparse.Namespace) -> RandomAnomaly | None:
    """Refuse options that contradict each other; returns the anomalies of --disturb."""
    from ..anomalies.random_anomaly import REFERENCE_KINDS, RandomAnomaly
    from ..core.detectors import DEFAULT_DETECTORS, refuse_old_name

    refuse_old_name(args.detector)
    if args.detector not in DEFAULT_DETECTORS:
        raise ConfigError(
            f"--detector is {args.detector!r}; it must be one of those a trained bundle holds, "
            f"{', '.join(DEFAULT_DETECTORS)} (ls-ood calibrate --detectors fits others)."
        )
    if args.fine_tuning and args.load_pretrained is None and args.resume is None:
        raise ConfigError("--fine_tuning needs weights to start from; give --load_pretrained FILE.")
    if args.devices < 0:
        raise ConfigError(f"--devices is {args.devices}; it must be 0 (all) or more.")
    if args.evaluate and (args.imgh or args.imgw):
        raise ConfigError("--evaluate uses the input size of the checkpoint; leave out --imgh and --imgw.")
    if args.disturb is None:
        return None
    if args.evaluate is None:
        raise ConfigError("--disturb applies to an evaluation; give --evaluate CKPT, training takes clean pictures.")
    kinds = REFERENCE_KINDS if args.disturb == "reference" else args.disturb.split(",")
    return RandomAnomaly(kinds, seed=args.seed)


def _evaluate(args: argparse.Namespace, disturbance: RandomAnomaly | None, device: str) -> int:
    from ..training.checkpoints import load_checkpoint
    from ..training.data import DisturbedPictures
    from ..training.sources import SOURCES

    module = load_checkpoint(args.evaluate)
    known, classes = module.network.settings.classes, len(SOURCES[args.dataset])
    if known != classes:
        raise ConfigError(
            f"{args.evaluate} knows {known} classes, {args.dataset} has {classes}; "
            "evaluate it on the data set it was trained on."
        )
    source = _source(args, module.spec, module)
    result: dict[str, Any] = {"dataset": source.facts}
    pictures, prefix = source.check_labelled, ""
    if disturbance is not None:
        pictures, prefix = DisturbedPictures(pictures, disturbance), "synthetically disturbed "
        result["disturbed_by"] = {"kinds": list(disturbance.kinds), "severities": list(disturbance.severities)}
    out = args.out or args.evaluate.parent.parent / "evaluation"
    result["test"] = _measure(module.network, pictures, source, module.spec, device, out, prefix)
    write_json(out / "report.json", result)
    write_json(args.json, result)
    return 0


def _train(args: argparse.Namespace, settings: TrainingSettings, calibration: CalibrationSettings, device: str) -> int:
    from pytorch_lightning.callbacks import RichProgressBar, TQDMProgressBar
    from pytorch_lightning.utilities import rank_zero_only

    from ..datasets import write_split
    from ..training.checkpoints import load_checkpoint, require_fresh, require_same_run
    from ..training.fit import Hardware, train_network
    from ..training.sources import SOURCES, require_labels
    from ..training.weights import load_initial_weights, load_network_weights
    from ..vision.backbones import imagenet_file
    from ..vision.preprocess import PreprocessSpec

    initial = load_initial_weights(args.initial) if args.initial else None
    weights = args.load_pretrained or _PRETRAINED.get(args.dataset, "Model_Woodscape.pth")
    pretrained = None if args.load_pretrained is None else load_network_weights(Path(weights))
    module = load_checkpoint(args.resume) if args.resume else None
    out = args.out or _run_folder(args)
    require_fresh(out, args.resume)
    width, height = (320, 242) if args.dataset == "street" else (640, 483)
    spec = _with_option_names(lambda: PreprocessSpec(width=args.imgw or width, height=args.imgh or height))
    network_settings = _network_settings(args, len(SOURCES[args.dataset]))
    if module is not None:
        require_same_run(module, network_settings, settings, spec)
    if not (module or initial or pretrained):
        backbone = network_settings.backbone
        warn(
            f"the backbone {backbone} starts from random weights, which takes many more pictures and epochs; "
            f"start from torchvision's ImageNet file: --initial FILE ({imagenet_file(backbone)})."
        )
    source = _source(args, spec, module)
    if not args.no_bundle:
        _require_calibration_data(args, source)
    require_labels(source, progress_bar)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be made: {error.strerror}; choose another folder.") from error
    if source.split is not None:
        write_split(out / "split.json", source.split)
    hardware = Hardware(args.device, args.devices)
    if args.slurm:
        hardware = Hardware("gpu", 4, int(os.environ.get("SLURM_NNODES", "1")))
    network = train_network(
        source.train,
        source.validation,
        settings,
        network_settings,
        spec,
        out=out,
        initial=initial,
        pretrained=pretrained,
        resume=args.resume,
        split=source.split.digest if source.split else "",
        hardware=hardware,
        classes=source.classes,
        callbacks=[TQDMProgressBar(refresh_rate=10) if args.tqmd else RichProgressBar(leave=False)],
        on_warning=warn,
    )
    if getattr(rank_zero_only, "rank", 0):
        return 0  # the first process of a distributed run reports
    result: dict[str, Any] = {
        "dataset": source.facts,
        "training": {
            **asdict(settings),
            "pictures": len(source.train),
            "model": args.model,
            "initial_weights": args.initial.name if args.initial else None,
        },
    }
    result["test"] = _measure(network, source.check_labelled, source, spec, device, out)
    write_json(out / "report.json", result)  # kept even if the calibration is refused
    if not args.no_bundle:
        result["bundle"] = _calibrate(args, network, source, spec, calibration, device, out, result)
        write_json(out / "report.json", result)
    write_json(args.json, result)
    return 0


def _require_calibration_data(args: argparse.Namespace, source: TrainingSource) -> None:
    """Refuse before the training what the calibration would refuse after it."""
    from ..core.threshold import shortage

    blocks = len(source.calibration)
    if blocks < 2:
        raise ConfigError(
            f"the pictures to calibrate on form {blocks} sequence; at least 2 are needed to hold one out. "
            "Use more data, or --no-bundle to train alone."
        )
    lack = shortage(sum(drive.frames or 0 for drive in source.calibration), args.target_rate)
    if lack and not args.allow_small:
        raise CalibrationError(
            f"{lack} Use more data, raise --target-rate, or give --allow-small, or --no-bundle to train alone."
        )


def _measure(
    network: DeepLabV3Plus,
    pictures: LabelledPictures,
    source: TrainingSource,
    spec: PreprocessSpec,
    device: str,
    out: Path,
    prefix: str = "",
) -> dict[str, Any]:
    """Evaluate the segmentation, print and draw it; returns its part of the report."""
    from ..datasets.files import write_png
    from ..training.evaluation import draw_confusion, evaluate_segmentation
    from ..training.prediction_grid import prediction_grid

    with progress_bar("Measuring on unseen drives", len(pictures)) as update:
        report = evaluate_segmentation(network, pictures, spec, device=device, progress=update)
    names = source.classes.names
    for name, value in zip(names, report.iou, strict=True):
        console.print(f"  IoU {name:16s} {value:.3f}")
    console.print(
        f"mIoU {report.miou:.3f}, calibration error {report.calibration_error:.3f}, "
        f"on {report.pictures} {prefix}{'synthetic ' if source.split is None else ''}pictures of unseen drives"
    )
    draw_confusion(report, names, out / "confusion.png")
    grid = prediction_grid(network, pictures, spec, source.classes)
    write_png(out / "examples.png", grid[..., ::-1])
    return {
        "pictures": report.pictures,
        "miou": round(report.miou, 4),
        "iou": {
            name: None if value != value else round(float(value), 4)
            for name, value in zip(names, report.iou, strict=True)
        },
        "calibration_error": round(report.calibration_error, 4),
    }


def _calibrate(
    args: argparse.Namespace,
    network: DeepLabV3Plus,
    source: TrainingSource,
    spec: PreprocessSpec,
    settings: CalibrationSettings,
    device: str,
    out: Path,
    provenance: dict[str, Any],
) -> dict[str, Any]:
    """Write the bundle, print and draw its thresholds; returns its part of the report."""
    from ..calibration.calibrated_bundle import write_calibrated_bundle
    from ..calibration.plot import draw_calibration
    from ..core.classes import CLASS_NAMES
    from ..core.detectors import DEFAULT_DETECTORS
    from ..frame_pass import LatentSettings
    from ..networks.deeplab_pass import DeepLabPass
    from ..vision.mc_dropout import draw_network_masks

    latents = LatentSettings(mask_seed=args.seed)
    bank = draw_network_masks(network.to(device).eval(), spec, latents.mc_samples, latents.mask_seed)
    bundle = write_calibrated_bundle(
        out / "bundle",
        DeepLabPass(network, spec, bank, device, masks=latents.masks),
        latents,
        CLASS_NAMES if args.dataset == "street" else source.classes.names,
        source.calibration,
        settings,
        detector=args.detector,
        names=DEFAULT_DETECTORS,
        provenance=provenance,
        progress=progress_bar,
        check=source.check,
        table_kind="none" if args.no_table else "thin",
    )
    rates = bundle.provenance["check_on_unseen_drives"]
    for name, rate in rates.items():
        console.print(
            f"{name:12s} {rate['above']} of {rate['frames']} clean frames of unseen drives above the threshold "
            f"(target {args.target_rate:.1%}, 95 % interval {rate['low']:.1%} to {rate['high']:.1%})"
        )
    draw_calibration(bundle.fitted, bundle.table, out / "calibration.png", check=rates)
    console.print(f"Bundle {bundle.bundle_id[:12]} written to {out / 'bundle'}")
    return {"sha256": bundle.bundle_id, "above_threshold": rates}


def _run_folder(args: argparse.Namespace) -> Path:
    """Folder of the results without --out: that of the resumed run, or a new one."""
    from ..training.checkpoints import checkpoints_of

    run_folder: Path = Path("runs") / args.dataset
    if args.resume and args.resume.parent == checkpoints_of(args.resume.parent.parent):
        run_folder = args.resume.parent.parent
    return run_folder


def _with_option_names(make: Callable[[], _T]) -> _T:
    """The result of ``make``; an error about a setting names it as the user's option."""
    try:
        return make()
    except SettingError as error:
        option = _OPTION_OF.get(error.setting, error.setting.replace("_", "-"))
        raise ConfigError(f"--{option} {error.fault}") from error


def _source(args: argparse.Namespace, spec: PreprocessSpec, module: SegmentationModule | None) -> TrainingSource:
    """The pictures. A data set on disk is split as for the training of ``module``, if there is one."""
    from ..datasets import read_split
    from ..training.sources import from_folder, from_street

    if args.dataset == "street":
        return from_street(
            spec,
            drives=args.drives,
            validation_drives=args.validation_drives,
            calibration_drives=args.calibration_drives,
            check_drives=args.check_drives,
            progress=progress_bar,
            only_check=args.evaluate is not None,
        )
    checkpoint = args.evaluate or args.resume
    stored = checkpoint.parent.parent / "split.json" if checkpoint else None
    split = read_split(stored) if stored is not None and stored.exists() else None
    source = from_folder(args.dataset, args.datapath, seed=args.seed, split=split)
    used = stored if split else f"the one of seed {args.seed}"
    if module is not None and not module.split:
        warn(
            f"{checkpoint} does not say which split it was trained on; if it was another than {used}, it has seen some "
            "of the test pictures."
        )
    elif module is not None and source.split is not None and module.split != source.split.digest:
        raise DataError(
            f"{checkpoint} was trained on another split than {used}, so it may have seen the test pictures; put the "
            "split.json of its run beside its checkpoints folder."
        )
    return source


def _network_settings(args: argparse.Namespace, classes: int) -> NetworkSettings:
    from ..vision.deeplabv3p import variant_settings

    overrides: dict[str, Any] = {"classes": classes, "output_stride": args.output_stride}
    if args.compact:
        overrides |= {"backbone": "mobilenet_v2", "aspp_channels": 128, "separable": True}
        if "dropblock" in args.model:
            overrides |= {"dropblock_size": 3, "dropblock_prob": 0.3, "low_dropblock_prob": 0.0}
    if args.backbone:
        overrides["backbone"] = args.backbone
    return variant_settings(args.model, **overrides)


def _training_settings(args: argparse.Namespace) -> TrainingSettings:
    from ..training.settings import TrainingSettings, reference_settings

    workers = 0 if args.dataset == "street" else min(4, os.cpu_count() or 1)
    chosen: dict[str, Any] = {
        "epochs": args.epochs,
        "batch": args.batch,
        "loss": args.loss_type,
        "seed": args.seed,
        "precision": args.precision,
        "early_stopping_epochs": args.early_stopping,
        "workers": workers if args.workers is None else args.workers,
        "frozen_stages": 4 if args.fine_tuning else 0,
    }
    for name in ("optimiser", "learning_rate", "schedule", "augmentation"):
        if getattr(args, name) is not None:
            chosen[name] = getattr(args, name)
    return TrainingSettings(**chosen) if args.compact else reference_settings(args.model, **chosen)
