"""Loading, saving and sharing a router: safetensors and JSON only, adapters in PEFT's format."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from peft import LoraConfig
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from mmdrex.data.files import replacing
from mmdrex.errors import RouterError
from mmdrex.observation.series import FEATURES
from mmdrex.router.backbone import (
    BACKBONES,
    TINY,
    add_adapters,
    backbone,
    fresh_lora,
    load_adapters,
    load_backbone,
)
from mmdrex.router.cache import Cache, default_folder
from mmdrex.router.card import model_card
from mmdrex.router.config import MMDREXConfig
from mmdrex.router.processor import MMDREXProcessor
from strategies import EXPERTS
from strategies.rule import did_you_mean

if TYPE_CHECKING:
    from mmdrex.router.router import Router

log = logging.getLogger(__name__)

VERSION = "1"  # of what a decision is computed from; a change makes cached decisions strangers
WEIGHTS = "model.safetensors"
INSIDE = "backbone"  # where tiny's own weights lie in a router's folder
HUB = ("revision", "token", "cache_dir", "local_files_only")


def weights_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Return a hex digest of names, shapes and values.

    Of a tensor of more than a million numbers 4096 are read, evenly spaced: enough to tell two
    trainings of a large backbone apart, and a 72B model is told in seconds.
    """
    content = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(state.items()):
        flat = tensor.detach().flatten()
        if flat.numel() > 1_000_000:
            flat = flat[:: flat.numel() // 4096]
        content.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        content.update(flat.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


def load_router(
    cls: type[Router],
    name: str,
    *,
    experts: Mapping[str, Sequence[str]] | None = None,
    lora: LoraConfig | None = None,
    cache: str | Path | bool = True,
    seed: int = 42,
    **kwargs: Any,
) -> Router:
    """Return the router of that name, in evaluation mode.

    Parameters
    ----------
    name : str
        See ``Router.from_pretrained``.
    experts : mapping of str to sequence of str, optional
        Experts and their rules. Where a router was trained on others its backbone and series
        projection stay; adapters and heads are fresh and know nothing yet.
    lora : LoraConfig, optional
        For a backbone without a trained router: replaces the paper's LoRA.
    cache : path or bool
        Where vision features and decisions are kept; True is the user's cache folder
        (``$MMDREX_CACHE``), False keeps nothing.
    seed : int
        Of fresh adapters and heads.
    **kwargs
        Passed through to transformers: ``revision``, ``token``, ``cache_dir``,
        ``local_files_only``, ``attn_implementation``, ``dtype``, ``device_map``,
        ``quantization_config``.

    Raises
    ------
    RouterError
        If nothing is found under the name, or what is found is not a router of this version.
    """
    folder, config = _find(name, {key: kwargs[key] for key in HUB if key in kwargs})
    store = Cache(None if cache is False else default_folder() if cache is True else Path(cache))
    if folder is None:
        log.warning(
            "%s is a backbone, not a trained router: its adapters and heads are fresh (seed %d) "
            "and know nothing yet",
            name,
            seed,
        )
        return _fresh(cls, name, experts, lora, store, seed, kwargs)
    if lora is not None:
        raise RouterError(f"{name} brings its own LoRA; leave out lora=")
    _check(config, name)
    base = {key: value for key, value in kwargs.items() if key not in ("revision",)}
    if config.backbone_revision is not None:
        base["revision"] = config.backbone_revision
    inside = folder / INSIDE
    _require_adapters(config, folder, name)
    with _whole(name, SafetensorError, RuntimeError):
        model, tokenizer = load_backbone(
            config.backbone, inside if inside.is_dir() else None, **base
        )
    if config.backbone_digest is not None:
        found = backbone_digest(model)
        if found not in (None, config.backbone_digest):
            raise RouterError(
                f"{name} was trained on another tiny than {inside if inside.is_dir() else TINY}: "
                f"its own belongs in {inside}; save or fetch it again"
            )
    with _whole(name, SafetensorError, RuntimeError, KeyError, TypeError):
        vlm = load_adapters(model, folder, ["router", *config.experts])
        router = cls(config, processor_for(config, model, tokenizer), vlm, store)
        _load_weights(router, folder / WEIGHTS, name)
    if (key := not_finite(router)) is not None:
        raise RouterError(f"{name} holds {key}, which is not finite; save or fetch it again")
    if experts is not None and _rules(experts) != _rules(router.rules):
        router = _begin_again(router, name, experts, seed)
    return router.to(model.device).requires_grad_(False).eval()


def backbone_digest(model: Any) -> str | None:
    """Return the digest of a backbone's weights as float16, adapters left out.

    None where they were rounded to something else: bfloat16, or quantised.
    """
    base = {
        key.replace(".base_layer", ""): value
        for key, value in model.state_dict().items()
        if ".lora_" not in key
    }
    if any(value.dtype not in (torch.float16, torch.float32) for value in base.values()):
        return None
    return weights_digest({key: value.half() for key, value in base.items()})


@contextmanager
def _whole(name: str, *kinds: type[Exception]) -> Iterator[None]:
    """Say in one line that a file of a router is cut short or does not belong to it."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except kinds as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in lines if "mismatch" in line), (lines or ["?"])[0])
        raise RouterError(
            f"{name} can't be loaded: {reason}; a file is cut short or of another router, save or "
            "fetch it again"
        ) from error


def _require_adapters(config: MMDREXConfig, folder: Path, name: str) -> None:
    """Refuse a folder that lacks an adapter, or whose adapter's settings are no JSON."""
    adapters = ["router", *config.experts]
    for adapter in adapters:
        path = folder / adapter / "adapter_model.safetensors"
        settings = folder / adapter / "adapter_config.json"
        if not path.is_file() or not settings.is_file():
            what = settings if path.is_file() else path
            raise RouterError(
                f"{name} has no {adapter}/{what.name}; a router needs one adapter each for "
                f"{', '.join(adapters)}"
            )
        try:
            json.loads(settings.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RouterError(f"{settings} is damaged ({error}); save or fetch it again") from None


def not_finite(router: Router) -> str | None:
    """Return the name of a weight of adapters, heads or projection that is no number, if any."""
    for key, value in router.named_parameters():
        own = "lora_" in key or not key.startswith("vlm.")
        if own and not bool(value.isfinite().all()):
            return key
    return None


def _rules(experts: Mapping[str, Sequence[str]]) -> list[tuple[str, list[str]]]:
    return [(expert, list(rules)) for expert, rules in experts.items()]


def _begin_again(old: Router, name: str, experts: Mapping[str, Sequence[str]], seed: int) -> Router:
    """Return a router of other experts on the same backbone and series projection."""
    log.warning(
        "%s was trained on other experts: adapters and heads for these are fresh (seed %d) and "
        "know nothing yet",
        name,
        seed,
    )
    config = old.config
    config.experts, config.rules = (list(own) for own in zip(*_rules(experts), strict=True))
    config.training = {k: v for k, v in config.training.items() if k == "stage 0"}
    config.trained = {}
    return renewed(old, seed)


def require_there(name: str) -> None:
    """Refuse a folder that is not there, before the hub is asked for it.

    ``owner/name`` is a hub id, unless there is a folder ``owner``.

    Raises
    ------
    RouterError
        With the routers that lie beside it.
    """
    path = Path(name)
    beside = path.parent != Path() and path.parent.is_dir()
    if path.exists() or not (beside or path.is_absolute() or name.startswith(".")):
        return
    routers = sorted(str(found.parent) for found in path.parent.glob("*/config.json"))
    there = f"; there are {', '.join(routers)}" if routers else ""
    hub = "" if name.count("/") != 1 else f" (a hub id only where there is no folder {path.parent})"
    raise RouterError(f"no folder {name}{hub}{there}")


def _find(name: str, hub: dict[str, Any]) -> tuple[Path | None, MMDREXConfig]:
    """Return the folder and configuration of a saved router; no folder for a backbone."""
    path = TINY if name == "tiny" else Path(name)
    if name in BACKBONES and name != "tiny":
        return None, MMDREXConfig(backbone=name)
    if not name.strip() or (not path.exists() and name.count("/") != 1):
        raise RouterError(
            f"no router {name!r}: it is no folder, no known backbone ({', '.join(BACKBONES)}) and "
            f"no hub id such as owner/name.{did_you_mean(name, BACKBONES)}"
        )
    require_there(str(path))
    try:
        record, _ = PreTrainedConfig.get_config_dict(str(path) if path.exists() else name, **hub)
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RouterError(f"no router or backbone can be loaded from {name!r}: {reason}") from error
    if not isinstance(record, dict):
        raise RouterError(f"config.json of {name!r} holds no settings; save or fetch it again")
    kind = record.get("model_type")
    if kind is None:
        raise RouterError(
            f"{name!r} holds no config.json of a model; give a saved router or a Qwen2.5-VL"
        )
    if kind not in ("mmdrex", "qwen2_5_vl"):
        raise RouterError(
            f"{name!r} is a model of type {kind!r}; give a saved router or a Qwen2.5-VL"
        )
    if kind != "mmdrex":
        return None, MMDREXConfig(backbone=name)
    config = _config(record, name)
    return (path if path.exists() else Path(snapshot_download(name, **hub))), config


def _config(record: dict[str, Any], name: str) -> MMDREXConfig:
    """Return the settings of a router; refuse those that no version has written."""
    try:
        config = MMDREXConfig.from_dict(record)
        fits = (
            len(config.experts) == len(config.rules)
            and all(isinstance(rule, str) for rules in config.rules for rule in rules)
            and all(isinstance(one, int) for one in (config.lookback, config.patch))
            and isinstance(config.lora_layers, int | None)
            and isinstance(config.training, dict)
            and isinstance(config.trained, dict)
        )
    except (TypeError, ValueError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RouterError(f"config.json of {name!r} is damaged: {reason}") from error
    if not fits:
        raise RouterError(
            f"config.json of {name!r} is damaged: experts, rules, lookback, patch, lora_layers, "
            "trained or training are not as they are saved; save or fetch it again"
        )
    return config


def _check(config: MMDREXConfig, name: str) -> None:
    """Refuse a router that was trained on other features than the code computes."""
    if list(config.features) != list(FEATURES):
        other = set(config.features) ^ set(FEATURES)
        what = ", ".join(sorted(other)) if other else "their order"
        raise RouterError(
            f"{name} was trained on other features than this version computes: {what}; "
            "train it again or install the version it was trained with"
        )


def _fresh(
    cls: type[Router],
    name: str,
    experts: Mapping[str, Sequence[str]] | None,
    lora: LoraConfig | None,
    cache: Cache,
    seed: int,
    kwargs: dict[str, Any],
) -> Router:
    known = backbone(name)
    model, tokenizer = load_backbone(name, **kwargs)
    pool = _rules(EXPERTS if experts is None else experts)
    config = MMDREXConfig(
        experts=[expert for expert, _ in pool],
        rules=[rules for _, rules in pool],
        backbone=name,
        backbone_revision=getattr(model.config, "_commit_hash", None),
        global_size=list(known.global_size),
        local_size=list(known.local_size),
        lora_layers=known.lora_layers if lora is None else _adapted_layers(model, lora),
    )
    return fresh_router(cls, config, model, tokenizer, cache, seed, lora)


def fresh_router(
    cls: type[Router],
    config: MMDREXConfig,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    cache: Cache | None = None,
    seed: int = 42,
    lora: LoraConfig | None = None,
) -> Router:
    """Return a router with fresh adapters (whose product is zero) and fresh, small heads."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = model.config.text_config.num_hidden_layers
        chosen = lora or fresh_lora(layers, config.lora_layers)
        vlm = add_adapters(model, ("router", *config.experts), chosen)
        router = cls(config, processor_for(config, model, tokenizer), vlm, cache)
        small_heads(router)
    return router.to(model.device).requires_grad_(False).eval()


def small_heads(router: Router) -> None:
    """Give the heads small random weights."""
    for layer in router.heads.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=0.02)
            torch.nn.init.zeros_(layer.bias)


def renewed(old: Router, seed: int = 42) -> Router:
    """Return a router of the same settings with fresh adapters and heads.

    Backbone, which ``old`` gives away, and series projection stay.
    """
    model = old.vlm.unload()
    new = fresh_router(type(old), old.config, model, old.processor.tokenizer, old.cache, seed)
    new.series.load_state_dict(old.series.state_dict())
    return new


def _adapted_layers(model: Any, lora: LoraConfig) -> int | None:
    """Return how many of the last layers a user's LoRA touches; None if it may touch all."""
    chosen = lora.layers_to_transform
    if chosen is None:
        return None
    first = min([chosen] if isinstance(chosen, int) else chosen)
    return int(model.config.text_config.num_hidden_layers - first)


def processor_for(
    config: MMDREXConfig, model: Any, tokenizer: PreTrainedTokenizerBase
) -> MMDREXProcessor:
    """Return the processor that feeds this backbone."""
    vision = model.config.vision_config
    return MMDREXProcessor(
        tokenizer,
        global_size=config.global_size,
        local_size=config.local_size,
        patch_size=vision.patch_size,
        merge_size=vision.spatial_merge_size,
        temporal_patch_size=vision.temporal_patch_size,
        series_patch=config.patch,
        modalities=config.modalities,
    )


def _load_weights(router: Router, path: Path, name: str) -> None:
    """Load heads, projection and scaler."""
    if not path.is_file():
        raise RouterError(
            f"{name} has no {WEIGHTS}: it was not saved whole; save or fetch it again"
        )
    state = {key: value.float() for key, value in load_file(path).items()}
    other = [
        f"{key} is of shape {tuple(state[key].shape)}, not {tuple(value.shape)}"
        for key, value in own_weights(router).items()
        if key in state and state[key].shape != value.shape
    ]
    if other:
        raise RouterError(
            f"{name} holds weights of other shapes than its config.json says: {'; '.join(other)}; "
            "save or fetch it again"
        )
    missing, unexpected = router.load_state_dict(state, strict=False)
    wanted = [key for key in missing if not key.startswith("vlm.")]
    if wanted or unexpected:
        raise RouterError(
            f"{name} does not fit this version: missing {wanted}, unknown {list(unexpected)}; "
            "train it again or install the version it was trained with"
        )
    mean, deviation = router.series.mean, router.series.deviation
    wrong = ~(mean.isfinite() & deviation.isfinite() & (deviation > 0.0))
    if wrong.any():
        named = [FEATURES[place] for place in wrong.nonzero()[:, 0].tolist()]
        raise RouterError(
            f"{name} has no usable scaler for {', '.join(named)}: means must be finite, deviations "
            "positive; save or fetch it again"
        )


def own_weights(router: Router) -> dict[str, torch.Tensor]:
    """Return what is stored in ``model.safetensors``: heads, projection and scaler."""
    return {
        key: value.detach().cpu().contiguous()
        for key, value in router.state_dict().items()
        if not key.startswith("vlm.")
    }


def save_router(router: Router, folder: str | Path) -> None:
    """Write a router to a folder: written aside, then renamed, the model card last.

    The frozen backbone is named, not copied; only one that lay in the router's own folder is.
    """
    with replacing(folder) as aside:
        aside.mkdir()
        write_router(router, aside)


def write_router(router: Router, folder: Path, half: bool = False, base: bool = True) -> None:
    """Write a router's files into an existing folder.

    Parameters
    ----------
    router : Router
    folder : path
    half : bool
        Store float16.
    base : bool
        Copy a ``tiny`` backbone that is not the packaged one: nowhere else could it be found.
    """
    source = Path(router.backbone.name_or_path)
    own = source.is_dir() and source.resolve() != (TINY / INSIDE).resolve()
    if base and router.config.backbone == "tiny" and own:
        shutil.copytree(source, folder / INSIDE, dirs_exist_ok=True)  # left by a run cut short
    if router.config.backbone == "tiny":
        digest = backbone_digest(router.backbone)
        router.config.backbone_digest = digest or router.config.backbone_digest
    for lora in router.vlm.peft_config.values():
        lora.base_model_name_or_path = router.config.backbone  # not the folder it came from
    # The vocabulary never changes: PEFT need not look for the base's to compare.
    router.vlm.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    for adapter in ("router", *router.config.experts):
        (folder / adapter / "README.md").unlink(missing_ok=True)  # PEFT's placeholder
    (folder / "README.md").unlink(missing_ok=True)
    save_file(own_weights(router), folder / WEIGHTS)
    if half:
        for path in (folder / WEIGHTS, *folder.glob("*/adapter_model.safetensors")):
            save_file({name: value.half() for name, value in load_file(path).items()}, path)
    router.config.save_pretrained(folder)
    router.processor.save_pretrained(folder)
    (folder / "README.md").write_text(model_card(router.config), encoding="utf-8")


def push_router(router: Router, repo_id: str, **kwargs: Any) -> str:
    """Upload a router to the hub and return its address.

    Parameters
    ----------
    repo_id : str
        ``owner/name``, or a name in the user's own space; made if it does not exist.
    **kwargs
        ``private``, ``token``, ``commit_message``, ``revision``.
    """
    api = HfApi(token=kwargs.get("token"))
    address = api.create_repo(repo_id, private=kwargs.get("private"), exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        save_router(router, Path(folder) / "router")
        api.upload_folder(
            repo_id=address.repo_id,  # with its owner
            folder_path=Path(folder) / "router",
            commit_message=kwargs.get("commit_message", "Upload MM-DREX router"),
            revision=kwargs.get("revision"),
        )
    return str(address)
