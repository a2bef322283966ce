"""Each loss against the paper's formula written out in numpy, gradients by finite differences."""

import numpy as np
import pytest
import torch
from scipy.special import gammaln, psi

from mmdrex.training.losses import (
    FLAT,
    LONG,
    SHORT,
    advantages,
    base_reward,
    behaviours,
    concentration,
    entropy,
    expert_loss,
    group_reward,
    router_loss,
)

B, RULES, K = 7, 3, 4


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def tensors(*arrays):
    return [torch.from_numpy(np.asarray(array)) for array in arrays]


def expert_sample(rng):
    logits, old = rng.normal(size=(2, B, RULES))
    action = rng.integers(RULES, size=B)
    old_log = np.log(softmax(old))[np.arange(B), action]
    value, advantage, returned = rng.normal(size=(3, B))
    return logits, value, action, old_log, advantage, returned


def expert_reference(logits, value, action, old_log, advantage, returned):
    """Eqs. 8 to 10, sample by sample."""
    losses = []
    for t in range(B):
        policy = softmax(logits[t])
        ratio = policy[action[t]] / np.exp(old_log[t])
        clip = min(ratio, 1.15) if ratio > 1 else max(ratio, 0.85)
        surrogate = min(ratio * advantage[t], clip * advantage[t])
        spread = -sum(p * np.log(p) for p in policy)
        losses.append(-(surrogate - 0.5 * (value[t] - returned[t]) ** 2 + 0.01 * spread))
    return np.array(losses)


def test_expert_loss_is_equation_8(rng):
    for _ in range(20):
        sample = expert_sample(rng)
        assert np.allclose(
            expert_loss(*tensors(*sample)).numpy(), expert_reference(*sample), atol=1e-6
        )


def test_both_sides_of_the_clip_occur_and_stop_the_gradient():
    # By hand: policy (0.5, 0.5). Old 0.25 makes the ratio 2: a gain is clipped at 1.15 and pushes
    # no further, a loss is not clipped.
    logits = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    old = torch.full((2,), 0.25, dtype=torch.float64).log()
    advantage = torch.tensor([1.0, -1.0], dtype=torch.float64)
    zero = torch.zeros(2, dtype=torch.float64)
    loss = expert_loss(logits, zero, torch.tensor([0, 0]), old, advantage, zero, c1=0.0, c2=0.0)
    assert loss.tolist() == pytest.approx([-1.15, 2.0])
    loss.sum().backward()
    assert logits.grad[0].tolist() == [0.0, 0.0]
    assert logits.grad[1].tolist() == pytest.approx([1.0, -1.0])  # ratio * (1 - policy) = 2 * 0.5


def router_sample(rng):
    logits = rng.normal(size=(B, K))
    weights = rng.dirichlet(np.ones(K), size=B)
    reward, baseline = rng.normal(size=(2, B))
    return logits, weights, reward, baseline


def router_reference(logits, weights, reward, baseline):
    """Eq. 5 with the textbook density and entropy of a Dirichlet."""
    losses = []
    for t in range(B):
        alpha = 1.0 + 10.0 * softmax(logits[t])
        log_beta = gammaln(alpha).sum() - gammaln(alpha.sum())
        log_density = ((alpha - 1.0) * np.log(weights[t])).sum() - log_beta
        spread = (
            log_beta + (alpha.sum() - K) * psi(alpha.sum()) - ((alpha - 1.0) * psi(alpha)).sum()
        )
        losses.append(-((reward[t] - baseline[t]) * log_density + 0.01 * spread))
    return np.array(losses)


def test_router_loss_is_equation_5(rng):
    for _ in range(20):
        sample = router_sample(rng)
        assert np.allclose(
            router_loss(*tensors(*sample)).numpy(), router_reference(*sample), atol=1e-6
        )


def test_the_mode_of_the_weights_is_the_softmax(rng):
    [logits] = tensors(rng.normal(size=(B, K)))
    alpha = concentration(logits)
    mode = (alpha - 1.0) / (alpha.sum(dim=1, keepdim=True) - K)  # of a Dirichlet, alpha > 1
    assert torch.allclose(mode, torch.softmax(logits, dim=1))


