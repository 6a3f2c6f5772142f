"""The layer against NumPy, its gradient, and what pruning and loading make of it."""

import itertools

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from rdasde.interactions import FM, DeepFM, Interactions, gates, weights

PAIRS = list(itertools.combinations(range(5), 2))
CHOICES = {
    "all pairs": PAIRS,
    "a star": [(1, 2), (1, 4), (0, 1)],
    "apart": [(0, 3), (1, 2)],
    "triples too": [(0, 1), (2, 3), (0, 1, 2), (0, 1, 4), (2, 3, 4)],
    "triples only": [(0, 1, 2), (1, 2, 3)],
}


def twin(e, members, gate, mean, variance, epsilon):
    """The layer, row by row and interaction by interaction."""
    products = np.array([[np.prod(row[list(group)], axis=0).sum() for group in members] for row in e])
    mean, variance = (products.mean(0), products.var(0)) if mean is None else (mean, variance)
    return ((products - mean) / np.sqrt(variance + epsilon)) * gate


@pytest.fixture
def embeddings():
    return torch.from_numpy(np.random.default_rng(0).standard_normal((7, 5, 3)))


def layer_of(members, **options):
    torch.manual_seed(0)
    layer = Interactions(5, interactions=members, **options).double()
    if layer.gate is not None:
        with torch.no_grad():
            layer.gate.copy_(torch.linspace(-0.5, 1.0, len(layer.gate)))
            layer.running_mean.uniform_()
            layer.running_var.uniform_(0.5, 2.0)
    return layer


@pytest.mark.parametrize("members", CHOICES.values(), ids=CHOICES)
def test_is_its_numpy_twin(members, embeddings):
    e = embeddings.numpy()
    layer = layer_of(members)
    assert layer.interactions == members
    gate, mean, variance = (x.detach().numpy().copy() for x in (layer.gate, layer.running_mean, layer.running_var))
    wanted = twin(e, members, gate, mean, variance, layer.epsilon)
    layer.eval()
    np.testing.assert_allclose(layer(embeddings).detach(), wanted.sum(1), rtol=1e-12)  # by one matrix product
    np.testing.assert_allclose(layer.terms(embeddings).detach(), wanted, rtol=1e-12)
    wanted = twin(e, members, gate, None, None, layer.epsilon)
    layer.train()
    np.testing.assert_allclose(layer(embeddings).detach(), wanted.sum(1), rtol=1e-10, atol=1e-12)
    products = layer_of(members, gates=False)
    np.testing.assert_allclose(products(embeddings), twin(e, members, 1.0, 0.0, 1.0, 0.0).sum(1), rtol=1e-12)


@pytest.mark.parametrize("members", CHOICES.values(), ids=CHOICES)
def test_gradients_of_both_orders(members, embeddings):
    layer = layer_of(members)
    small = embeddings[:3].clone().requires_grad_()
    assert torch.autograd.gradcheck(layer.products, small[:, layer.used])
    assert torch.autograd.gradgradcheck(layer.products, small[:, layer.used])
    assert torch.autograd.gradcheck(layer.eval(), small)


def test_running_moments_are_those_of_batch_norm_without_scale_and_shift(embeddings):
    layer = layer_of(PAIRS)
    norm = torch.nn.BatchNorm1d(len(PAIRS), eps=layer.epsilon, momentum=layer.momentum, affine=False).double()
    norm.load_state_dict({"running_mean": layer.running_mean, "running_var": layer.running_var}, strict=False)
    torch.testing.assert_close(layer.terms(embeddings), norm(layer.products(embeddings)) * layer.gate)
    torch.testing.assert_close(layer.running_var, norm.running_var)


def test_embeddings_of_the_fields_in_use_are_enough(embeddings):
    layer = layer_of(CHOICES["apart"]).eval()
    assert layer.used.tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(layer(embeddings[:, :4]), layer(embeddings))


def test_a_plain_machine_is_rendles_identity():
    X = torch.tensor([[0, 1, 2], [3, 0, 1]])
    model = FM([4, 2, 3], dim=5, gates=False, seed=0)
    e = model._embed(X).double()
    wanted = 0.5 * ((e.sum(1) ** 2).sum(1) - (e**2).sum((1, 2)))
    torch.testing.assert_close(model(X).double(), wanted, rtol=1e-5, atol=1e-9)


def trained_gates(model):
    """A model as after a search: moments that are not 0 and 1, gates of which the even ones are closed."""
    generator = torch.Generator().manual_seed(1)
    layer = model.interactions
    with torch.no_grad():
        model.embedding.weight.normal_(generator=generator)
        model.linear.weight.normal_(generator=generator)
        layer.running_mean.normal_(generator=generator)
        layer.running_var.uniform_(0.5, 2.0, generator=generator)
        layer.gate[::2] = 0.0
    return model.eval()


@pytest.mark.parametrize("kind", [FM, DeepFM])
@pytest.mark.parametrize("triples", [False, True])
def test_pruning_leaves_outputs_and_makes_the_model_smaller(kind, triples):
    model = trained_gates(kind([4, 6, 3, 2], dim=3, triples=triples, seed=0))
    X = torch.stack([torch.arange(6) % n for n in model.cardinalities], 1)
    before, count = model(X), sum(p.numel() for p in model.parameters())
    survivors = [group for k, group in enumerate(model.interactions.interactions) if k % 2]
    model.prune()
    assert model.interactions.interactions == survivors
    torch.testing.assert_close(model(X), before)
    assert sum(p.numel() for p in model.parameters()) < count


