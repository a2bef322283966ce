"""What is kept of optimizer, learning rate and random states goes on bit for bit."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import get_scheduler
from transformers.optimization import Adafactor

from mmdrex.training.run_states import (
    load_optimizer,
    load_random_states,
    load_scheduler,
    save_optimizer,
    save_random_states,
    save_scheduler,
)


def adamw(parameters):
    return torch.optim.AdamW(parameters, 0.1, weight_decay=0.01)


def adafactor(parameters):  # counts its steps in plain numbers
    return Adafactor(parameters, 0.1, relative_step=False, scale_parameter=False)


def learner(kind):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(0.5), torch.nn.Linear(3, 1))
    optimizer = kind(model.parameters())
    return model, optimizer, get_scheduler("cosine", optimizer, 2, 12)


def learn(model, optimizer, scheduler, steps):
    for _ in range(steps):
        scale = random.random() + np.random.rand()  # noqa: NPY002  # as Trainer's own seed sets it
        model(torch.randn(8, 4)).square().mean().mul(scale).backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()


@pytest.mark.parametrize("kind", [adamw, adafactor])
def test_training_goes_on_bit_for_bit_from_tensors_and_json(tmp_path, kind):
    model, optimizer, scheduler = learner(kind)
    learn(model, optimizer, scheduler, 5)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    save_optimizer(optimizer, tmp_path)
    save_scheduler(scheduler, tmp_path)
    save_random_states(tmp_path, 1)
    learn(model, optimizer, scheduler, 5)

    other, optimizer, scheduler = learner(kind)
    other.load_state_dict(weights)
    load_optimizer(optimizer, tmp_path)
    load_scheduler(scheduler, tmp_path)
    load_random_states(tmp_path, 1)
    learn(other, optimizer, scheduler, 5)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["optimizer.json", "optimizer.safetensors", "random_1.json", "scheduler.json"]
    assert json.loads((tmp_path / "random_1.json").read_text())["numpy"][0] == "MT19937"


def two_processes(out, **given):
    """Train in two processes from a YAML file, dropout and all."""
    settings = {"output_dir": out, "data": "simulated:2", "stride": 60, "use_cpu": "true"}
    settings |= {"max_steps": 4, "save_steps": 2, "eval_steps": 2, "select_samples": 4}
    settings |= {"per_device_train_batch_size": 2, "learning_rate": 0.01, "ddp_backend": "gloo"}
    path = out.with_suffix(".yaml")
    path.write_text("\n".join(f"{name}: {value}" for name, value in {**settings, **given}.items()))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, *launch, "-m", "mmdrex.training.sft", str(path)],
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_two_processes_go_on_bit_for_bit_each_with_its_own_random_states(micro_router, tmp_path):
    start, whole, resumed = (tmp_path / name for name in ("start", "whole", "resumed"))
    micro_router("T").save_pretrained(str(start))
    two_processes(whole, model=start)
    names = {path.name for path in (whole / "checkpoint-2").glob("random_*")}
    assert names == {"random_0.json", "random_1.json"}
    shutil.copytree(whole / "checkpoint-2", resumed / "checkpoint-2")
    two_processes(resumed, model=start, resume_from_checkpoint="true")
    for name in ("model.safetensors", "router/adapter_model.safetensors"):
        expected, found = (load_file(out / "checkpoint-4" / name) for out in (whole, resumed))
        assert expected.keys() == found.keys()
        assert all(torch.equal(found[key], value) for key, value in expected.items()), name
