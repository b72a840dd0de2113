"""Optimizers against the papers' algorithms, written out here."""

import math

import numpy as np
import pytest
from numpy_network import follow

import deltarule as dr
from members import WITHOUT_PYTORCH, own


def test_optimizers_that_pytorch_lacks_are_compared_here():
    for name in WITHOUT_PYTORCH.keys() & set(own("optimizer")):
        assert any(test.startswith(f"test_{name}_is_algorithm") for test in globals()), name


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize(
    ("learning_rate", "rate"),
    [(0.003, lambda t: 0.003), (dr.Exponential(0.01, 0.9), lambda t: 0.01 * 0.9**t)],
    ids=["constant", "scheduled"],
)
def test_lion_is_algorithm_2_of_chen_et_al(learning_rate, rate, decay):
    # given beta1, beta2, lambda, eta, f; initialize theta_0, m_0 <- 0; while not converged:
    #   g_t <- gradient of f(theta_{t-1})
    #   c_t <- beta1 m_{t-1} + (1 - beta1) g_t
    #   theta_t <- theta_{t-1} - eta_t (sign(c_t) + lambda theta_{t-1})
    #   m_t <- beta2 m_{t-1} + (1 - beta2) g_t
    beta1, beta2 = 0.8, 0.95

    def lion(name, theta, g, memory, t):
        m = memory.setdefault("m", np.zeros_like(theta))
        lam = decay if name.endswith("weight") else 0.0  # ours leaves biases alone
        c = beta1 * m + (1 - beta1) * g
        theta[:] = theta - rate(t) * (np.sign(c) + lam * theta)
        memory["m"] = beta2 * m + (1 - beta2) * g

    follow(dr.Lion(learning_rate, beta1=beta1, beta2=beta2, weight_decay=decay), lion)


def test_the_defaults_of_lion_are_the_papers():
    assert (dr.Lion().beta1, dr.Lion().beta2, dr.Lion().weight_decay) == (0.9, 0.99, 0.0)


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize(
    ("learning_rate", "rate"),
    [(0.01, lambda t: 0.01), (dr.Exponential(0.02, 0.9), lambda t: 0.02 * 0.9**t)],
    ids=["constant", "scheduled"],
)
def test_adan_is_algorithm_1_of_xie_et_al(learning_rate, rate, decay):
    # The paper's betas are b_i = 1 - beta_i. For k = 0, 1, ...
    #   m_k = (1 - b1) m_{k-1} + b1 g_k
    #   v_k = (1 - b2) v_{k-1} + b2 (g_k - g_{k-1})
    #   n_k = (1 - b3) n_{k-1} + b3 [g_k + (1 - b2) (g_k - g_{k-1})]^2
    #   eta_k = eta / (sqrt(n_k) + epsilon)
    #   theta_{k+1} = (1 + lambda eta)^-1 [theta_k - eta_k o (m_k + (1 - b2) v_k)]
    # with g_{-1} = g_0; m, v and n are divided by 1 - (1 - b_i)^(k+1), as in the authors' code.
    b1, b2, b3, epsilon = 0.1, 0.2, 0.05, 1e-6

    def corrected(average, b, k):
        return average / (1 - (1 - b) ** (k + 1))

    def adan(name, theta, g, memory, k):
        before = memory.get("g", g)
        m = memory["m"] = (1 - b1) * memory.get("m", 0.0) + b1 * g
        v = memory["v"] = (1 - b2) * memory.get("v", 0.0) + b2 * (g - before)
        n = memory["n"] = (1 - b3) * memory.get("n", 0.0) + b3 * (g + (1 - b2) * (g - before)) ** 2
        eta_k = rate(k) / (np.sqrt(corrected(n, b3, k)) + epsilon)
        moved = theta - eta_k * (corrected(m, b1, k) + (1 - b2) * corrected(v, b2, k))
        lam = decay if name.endswith("weight") else 0.0  # ours leaves biases alone
        theta[:] = moved / (1 + lam * rate(k))
        memory["g"] = g.copy()

    ours = dr.Adan(
        learning_rate, beta1=1 - b1, beta2=1 - b2, beta3=1 - b3, epsilon=epsilon, weight_decay=decay
    )
    follow(ours, adan)


def test_the_defaults_of_adan_are_the_authors():
    adan = dr.Adan()
    assert (adan.beta1, adan.beta2, adan.beta3) == (0.98, 0.92, 0.99)
    assert (adan.epsilon, adan.weight_decay) == (1e-8, 0.0)


def test_rprop_is_irprop_minus_of_igel_and_huesken():
    # for each w_ij:
    #   if dE/dw(t-1) * dE/dw(t) > 0:  Delta(t) := min(Delta(t-1) * eta+, Delta_max)
    #   elif dE/dw(t-1) * dE/dw(t) < 0:  Delta(t) := max(Delta(t-1) * eta-, Delta_min);
    #       dE/dw(t) := 0
    #   w(t+1) := w(t) - sign(dE/dw(t)) * Delta(t)
    up, down, smallest, largest = 1.3, 0.4, 1e-3, 0.04

    def irprop_minus(name, w, g, memory, t):
        previous = memory.setdefault("g", np.zeros_like(w))
        size = memory.setdefault("size", np.full_like(w, 0.01))
        for i in np.ndindex(w.shape):
            d = g[i]
            if previous[i] * d > 0:
                size[i] = min(size[i] * up, largest)
            elif previous[i] * d < 0:
                size[i] = max(size[i] * down, smallest)
                d = 0.0
            w[i] -= np.sign(d) * size[i]
            previous[i] = d

    follow(
        dr.Rprop(0.01, increase=up, decrease=down, smallest=smallest, largest=largest),
        irprop_minus,
    )


