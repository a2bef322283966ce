"""The router: one frozen vision-language model, five adapters, heads on the last token's state."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from peft import PeftModel
from torch import nn
from torch.distributed.tensor import DTensor
from tqdm.auto import tqdm
from transformers.modeling_outputs import BaseModelOutputWithPooling

from mmdrex.observation.observation import Observation
from mmdrex.router import storage
from mmdrex.router.adapted import last_states
from mmdrex.router.cache import Cache, digest
from mmdrex.router.config import MMDREXConfig
from mmdrex.router.decision import Decision
from mmdrex.router.heads import Heads, Outputs, SeriesProjection
from mmdrex.router.processor import Inputs, MMDREXProcessor

log = logging.getLogger(__name__)

ADAPTER = "router"  # the adapter of the router itself; the experts' bear their names


class Trunk(NamedTuple):
    """States below the first layer with adapters: the same for all five."""

    states: torch.Tensor  # (B, L, width)
    positions: torch.Tensor  # (3, B, L)


@contextmanager
def _only_layers(language_model: nn.Module, start: int, stop: int) -> Iterator[None]:
    """Let the language model's own forward run its layers ``start`` to ``stop`` only."""
    whole, norm = language_model.layers, language_model.norm
    try:
        language_model.layers = whole[start:stop]  # type: ignore[index]  # a ModuleList
        if stop < len(whole):  # type: ignore[arg-type]
            language_model.norm = nn.Identity()
        yield
    finally:
        language_model.layers, language_model.norm = whole, norm


