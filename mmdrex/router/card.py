"""The model card of a saved router."""

from __future__ import annotations

from typing import Any

from mmdrex.router.config import MMDREXConfig


def model_card(config: MMDREXConfig) -> str:
    """Return the card as Markdown; what is not known is said to be not known."""
    trained = (
        "; ".join(f"{kind} {first} to {last}" for kind, (first, last) in config.trained.items())
        or "none"
    )
    rows = "\n".join(
        f"| {expert} | {', '.join(rules)} |"
        for expert, rules in zip(config.experts, config.rules, strict=True)
    )
    history = "\n\n".join(_stage(name, record) for name, record in config.training.items())
    limits = "".join(
        f"\n\n{record['limits']}"
        for record in config.training.values()
        if isinstance(record, dict) and record.get("limits")
    )
    layers = (
        "every layer" if config.lora_layers is None else f"the last {config.lora_layers} layers"
    )
    base = f"base_model: {config.backbone}\n" if "/" in config.backbone else ""
    return f"""---
library_name: mmdrex
tags: [finance, trading, vision-language-model, lora]
{base}---
# MM-DREX router

Splits the capital of one asset among four trading experts and picks a rule for each, every window,
from a candlestick chart, {len(config.features)} indicator series of {config.lookback} bars and a
written summary. Made with `mmdrex`, after arXiv 2509.05080 (v1/v2).

```python
import mmdrex

router = mmdrex.Router.from_pretrained("this folder or repository")
```

- Backbone: `{config.backbone}` (revision {config.backbone_revision or "as packaged"}), frozen.
- Adapters: LoRA on q, k, v, o of {layers}; one for the router, one per expert.
- Outcomes seen in training: {trained}.
- Modalities: {config.modalities}.

| expert | rules |
|---|---|
{rows}

## How it was made

{history or "Adapters and heads are fresh: nothing was trained."}

## What it can't do

It is research software. A router that has not been through the training stages splits the capital
by chance. Nothing here is advice to trade.{limits}
"""


def _stage(name: str, record: dict[str, Any]) -> str:
    """Return a stage's settings as a list and its figures as a table."""
    lines = [f"### {name[:1].upper()}{name[1:]}", ""]
    for key, value in record.items():
        if isinstance(value, dict) and key != "figures":
            settings = ", ".join(f"{option} {choice}" for option, choice in value.items())
            lines.append(f"- {key}: {settings}")
        elif key not in ("figures", "limits"):
            lines.append(f"- {key}: {value}")
    if figures := record.get("figures"):
        lines += ["", "| figure | value |", "|---|---|"]
        lines += [f"| {figure} | {number:.4g} |" for figure, number in figures.items()]
    return "\n".join(lines)