def test_fields_in_no_interaction_lose_their_embeddings():
    model = trained_gates(FM([4, 6, 3], dim=2, seed=0))  # (0, 1) and (1, 2) are closed
    X = torch.tensor([[3, 5, 2], [0, 0, 0]])
    before = model(X)
    model.prune()
    assert model.embedding.weight.shape == (4 + 3, 2)
    torch.testing.assert_close(model(X), before)
    with torch.no_grad():
        model.interactions.gate.zero_()
    model.prune()
    assert model.embedding.weight.shape == (0, 2)
    torch.testing.assert_close(model(X), model.bias + model.linear(X + model._offsets).sum((1, 2)))


@pytest.mark.parametrize("kind", [FM, DeepFM])
def test_a_saved_state_says_which_interactions_survive(kind, tmp_path):
    model = trained_gates(kind([4, 6, 3], dim=2, seed=0))
    model.prune()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = kind([4, 6, 3], dim=2, seed=1)
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    X = torch.tensor([[3, 5, 2], [0, 0, 0]])
    assert other.interactions.interactions == model.interactions.interactions
    torch.testing.assert_close(other.eval()(X), model(X), rtol=0, atol=0)


def test_gates_and_weights_part_the_parameters():
    model = DeepFM([4, 6, 3], dim=2, seed=0)
    assert [gate is model.interactions.gate for gate in gates(model)] == [True]
    assert len(gates(model)) + len(weights(model)) == len(list(model.parameters()))
    assert gates(FM([4, 6, 3], gates=False)) == []


def test_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    a, b = FM([4, 6], seed=3), FM([4, 6], seed=3)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"fields": 1}, "fields is 1, but must be a whole number >= 2: give the number of fields, for example 11."),
        (
            {"fields": 3, "interactions": [(0, 3)]},
            "interactions is one with (0, 3), but must be different pairs or triples of fields 0 to 2: "
            "give tuples of two or three ascending field numbers, for example [(0, 1), (0, 3)].",
        ),
        (
            {"fields": 3, "interactions": [(0, 1), (0, 1)]},
            "interactions is one with (0, 1) twice, but must be different pairs or triples of fields 0 to 2: "
            "leave it out once.",
        ),
        ({"fields": 3, "epsilon": 0}, "epsilon is 0, but must be a finite number > 0: give for example epsilon=1e-3."),
    ],
)
def test_bad_arguments_in_one_sentence(arguments, sentence):
    with pytest.raises(ValueError, match="but must be") as error:
        Interactions(**arguments)
    assert str(error.value) == sentence


def test_bad_embeddings_in_one_sentence():
    with pytest.raises(ValueError, match="embeddings is a tensor of shape") as error:
        Interactions(4)(torch.zeros(8, 3, 2))
    assert str(error.value) == (
        "embeddings is a tensor of shape (8, 3, 2), but must be of shape (batch, 4, dim): "
        "stack one vector for each field."
    )
    with pytest.raises(ValueError, match="a batch of one row"):
        Interactions(4)(torch.zeros(1, 4, 2))


HERE = "encode new rows by the Codebook of the old ones, which has a code for what it has not seen."
BAD = {
    "the next field's code": (
        lambda: FM([4, 4, 4])(torch.tensor([[0, 0, 0], [0, 5, 0]])),
        f"X is one with code 5 in field 1, but must be codes 0 to 3 there: {HERE}",
    ),
    "below zero": (
        lambda: DeepFM([4, 4])(torch.tensor([[0, -1]])),
        f"X is one with code -1 in field 1, but must be codes 0 to 3 there: {HERE}",
    ),
    "floats": (
        lambda: FM([4, 4])(torch.zeros(3, 2)),
        "X is a tensor of torch.float32, but must be of torch.int64 or torch.int32: encode by a Codebook.",
    ),
    "NumPy": (
        lambda: FM([4, 4])(np.zeros((3, 2), dtype=int)),
        "X is an array of shape (3, 2) (ndarray), but must be a tensor of codes of shape (n, 2): "
        "pass torch.from_numpy(codes).",
    ),
    "one row": (
        lambda: FM([4, 4])(torch.zeros(2, dtype=torch.int64)),
        "X is a tensor of shape (2,), but must be a tensor of codes of shape (n, 2): give one column for each field.",
    ),
    "NumPy embeddings": (
        lambda: Interactions(3)(np.zeros((4, 3, 2))),
        "embeddings is an array of shape (4, 3, 2) (ndarray), but must be a tensor of floating-point numbers: "
        "stack one vector for each field.",
    ),
    "whole embeddings": (
        lambda: Interactions(3, gates=False)(torch.zeros(4, 3, 2, dtype=torch.int64)),
        "embeddings is a tensor of torch.int64, but must be a tensor of floating-point numbers: "
        "stack one vector for each field.",
    ),
    "half embeddings": (
        lambda: Interactions(3)(torch.zeros(4, 3, 2).half()),
        "embeddings is a tensor of torch.float16, but must be of torch.float32 as the gates are: "
        "convert them by .to(torch.float32).",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_inputs_in_one_sentence(name):
    call, sentence = BAD[name]
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    assert str(error.value) == sentence


def test_whole_models_of_another_precision_and_autocast_work():
    X = torch.tensor([[0, 1], [3, 2]])
    assert FM([4, 4], seed=0).double()(X).dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.isfinite(Interactions(3)(torch.randn(4, 3, 2).bfloat16())).all()
    assert repr(Interactions(3).to("meta")) == "Interactions(3 fields, 3 pairs, 3 gates)"
    assert FM([4, 4], seed=0)(X.int()).shape == (2,)
