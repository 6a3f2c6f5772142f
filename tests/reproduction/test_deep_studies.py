"""The studies of pruned networks, at a small size."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from rdasde import _studies
from rdasde._studies import _prunings, sparsity_accuracy


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    return _studies.Pieces(tmp_path_factory.mktemp("store"), small=True)


@pytest.fixture(scope="module")
def runs(pieces):
    return _prunings.runs(pieces)


@pytest.fixture(scope="module")
def early(pieces):
    return _prunings.early(pieces)


def test_methods_are_compared_at_equal_sparsity(runs):
    assert len(runs.dense) == runs.plan.seeds
    for (name, _), trimmed in runs.trimmed.items():
        for directional, other in zip(runs.directional[name], trimmed, strict=True):
            assert directional["zeros"][-1] == other["zeros"][-1] == other["layer_zeros"].sum()
            assert directional["zeros"][-1] == directional["layer_zeros"].sum() > 0


def test_the_shares_of_zeros_asked_for_are_reached(runs):
    weights = [k for k, layer in enumerate(runs.layers) if layer.endswith("weight")]
    for target in runs.plan.targets:
        for run in runs.directional[f"target {100 * target:g} %"]:
            assert abs(run["layer_zeros"][weights].sum() / runs.sizes[weights].sum() - target) < 0.01
            assert not run["layer_zeros"][[k for k in range(len(runs.layers)) if k not in weights]].any()


def test_targets_reached_before_the_rate_falls_are_held_to_the_end(early):
    assert early.plan.rate == early.plan.early_rate
    for (target, _), name in zip(early.plan.early_targets, early.directional, strict=False):
        for run in early.directional[name]:
            weights = [k for k, layer in enumerate(run["layers"]) if str(layer).endswith("weight")]
            assert abs(run["layer_zeros"][weights].sum() / run["sizes"][weights].sum() - target) < 0.01
            there = run["zeros"][early.plan.early_epochs - 1] / run["sizes"][weights].sum()
            assert abs(there - target) < 0.01


def test_settings_are_tried_again_with_seeds_that_did_not_choose_them(early):
    plan = early.plan
    targets = plan.early_targets[: plan.fresh_targets]
    assert len(targets) == len(early.fresh) == plan.fresh_targets
    methods = [{}] + [{"target": target, "mu": mu, "target_epochs": plan.early_epochs} for target, mu in targets]
    for method, by_seed in zip(methods, (early.fresh_dense, *early.fresh.values()), strict=True):
        assert len(by_seed) == plan.fresh
        for seed, run in enumerate(by_seed, plan.seeds):
            again = _prunings._run(plan, seed, method)
            assert again["zeros"].tolist() == run["zeros"].tolist()
            assert again["train_loss"].tolist() == run["train_loss"].tolist()


def test_runs_that_diverged_are_named(early):
    assert sparsity_accuracy._diverged(early) == ""
    name = next(iter(early.fresh))
    bad = early.fresh[name][0] | {"train_loss": np.array([1.0, np.nan])}
    fresh = early.fresh | {name: [bad, *early.fresh[name][1:]]}
    told = sparsity_accuracy._diverged(early._replace(fresh=fresh))
    assert told.endswith(f": {name}, 1 of {early.plan.seeds + early.plan.fresh}.")


@pytest.mark.parametrize("name", ["sparsity-accuracy", "layerwise-sparsity"])
def test_draws_and_tabulates_from_the_same_pieces(pieces, runs, early, name, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a finished piece is computed again")

    monkeypatch.setattr(_prunings, "_run", refuse)
    monkeypatch.setattr(_prunings, "_trim", refuse)
    figure, table = _studies.run(name, pieces)
    assert len(figure.axes) >= 2
    for method in runs.directional:
        assert method in table
    for part in table.split("\n\n"):  # tables, and lines of text between them
        bars = {row.count("|") for row in part.splitlines()}
        assert len(bars) == 1, part


def test_intervals_over_seeds():
    # Student's t with four degrees of freedom: 2.776445
    interval = sparsity_accuracy.interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert interval.mean == 3.0
    assert interval.half == pytest.approx(2.776445 * np.sqrt(2.5 / 5), rel=1e-6)
    assert str(interval) == "+3.00 ± 1.96"