def test_adam_is_algorithm_1_of_kingma_and_ba():
    def adam(name, theta, g, memory, t):
        m = memory["m"] = 0.8 * memory.get("m", 0.0) + (1 - 0.8) * g
        v = memory["v"] = 0.97 * memory.get("v", 0.0) + (1 - 0.97) * g**2
        m_hat, v_hat = m / (1 - 0.8 ** (t + 1)), v / (1 - 0.97 ** (t + 1))
        theta -= 0.01 * m_hat / (np.sqrt(v_hat) + 1e-4)

    follow(dr.Adam(0.01, beta1=0.8, beta2=0.97, epsilon=1e-4), adam)


def test_adamw_is_algorithm_2_of_loshchilov_and_hutter_on_the_weights():
    # Theirs: theta <- theta - eta_t (alpha m_hat / (sqrt(v_hat) + eps) + lambda theta); lambda is
    # multiplied by the schedule eta_t alone, ours (and PyTorch's) by the whole rate alpha eta_t.
    alpha, lam = 0.02, 0.006

    def adamw(name, theta, g, memory, t):
        m = memory["m"] = 0.9 * memory.get("m", 0.0) + (1 - 0.9) * g
        v = memory["v"] = 0.999 * memory.get("v", 0.0) + (1 - 0.999) * g**2
        m_hat, v_hat = m / (1 - 0.9 ** (t + 1)), v / (1 - 0.999 ** (t + 1))
        decay = lam if name.endswith("weight") else 0.0
        multiplier = 0.5 * (1 + math.cos(math.pi * t / 40))
        theta -= multiplier * (alpha * m_hat / (np.sqrt(v_hat) + 1e-8) + decay * theta)

    follow(dr.AdamW(dr.Cosine(alpha, length=40), weight_decay=lam / alpha), adamw)


def test_nesterov_is_the_look_ahead_of_sutskever_et_al():
    # v_{t+1} = mu v_t - eta grad f(theta_t + mu v_t);  theta_{t+1} = theta_t + v_{t+1}.
    # Ours keeps phi_t = theta_t + mu v_t, the point where the gradient is taken.
    mu, eta = 0.85, 0.04

    def look_ahead(name, phi, g, memory, t):
        v = memory.get("v", np.zeros_like(phi))
        theta = phi - mu * v
        v = memory["v"] = mu * v - eta * g
        phi[:] = theta + v + mu * v

    follow(dr.SGD(eta, momentum=mu, nesterov=True), look_ahead)


def test_a_velocity_with_the_rate_in_it_is_that_of_sutskever_et_al():
    # The same with a rate that falls: v_{t+1} = mu v_t - eta_t grad f(theta_t + mu v_t).
    mu, eta = 0.85, dr.Exponential(0.04, 0.9)

    def look_ahead(name, phi, g, memory, t):
        v = memory.get("v", np.zeros_like(phi))
        theta = phi - mu * v
        v = memory["v"] = mu * v - 0.04 * 0.9**t * g
        phi[:] = theta + v + mu * v

    follow(dr.SGD(eta, momentum=mu, nesterov=True, rate_in_velocity=True), look_ahead)

    def heavy_ball(name, theta, g, memory, t):
        v = memory["v"] = mu * memory.get("v", 0.0) - 0.04 * 0.9**t * g
        theta += v

    follow(dr.SGD(eta, momentum=mu, rate_in_velocity=True), heavy_ball)


def test_epsilon_comes_first_in_the_efficient_form_of_kingma_and_ba():
    # The end of their section 2: alpha_t = alpha sqrt(1 - beta2^t) / (1 - beta1^t) and
    # theta_t <- theta_{t-1} - alpha_t m_t / (sqrt(v_t) + epsilon^).
    alpha, beta1, beta2, epsilon = 0.02, 0.8, 0.95, 0.03

    def adam(name, theta, g, memory, t):
        m = memory["m"] = beta1 * memory.get("m", 0.0) + (1 - beta1) * g
        v = memory["v"] = beta2 * memory.get("v", 0.0) + (1 - beta2) * g**2
        alpha_t = alpha * math.sqrt(1 - beta2 ** (t + 1)) / (1 - beta1 ** (t + 1))
        theta -= alpha_t * m / (np.sqrt(v) + epsilon)

    settings = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon}
    follow(dr.Adam(alpha, **settings, epsilon_first=True), adam)


def test_max_norm_projects_each_units_weights_after_the_update_as_in_srivastava():
    # For w, the weights incident on a hidden unit, ||w|| <= c is imposed by projecting w onto the
    # surface of a ball of radius c whenever it has left the ball.
    c, shrunk = 0.9, []

    def rule(name, w, g, memory, t):
        w -= 0.1 * g
        if name.endswith("weight"):
            for unit in range(w.shape[1]):
                norm = math.sqrt(sum(component**2 for component in w[:, unit]))
                shrunk.append(norm > c)
                if norm > c:
                    w[:, unit] *= c / norm

    follow(dr.SGD(0.1), rule, constraint=dr.MaxNorm(c))
    assert 0.1 < np.mean(shrunk) < 0.9