def differences(loss, parameter, step=1e-6):
    """Return the gradient by central differences."""
    gradient = np.zeros_like(parameter)
    for place in np.ndindex(parameter.shape):
        up, down = parameter.copy(), parameter.copy()
        up[place] += step
        down[place] -= step
        gradient[place] = (loss(up).sum() - loss(down).sum()) / (2.0 * step)
    return gradient


def test_gradients_equal_finite_differences(rng):
    logits, value, *rest = expert_sample(rng)
    moved, worth = tensors(logits, value)
    moved.requires_grad_(), worth.requires_grad_()
    expert_loss(moved, worth, *tensors(*rest)).sum().backward()
    by_logits = differences(lambda x: expert_reference(x, value, *rest), logits)
    by_value = differences(lambda x: expert_reference(logits, x, *rest), value)
    assert np.allclose(moved.grad.numpy(), by_logits, atol=1e-6)
    assert np.allclose(worth.grad.numpy(), by_value, atol=1e-6)

    logits, *rest = router_sample(rng)
    [moved] = tensors(logits)
    router_loss(moved.requires_grad_(), *tensors(*rest)).sum().backward()
    expected = differences(lambda x: router_reference(x, *rest), logits)
    assert np.allclose(moved.grad.numpy(), expected, atol=1e-6)


def test_entropy_of_equal_chances_is_the_logarithm_of_their_number():
    assert entropy(torch.zeros(1, 3)).item() == pytest.approx(np.log(3.0))


def test_base_reward_is_equation_12():
    # By hand: tanh(0.1) + 0.5 tanh(2) - 0.25.
    assert base_reward(0.1, 2.0, 0.25) == pytest.approx(0.0996680 + 0.4820138 - 0.25, abs=1e-6)
    assert base_reward(0.0, 0.0, 0.0) == 0.0


def test_behaviours_part_at_a_tenth():
    assert behaviours([0.11, 0.1, 0.0, -0.1, -0.11]).tolist() == [LONG, FLAT, FLAT, FLAT, SHORT]


def test_group_reward_is_equation_13_over_behaviours(rng):
    sizes = (3, 3, 2, 3)
    policies = [rng.dirichlet(np.ones(size), size=B) for size in sizes]
    shown = [rng.integers(3, size=(B, size)) for size in sizes]
    actions = np.stack([rng.integers(size, size=B) for size in sizes], axis=1)
    reward = group_reward(policies, shown, actions, beta=0.7)
    for t in range(B):
        for i in range(K):
            act = shown[i][t, actions[t, i]]
            chances = [
                sum(policies[j][t, a] for a in range(sizes[j]) if shown[j][t, a] == act)
                for j in range(K)
            ]
            others = (sum(chances) - chances[i]) / (K - 1)
            expected = 0.7 * (np.log(chances[i] + 0.05) - np.log(others + 0.05))
            assert reward[t, i] == pytest.approx(expected, abs=1e-9)


def test_doing_what_all_others_do_earns_nothing():
    alike = [np.full((1, 2), 0.5)] * 3
    shown = [np.array([[LONG, FLAT]])] * 3
    assert np.allclose(group_reward(alike, shown, np.zeros((1, 3), dtype=int)), 0.0)


def test_advantages_are_the_discounted_sum_of_errors(rng):
    steps, gamma, lambda_ = 5, 0.9, 0.8
    rewards, values, following = rng.normal(size=(3, steps, 2))
    ends = np.zeros((steps, 2), dtype=bool)
    ends[2, 0] = ends[4, 1] = True
    gains, returned = advantages(rewards, values, following, ends, gamma, lambda_)
    for b in range(2):
        for t in range(steps):
            expected = 0.0
            for later in range(t, steps):
                following_value = 0.0 if ends[later, b] else following[later, b]
                error = rewards[later, b] + gamma * following_value - values[later, b]
                expected += (gamma * lambda_) ** (later - t) * error
                if ends[later, b]:
                    break
            assert gains[t, b] == pytest.approx(expected, abs=1e-9)
    assert np.allclose(returned, gains + values)