class Router(nn.Module):
    """Splits the capital among the experts and lets each choose a rule, from one observation.

    Made by ``Router.from_pretrained``; see there.

    Attributes
    ----------
    config : MMDREXConfig
    processor : MMDREXProcessor
    vlm : PeftModel
        The backbone with the adapters ``router`` and one per expert.
    series : SeriesProjection
    heads : Heads
    batch : int
        Observations per forward pass: 1 on a CPU, 16 elsewhere, unless set.
    """

    def __init__(
        self,
        config: MMDREXConfig,
        processor: MMDREXProcessor,
        vlm: PeftModel,
        cache: Cache | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.processor = processor
        self.vlm = vlm
        width = vlm.config.text_config.hidden_size
        self.series = SeriesProjection(len(config.features), config.patch, width)
        self.heads = Heads(width, self.rules)
        self.cache = cache or Cache(None)
        self._batch: int | None = None
        self._digests: tuple[str, str] | None = None

    # -- what it is ---------------------------------------------------------------------------

    @property
    def rules(self) -> dict[str, tuple[str, ...]]:
        """Expert name to the names of its rules, in the order of its policy."""
        pairs = zip(self.config.experts, self.config.rules, strict=True)
        return {expert: tuple(rules) for expert, rules in pairs}

    @property
    def trained(self) -> dict[str, tuple[str, str]]:
        """First and last date whose outcomes training has seen, by class of assets."""
        return {kind: (first, last) for kind, (first, last) in self.config.trained.items()}

    @property
    def stamps(self) -> dict[str, str | None]:
        """What figures of its decisions must say: without stage 2 heads are as they were drawn."""
        return {} if "stage 2" in self.config.training else {"UNTRAINED ROUTER": None}

    @property
    def model(self) -> str:
        """Hex digest of everything that decides: backbone, adapters, heads, settings."""
        return self._model_digests()[0]

    @property
    def batch(self) -> int:
        """Observations per forward pass."""
        # On a CPU one observation at a time (its five adapters side by side) is as fast, and its
        # last bits do not depend on who else is asked: the prefix law holds exactly.
        return self._batch or (1 if self.device.type == "cpu" else 16)

    @batch.setter
    def batch(self, count: int) -> None:
        self._batch = count

    @property
    def device(self) -> torch.device:
        """Where the heads are."""
        return self.heads.router.weight.device

    def _model_digests(self) -> tuple[str, str]:
        """Return the digests of the whole and of the vision tower, computed once."""
        if self._digests is None:
            vision = storage.weights_digest(self.backbone.model.visual.state_dict())
            whole = storage.weights_digest(self.state_dict())
            settings = self.config.to_diff_dict()
            settings.pop("backbone_digest", None)  # its weights are part of the whole
            text = json.dumps(settings, sort_keys=True)
            self._digests = digest(whole, vision, text, storage.VERSION), vision
        return self._digests

    @property
    def backbone(self) -> Any:
        """The vision-language model itself, a ``Qwen2_5_VLForConditionalGeneration``."""
        return self.vlm.get_base_model()

    def refresh(self) -> None:
        """Forget the digests: call it after changing weights."""
        self._digests = None

    # -- what it computes -----------------------------------------------------------------------

    def vision(self, observations: Sequence[Observation]) -> list[torch.Tensor]:
        """Return the image tokens of each observation's two charts, each (tokens, width)."""
        tower = self.backbone.model.visual
        charts = [self.processor.charts(one) for one in observations]
        keys = [digest(self._model_digests()[1], *(c.tobytes() for c in pair)) for pair in charts]
        found = [self.cache.features(key) for key in keys]
        missing = [i for i, features in enumerate(found) if features is None]
        if missing:
            views = [np.stack([charts[i][view] for i in missing]) for view in (0, 1)]
            parts = [self.processor.patches(images) for images in views]
            pixels = torch.cat([patches.flatten(0, 1) for patches, _ in parts])
            grids = torch.cat([grid for _, grid in parts])
            tokens = tower(
                pixels.to(tower.device, tower.dtype), grid_thw=grids.to(tower.device)
            ).pooler_output
            counts = grids.prod(dim=1) // tower.spatial_merge_unit
            images = torch.split(tokens, counts.tolist())
            for place, i in enumerate(missing):
                both = torch.cat([images[place], images[place + len(missing)]])
                self.cache.keep_features(keys[i], both.detach().cpu())
                found[i] = both
        return [features.to(tower.device) for features in found if features is not None]

    def trunk(self, inputs: Sequence[Inputs], vision: Sequence[torch.Tensor]) -> Trunk:
        """Return the states below the adapters, of inputs of equal length (never padded).

        Parameters
        ----------
        inputs : sequence of Inputs of length B
        vision : sequence of tensor of shape (tokens, width)
            From ``vision``; empty without the modality V.
        """
        model = self.backbone.model
        ids = torch.stack([one.ids for one in inputs]).to(self.device)
        types = torch.stack([one.types for one in inputs]).to(self.device)
        grids = torch.cat([one.grids for one in inputs]).to(self.device)
        embeds = model.get_input_embeddings()(ids)
        if inputs[0].series is not None:
            series = torch.stack([one.series for one in inputs if one.series is not None])
            soft = self.series(series.to(self.device)).to(embeds.dtype)
            place = (ids == self.processor.series_token_id)[..., None]
            embeds = embeds.masked_scatter(place, soft)
        if len(grids):
            # Equal lengths and equal charts have equal positions: one row's stand for all.
            positions, _ = model.get_rope_index(
                ids[:1], mm_token_type_ids=types[:1], image_grid_thw=inputs[0].grids.to(ids.device)
            )
            # Its own type says Tensor; the model's forward concatenates a tuple, one per image.
            pooled: Any = tuple(vision)
            images = {"image": BaseModelOutputWithPooling(pooler_output=pooled)}
        else:
            positions = torch.arange(ids.shape[1], device=ids.device).expand(3, 1, -1)
            images = None
        positions = positions.expand(-1, len(ids), -1)
        with _only_layers(model.language_model, 0, self._first_adapted()):
            out = model(
                input_ids=ids,
                inputs_embeds=embeds,
                mm_encoder_outputs=images,
                mm_token_type_ids=types,
                image_grid_thw=grids if len(grids) else None,
                position_ids=positions,
                use_cache=False,
            )
        return Trunk(out.last_hidden_state, positions)

    def states(self, trunk: Trunk, adapters: Sequence[str]) -> torch.Tensor:
        """Return the last token's state under each adapter: (adapters, B, width), float32.

        With dropout, and where layers are sharded over processes, each adapter takes a pass
        through the library's own forward; else all share one, see ``mmdrex.router.adapted``.
        """
        language_model = self.backbone.model.language_model
        first = self._first_adapted()
        sharded = isinstance(next(language_model.layers[-1].parameters()), DTensor)
        if self.vlm.training or sharded:
            learning = [one for one in self.vlm.parameters() if one.requires_grad]
            passes = []
            for adapter in adapters:
                self.vlm.set_adapter(adapter)  # and all the others stop learning
                self.vlm.requires_grad_(False)
                for parameter in learning:
                    parameter.requires_grad_(True)
                passes.append(self.sequence(trunk)[:, -1])
            return torch.stack(passes).float()
        rotation = language_model.rotary_emb(trunk.states, trunk.positions)
        states = last_states(
            language_model.layers[first:], language_model.norm, trunk.states, rotation, adapters
        )
        return states.float()

    def sequence(self, trunk: Trunk) -> torch.Tensor:
        """Return every token's state under the active adapter: (B, L, width), for training."""
        language_model = self.backbone.model.language_model
        layers = len(language_model.layers)
        with _only_layers(language_model, self._first_adapted(), layers):
            out = language_model(
                inputs_embeds=trunk.states, position_ids=trunk.positions, use_cache=False
            )
        states: torch.Tensor = out.last_hidden_state
        return states

    def _first_adapted(self) -> int:
        layers = self.vlm.config.text_config.num_hidden_layers
        kept = self.config.lora_layers
        return 0 if kept is None else int(layers - kept)

    def forward(self, inputs: Sequence[Inputs], vision: Sequence[torch.Tensor]) -> Outputs:
        """Return weights' logits, policies' logits and values for inputs of equal length."""
        outputs: Outputs = self.heads(
            self.states(self.trunk(inputs, vision), (ADAPTER, *self.rules))
        )
        return outputs

    # -- what a strategy asks it ------------------------------------------------------------------

    @torch.inference_mode()
    def decide(self, observations: Sequence[Observation], progress: bool = False) -> list[Decision]:
        """Return the decision on each observation; the same observation, the same decision.

        Known answers come from the cache; the others run in batches of equal length. The weights
        are the softmax (eq. 4), the rule is the arg-max.

        Parameters
        ----------
        observations : sequence of Observation
            Any symbols and times, all with the look-back the router was made for.
        progress : bool
            Show a progress bar.
        """
        self.eval()
        for one in observations:
            if len(one.series) != self.config.lookback:
                raise ValueError(
                    f"the router reads {self.config.lookback} bars; got {len(one.series)} of "
                    f"{one.symbol}; plan with lookback={self.config.lookback}"
                )
        keys = [digest(self.model, one.digest) for one in observations]
        decisions: dict[int, Decision] = {}
        for i, key in enumerate(keys):
            record = self.cache.record(key)
            if record is not None:
                decisions[i] = self._named(Decision.from_json(record), observations[i])
        missing = [i for i in range(len(observations)) if i not in decisions]
        with tqdm(total=len(missing), desc="routing", disable=not progress) as bar:
            for rows, batch in self._batches([observations[i] for i in missing]):
                vision = (
                    self.vision([observations[missing[row]] for row in rows]) if self._sees else []
                )
                outputs = self(batch, vision)
                for place, row in enumerate(rows):
                    i = missing[row]
                    decisions[i] = self._decision(outputs, place, observations[i])
                    self.cache.keep_record(keys[i], decisions[i].to_json())
                bar.update(len(rows))
        return [decisions[i] for i in range(len(observations))]

    @property
    def _sees(self) -> bool:
        return "V" in self.config.modalities

    def _batches(
        self, observations: Sequence[Observation]
    ) -> Iterator[tuple[list[int], list[Inputs]]]:
        """Yield rows and inputs of equal length, at most ``batch`` at a time."""
        lengths: dict[int, list[tuple[int, Inputs]]] = defaultdict(list)
        for row, inputs in enumerate(self.processor(observations)):
            lengths[len(inputs.ids)].append((row, inputs))
        for group in lengths.values():
            for start in range(0, len(group), self.batch):
                part = group[start : start + self.batch]
                yield [row for row, _ in part], [inputs for _, inputs in part]

    def _decision(self, outputs: Outputs, place: int, observation: Observation) -> Decision:
        weights = torch.softmax(outputs.weights[place].double(), dim=0).cpu().numpy()
        probabilities, rules = {}, {}
        for expert, names in self.rules.items():
            policy = torch.softmax(outputs.policies[expert][place].double(), dim=0).tolist()
            probabilities[expert] = dict(zip(names, policy, strict=True))
            rules[expert] = names[int(np.argmax(policy))]
        return Decision(
            symbol=observation.symbol,
            time=observation.time,
            weights=weights / weights.sum(),
            rules=rules,
            probabilities=probabilities,
            values={name: float(value[place]) for name, value in outputs.values.items()},
            observation=observation.digest,
            model=self.model,
        )

    def _named(self, decision: Decision, observation: Observation) -> Decision:
        """Return a cached decision for this asset and time: its digest holds neither."""
        record = decision.to_json() | {
            "symbol": observation.symbol,
            "time": observation.time.isoformat(),
        }
        return Decision.from_json(record)

    # -- how it is kept ---------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, name: str, **kwargs: Any) -> Router:
        """Return a router from the package, a folder or the Hugging Face hub.

        Parameters
        ----------
        name : str
            ``"tiny"``, the embedded router; a folder or hub id of a saved router (its
            ``config.json`` says ``model_type: mmdrex``); or a backbone, such as
            ``Qwen/Qwen2.5-VL-7B-Instruct``, which gets fresh adapters and heads (said in a
            warning: an untrained router knows nothing).
        **kwargs
            See ``mmdrex.router.storage.load_router``.
        """
        return storage.load_router(cls, name, **kwargs)

    def save_pretrained(self, folder: str, **kwargs: Any) -> None:
        """Write the router (not its backbone) to a folder; see ``storage.save_router``."""
        storage.save_router(self, folder, **kwargs)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Upload the router to a repository of the hub and return its address."""
        return storage.push_router(self, repo_id, **kwargs)
