"""Answers as tokens, batches of them, and their loss under the router's adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from mmdrex.router.processor import ANSWER, Inputs
from mmdrex.router.router import Router
from mmdrex.router.vocabulary import LABELS
from mmdrex.training.seeing import Seen
from mmdrex.training.sft_data import Sample

IGNORED = -100  # tokens that no loss is taken of


class Encoded(NamedTuple):
    """One sample as tensors: prompt, label token, rest of the answer."""

    inputs: Inputs  # prompt and answer, (L,) tokens
    last: int  # position of the prompt's last token, where the label is predicted
    label: int


def label_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token of each label, in the order of ``LABELS``.

    Raises
    ------
    ValueError
        If a label takes more than one token: the likelihood of one token would not be its own.
    """
    found = [tokenizer(label, add_special_tokens=False)["input_ids"] for label in LABELS]
    long = [label for label, ids in zip(LABELS, found, strict=True) if len(ids) != 1]
    if long:
        raise ValueError(f"the tokenizer cuts {', '.join(long)} into pieces; each must be a token")
    return [ids[0] for ids in found]


class Answers(Dataset[dict[str, Any]]):
    """Samples as tokens, with the image tokens of their charts.

    Parameters
    ----------
    router : Router
    samples : sequence of Sample of length N
    vision : Seen or None
        From ``mmdrex.training.seeing.see``; None without the modality V.
    """

    def __init__(self, router: Router, samples: Sequence[Sample], vision: Seen | None) -> None:
        self.vision = vision
        processor = router.processor
        tokenizer = processor.tokenizer
        labels = label_ids(tokenizer)
        end: str = tokenizer.eos_token
        self.encoded: list[Encoded] = []
        for sample in samples:
            prompt = processor.inputs(sample.observation.text, sample.observation.series)
            # The prompt's own tokens, then the label's, then the rest: cut as one text, a quote
            # could merge with the label, and inference would never meet that token.
            rest = sample.answer[len(ANSWER) + len(LABELS[sample.label]) :] + end
            after = tokenizer(rest, add_special_tokens=False)["input_ids"]
            ids = torch.cat([prompt.ids, torch.tensor([labels[sample.label], *after])])
            types = functional.pad(prompt.types, (0, len(ids) - len(prompt.types)))
            encoded = prompt._replace(ids=ids, types=types)
            self.encoded.append(Encoded(encoded, len(prompt.ids) - 1, sample.label))

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, row: int) -> dict[str, Any]:
        vision = None if self.vision is None else self.vision[row]
        return {"encoded": self.encoded[row], "vision": vision}


class Collator:
    """Samples to a batch, padded on the right, where a causal model does not look.

    Charts and series come first and have equal lengths, so that every row's positions are equal.
    """

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return ``ids types targets`` (B, L), ``last label`` (B,), ``grids series vision``."""
        encoded: list[Encoded] = [row["encoded"] for row in rows]
        longest = max(len(one.inputs.ids) for one in encoded)

        def padded(tensors: list[torch.Tensor], value: int) -> torch.Tensor:
            return torch.stack(
                [functional.pad(one, (0, longest - len(one)), value=value) for one in tensors]
            )

        targets = [one.inputs.ids.clone() for one in encoded]
        for target, one in zip(targets, encoded, strict=True):
            target[: one.last + 1] = IGNORED  # the answer alone is learned
        batch = {
            "ids": padded([one.inputs.ids for one in encoded], self.pad),
            "types": padded([one.inputs.types for one in encoded], 0),
            "targets": padded(targets, IGNORED),
            "last": torch.tensor([one.last for one in encoded]),
            "label": torch.tensor([one.label for one in encoded]),
            "grids": torch.stack([one.inputs.grids for one in encoded]),
        }
        series = [one.inputs.series for one in encoded if one.inputs.series is not None]
        if series:
            batch["series"] = torch.stack(series)
        if rows[0]["vision"] is not None:
            batch["vision"] = torch.stack([row["vision"] for row in rows])
        return batch


class AnswerModel(nn.Module):
    """The router's adapter as a language model of answers; what ``Trainer`` trains.

    Parameters
    ----------
    router : Router
    text_weight : float
        Weight of the answer as text, beside 1 for the label among the three.
    """

    def __init__(self, router: Router, text_weight: float) -> None:
        super().__init__()
        self.router = router
        self.text_weight = text_weight
        self.labels = label_ids(router.processor.tokenizer)

    def forward(
        self,
        ids: torch.Tensor,
        types: torch.Tensor,
        targets: torch.Tensor,
        last: torch.Tensor,
        label: torch.Tensor,
        grids: torch.Tensor,
        series: torch.Tensor | None = None,
        vision: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return the loss and the labels' logits (B, 3), see ``Collator`` for the shapes.

        The loss of a sample is that of its label among the three, which is what is scored, and a
        share of the mean over all tokens of its answer, each among the whole vocabulary. The mean
        over samples is returned, so that batches of any split add up to the same.
        """
        backbone = self.router.backbone
        inputs = [
            Inputs(ids[i], types[i], grids[i], None if series is None else series[i])
            for i in range(len(ids))
        ]
        seen = [] if vision is None else list(vision.to(backbone.dtype))
        states = self.router.sequence(self.router.trunk(inputs, seen))
        wanted = targets[:, 1:]
        row, place = (wanted != IGNORED).nonzero(as_tuple=True)
        logits = backbone.lm_head(states[row, place]).float()
        losses = functional.cross_entropy(logits, wanted[row, place], reduction="none")
        of_labels = logits[place == last[row]][:, self.labels]
        text = torch.zeros(len(ids), device=losses.device).index_add(0, row, losses)
        count = torch.bincount(row, minlength=len(ids))
        known = functional.cross_entropy(of_labels, label.to(of_labels.device), reduction="none")
        loss = (known + self.text_weight * text / count).mean()
        return {"loss": loss, "logits": of_labels}

    def gradient_checkpointing_enable(self, **kwargs: Any) -> None:
        """Trade time for memory, as ``Trainer`` asks for it."""
        self.router.backbone.gradient_checkpointing_enable(**kwargs)
