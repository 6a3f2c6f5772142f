"""The Hessian of networks: products, top eigenspace against dense algebra and another package, shares."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
landscape = pytest.importorskip("rdasde.landscape")
restarted_lanczos = pytest.importorskip("rdasde.landscape._restarted").restarted_lanczos
functional = torch.nn.functional


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(batch_norm=False, seed=0):
    torch.manual_seed(seed)
    middle = [torch.nn.BatchNorm1d(6)] if batch_norm else []
    model = torch.nn.Sequential(torch.nn.Linear(5, 6), *middle, torch.nn.Tanh(), torch.nn.Linear(6, 3))
    return model.double()


def data(seed=1, rows=70):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, 5, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(3, (rows,), generator=generator)


def dense_hessian(model, loss, pair):
    """By torch.func, reverse over reverse, all of it at once; the second oracle."""
    names, shapes = zip(*[(name, p.shape) for name, p in model.named_parameters()], strict=True)
    sizes = [shape.numel() for shape in shapes]
    buffers = dict(model.named_buffers())
    model.eval()

    def of(vector):
        parts = {n: p.view(s) for n, p, s in zip(names, vector.split(sizes), shapes, strict=True)}
        return loss(torch.func.functional_call(model, parts | buffers, (pair[0],)), pair[1])

    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    return torch.func.jacrev(torch.func.grad(of))(flat)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_products_are_those_of_the_dense_hessian(batch_norm):
    model, pair = network(batch_norm), data()
    if batch_norm:  # some statistics other than the first ones
        model(pair[0])
    matrix = dense_hessian(model, functional.cross_entropy, pair)
    multiply = landscape.hessian_product(model, functional.cross_entropy, pair, batch_size=32)  # 70 = 32 + 32 + 6
    for column in torch.eye(len(matrix), dtype=torch.float64)[::7]:
        torch.testing.assert_close(multiply(column), matrix @ column, rtol=1e-9, atol=1e-12)


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attend, self.read = torch.nn.MultiheadAttention(4, 2, batch_first=True), torch.nn.Linear(4, 3)

    def forward(self, inputs):
        return self.read(self.attend(inputs, inputs, inputs, need_weights=False)[0].mean(1))


def test_attention_has_second_derivatives():
    torch.manual_seed(0)
    model = Attention().double()
    pair = torch.randn(9, 5, 4, dtype=torch.float64), torch.randint(3, (9,))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        matrix = dense_hessian(model, functional.cross_entropy, pair)
    multiply = landscape.hessian_product(model, functional.cross_entropy, pair, batch_size=4)
    for column in torch.eye(len(matrix), dtype=torch.float64)[::9]:
        torch.testing.assert_close(multiply(column), matrix @ column, rtol=1e-9, atol=1e-12)


def test_weights_that_hooks_make_of_others():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    torch.nn.utils.prune.l1_unstructured(model[0], "weight", 0.5)
    pair = torch.randn(20, 5), torch.randint(3, (20,))
    functional.cross_entropy(model(pair[0]), pair[1]).backward()  # from now on the masked weight is no leaf
    curve = landscape.curve(model, model, model, functional.cross_entropy, pair, epochs=1, points=2)
    np.testing.assert_allclose(
        curve.loss.sel(path="curve", t=0.0), functional.cross_entropy(model(pair[0]), pair[1]).item(), rtol=1e-6
    )
    assert landscape.top_eigenspace(model, functional.cross_entropy, pair, k=1).values[0] > 0.0


def test_a_loss_linear_in_the_weights_has_no_curvature():
    model = torch.nn.Linear(3, 1)
    pair = torch.ones(4, 3), torch.zeros(4)
    multiply = landscape.hessian_product(model, lambda y, t: y.mean(), pair)
    assert not multiply(torch.ones(4)).any()


def test_a_single_eigenpair():
    model, pair = network(), data()
    values = torch.linalg.eigvalsh(dense_hessian(model, functional.cross_entropy, pair))
    found = landscape.top_eigenspace(model, functional.cross_entropy, pair, k=1)
    multiply = landscape.hessian_product(model, functional.cross_entropy, pair)
    start = torch.randn(multiply.dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    again = restarted_lanczos(multiply, start, 1, room=4, products=60, tolerance=1e-4)
    for space in (found, again):
        torch.testing.assert_close(space.values, values[-1:], rtol=1e-3, atol=0.0)
        assert space.vectors.shape == (1, len(values))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_top_eigenspace_is_that_of_the_dense_hessian(batch_norm):
    model, pair = network(batch_norm), data()
    values, vectors = torch.linalg.eigh(dense_hessian(model, functional.cross_entropy, pair))
    eigenspace = landscape.top_eigenspace(model, functional.cross_entropy, pair, 5, tolerance=1e-9)
    torch.testing.assert_close(eigenspace.values, values.flip(0)[:5], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        eigenspace.vectors @ eigenspace.vectors.T, torch.eye(5, dtype=torch.float64), atol=1e-12, rtol=0
    )
    for mine, dense in zip(eigenspace.vectors, vectors.T.flip(0), strict=False):
        assert abs(float(mine @ dense)) == pytest.approx(1.0, abs=1e-9)


def test_residuals_are_those_of_the_eigenpairs():
    model, pair = network(), data()
    multiply = landscape.hessian_product(model, functional.cross_entropy, pair)
    eigenspace = landscape.top_eigenspace(model, functional.cross_entropy, pair, 3, tolerance=1e-2)
    for value, vector, residual in zip(*eigenspace, strict=True):
        assert float((multiply(vector) - value * vector).norm()) == pytest.approx(float(residual), rel=1e-6, abs=1e-12)


def test_top_eigenspace_agrees_with_another_package():
    hessian_eigenthings = pytest.importorskip("hessian_eigenthings")
    model, pair = network(), data()
    model.eval()
    operator = hessian_eigenthings.HessianOperator(
        model, [pair], hessian_eigenthings.supervised_loss(functional.cross_entropy)
    )
    package = hessian_eigenthings.lanczos(operator, k=4, which="LA", max_iter=50, tol=1e-10, seed=0)
    eigenspace = landscape.top_eigenspace(model, functional.cross_entropy, pair, 4, tolerance=1e-10)
    order = torch.argsort(package.eigenvalues, descending=True)
    torch.testing.assert_close(eigenspace.values, package.eigenvalues[order].to(torch.float64), rtol=1e-8, atol=1e-10)
    overlap = eigenspace.vectors @ torch.as_tensor(package.eigenvectors).reshape(4, -1)[order].T.to(torch.float64)
    torch.testing.assert_close(overlap.diagonal().abs(), torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-7)


def test_everything_can_be_asked_for_also_where_the_hessian_is_singular():
    # least squares through 3 rows of 6 columns: rank 3 of 7, an invariant subspace early on
    torch.manual_seed(2)
    model = torch.nn.Linear(6, 1).double()
    pair = torch.randn(3, 6, dtype=torch.float64), torch.randn(3, 1, dtype=torch.float64)
    values, _ = torch.linalg.eigh(dense_hessian(model, functional.mse_loss, pair))
    eigenspace = landscape.top_eigenspace(model, functional.mse_loss, pair, 7)
    torch.testing.assert_close(eigenspace.values, values.flip(0), atol=1e-10, rtol=1e-9)


def test_a_loss_that_is_not_finite_later_on_says_so():
    inputs, targets = data()
    inputs[50] = torch.inf
    with pytest.raises(ArithmeticError, match=r"^A product with the Hessian is not finite: look which batch has such"):
        landscape.top_eigenspace(network(), functional.cross_entropy, (inputs, targets), 2, batch_size=32)


@pytest.mark.parametrize("products", [1, 4])
def test_ctrl_c_keeps_the_eigenpairs_so_far(monkeypatch, products):
    model, pair, made = network(), data(), []
    multiply = type(landscape.hessian_product(model, functional.cross_entropy, pair)).__call__

    def interrupted(self, u):
        if len(made) == products:
            raise KeyboardInterrupt
        made.append(u)
        return multiply(self, u)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = landscape.top_eigenspace(model, functional.cross_entropy, pair, 2, iterations=4, tolerance=1e-12)
    monkeypatch.setattr("rdasde.landscape._hessian.HessianProduct.__call__", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        landscape.top_eigenspace(model, functional.cross_entropy, pair, 2, tolerance=1e-12)
    if products < 2:
        assert not hasattr(caught.value, "partial")
        return
    for mine, other in zip(caught.value.partial, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)
    assert "holds the eigenpairs after 4 products, with their residuals." in caught.value.__notes__[0]


def test_too_few_iterations_warn():
    with pytest.warns(RuntimeWarning, match="After 6 Hessian products a residual is"):
        landscape.top_eigenspace(network(), functional.cross_entropy, data(), 5, iterations=6, tolerance=1e-8)


def test_results_do_not_depend_on_how_the_data_come_or_change_the_model():
    model, (inputs, targets) = network(batch_norm=True), data()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert model.training
    loss = functional.cross_entropy
    whole = landscape.top_eigenspace(model, loss, (inputs, targets), 2)
    parts = [(inputs[:30], targets[:30]), (inputs[30:], targets[30:])]
    batched = landscape.top_eigenspace(model, loss, parts, 2)
    torch.testing.assert_close(whole.values, batched.values, rtol=1e-10, atol=0)
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(p.grad is None for p in model.parameters())


def test_channels_last_and_single_precision_work():
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2))
    pair = torch.randn(8, 3, 4, 4), torch.randint(2, (8,))
    plain = landscape.top_eigenspace(model, functional.cross_entropy, pair, 2, tolerance=1e-4)
    model.to(memory_format=torch.channels_last)
    there = landscape.top_eigenspace(model, functional.cross_entropy, pair, 2, tolerance=1e-4)
    assert there.values.dtype == torch.float32
    torch.testing.assert_close(plain.values, there.values, rtol=1e-3, atol=1e-4)


def test_flat_projection_is_the_projection_on_the_complement():
    eigenspace = landscape.top_eigenspace(network(), functional.cross_entropy, data(), 4, tolerance=1e-8)
    flat = landscape.flat_projection(eigenspace)
    x = torch.randn(eigenspace.vectors.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(flat(flat(x)), flat(x))
    assert float((eigenspace.vectors @ flat(x)).abs().max()) < 1e-12
    np.testing.assert_allclose(flat(x.numpy()), flat(x).numpy(), atol=1e-14)
    assert repr(flat) == "FlatProjection(<53 of 57 directions>)"
    middle = float(eigenspace.values[1:3].mean())
    assert landscape.flat_projection(eigenspace, threshold=middle).vectors.shape[0] == 2


def test_share_is_a_ratio_of_lengths():
    rows = torch.eye(7)[:3]
    d = np.array([1.0, 2.0, 2.0, 4.0, 0.0, 0.0, 0.0])
    assert landscape.share(d, rows) == pytest.approx(3.0 / 5.0)
    assert landscape.share(rows[1], rows) == pytest.approx(1.0)
    assert landscape.share(torch.eye(7)[5], rows) == 0.0
    # the basis does not matter, only what it spans
    mixed = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0], [3.0, 0.0, 1.0]]) @ rows.numpy()
    assert landscape.share(d, mixed) == pytest.approx(3.0 / 5.0)


def test_share_of_a_random_direction_is_about_root_k_over_d():
    # E share^2 = k / d exactly; the mean of 400 squares, each of variance below 2 k / d^2, is within 5 of its
    # standard errors but for one chance in a million
    generator = np.random.default_rng(5)
    d, k = 300, 10
    rows = np.linalg.qr(generator.standard_normal((d, k)))[0].T
    squares = [landscape.share(generator.standard_normal(d), rows) ** 2 for _ in range(400)]
    assert np.mean(squares) == pytest.approx(k / d, abs=5.0 * np.sqrt(2.0 * k / d**2 / 400))


EIGENSPACE = landscape.Eigenspace(torch.tensor([3.0, 2.0]), torch.eye(5)[:2], torch.zeros(2))
LOSS = functional.cross_entropy
CASES = [
    (
        lambda: landscape.top_eigenspace("net", LOSS, data(), 2),
        "model is 'net' (str), but must be a torch.nn.Module: pass a network of the right architecture.",
    ),
    (
        lambda: landscape.top_eigenspace(torch.nn.Tanh(), LOSS, data(), 2),
        "model is a network without weights, but must be a network with some: pass one that can be trained.",
    ),
    (
        lambda: landscape.top_eigenspace(network(), "loss", data(), 2),
        "loss is 'loss' (str), but must be a function loss(outputs, targets): "
        "pass for example torch.nn.functional.cross_entropy.",
    ),
    (
        lambda: landscape.top_eigenspace(network(), LOSS, torch.ones(3), 2),
        "data is of type Tensor, but must be a pair (inputs, targets) of tensors, or batches of such pairs that can be "
        "gone through again: pass (X, y), a list or a DataLoader.",
    ),
    (
        lambda: landscape.top_eigenspace(network(), LOSS, (b for b in [data()]), 2),
        "data is of type generator, but must be a pair (inputs, targets) of tensors, or batches of such pairs that can "
        "be gone through again: pass (X, y), a list or a DataLoader.",
    ),
    (
        lambda: landscape.top_eigenspace(network(), LOSS, (torch.ones(3, 5), torch.ones(2)), 2),
        "data is 3 inputs and 2 targets, but must be as many inputs as targets, at least one: "
        "give one target for each input.",
    ),
    (
        lambda: landscape.top_eigenspace(network(), lambda y, t: LOSS(y, t, reduction="none"), data(), 2),
        "loss is a function that returns a tensor of shape (70,) and torch.float64, but must be a function that "
        "returns the mean over a batch as one number, in a tensor: leave its reduction at 'mean'.",
    ),
    (
        lambda: landscape.top_eigenspace(network(), lambda y, t: 1.0, data(), 2),
        "loss is a function that returns 1.0, but must be a function that returns the mean over a batch as one number, "
        "in a tensor: compute it by torch.",
    ),
    (
        lambda: landscape.top_eigenspace(network(), lambda y, t: y.sum() * torch.nan, data(), 2),
        "loss is a function that returns nan, but must be one that is finite at these weights: "
        "look where the training diverged.",
    ),
    (
        lambda: landscape.top_eigenspace(network(), functional.cross_entropy, (data()[0], data()[1] * 0 + 5), 2),
        "loss is a function that fails on outputs and targets of data (Target 5 is out of bounds.), but must be "
        "a function that returns the mean over a batch as one number, in a tensor: "
        "pass for example torch.nn.functional.cross_entropy.",
    ),
    (
        lambda: landscape.top_eigenspace(network(), LOSS, (data()[0][:, :3], data()[1]), 2),
        "data is of inputs of shape (70, 3) and torch.float64 (mat1 and mat2 shapes cannot be multiplied (70x3 and "
        "5x6)), but must be inputs that the model takes: pass those it was trained on.",
    ),
    (
        lambda: landscape.top_eigenspace(network(), LOSS, [(*data(), data()[1])], 2),
        "data is one whose first batch is ['Tensor', 'Tensor', 'Tensor'], but must be a pair (inputs, targets) of "
        "tensors, or batches of such pairs that can be gone through again: give two tensors in each batch, arrays by "
        "torch.from_numpy.",
    ),
    (
        lambda: landscape.top_eigenspace(network(), LOSS, tuple(part.numpy() for part in data()), 2),
        "data is one whose first batch is 'ndarray', but must be a pair (inputs, targets) of tensors, or batches of "
        "such pairs that can be gone through again: give two tensors in each batch, arrays by torch.from_numpy.",
    ),
    (
        lambda: landscape.top_eigenspace(network(), LOSS, [], 2),
        "data is without any batch, but must be a pair (inputs, targets) of tensors, or batches of such pairs that can "
        "be gone through again: give at least one batch.",
    ),
    (
        lambda: landscape.top_eigenspace(network().to("meta"), LOSS, data(), 2),
        "model is one whose 0.weight is on the meta device, but must be one whose parameters have values: "
        "load weights on another device.",
    ),
    (
        lambda: landscape.hessian_product(network(), LOSS, data())(torch.ones(3)),
        "u is a tensor of shape (3,), but must be a tensor of shape (57,): give one number for each weight.",
    ),
    (
        lambda: landscape.hessian_product(network(), LOSS, data())(np.ones(57)),
        "u is an array of shape (57,) (ndarray), but must be a tensor of shape (57,): "
        "give one number for each weight, by torch.from_numpy if they are NumPy's.",
    ),
    (
        lambda: landscape.flat_projection(EIGENSPACE)(torch.ones(3)),
        "x is a tensor of shape (3,), but must be a vector of 5 numbers: give one number for each weight.",
    ),
    (
        lambda: landscape.flat_projection(EIGENSPACE)(np.ones(3)),
        "x is an array of shape (3,), but must be an array of shape (5,) of finite numbers: "
        "give one number for each weight.",
    ),
    (
        lambda: landscape.FlatProjection(None),
        "vectors is None (NoneType), but must be a tensor of shape (k, d): take one from flat_projection(eigenspace).",
    ),
    (
        lambda: landscape.top_eigenspace(network(), LOSS, data(), 58),
        "k is 58, but must be at most 57, the number of weights: ask for fewer eigenvectors.",
    ),
    (
        lambda: landscape.flat_projection(EIGENSPACE, threshold=1.0),
        "threshold is 1.0, but must be at least 2, the smallest eigenvalue found: "
        "ask top_eigenspace for more eigenvectors, or give a larger threshold.",
    ),
    (
        lambda: landscape.share(np.zeros(5), EIGENSPACE),
        "difference is zero, but must be a vector other than zero: compare two different solutions.",
    ),
    (
        lambda: landscape.share(np.ones(5), np.ones((2, 5))),
        "eigenvectors is linearly dependent rows, but must be independent rows: leave out what the others span.",
    ),
    (
        lambda: landscape.share(torch.ones(4), EIGENSPACE),
        "difference is 4 weights, but must be a vector of 5 weights: "
        "pass a network of the same architecture, or its weights as one vector.",
    ),
]


@pytest.mark.parametrize(("call", "message"), CASES)
def test_bad_input_is_refused_in_one_sentence(call, message):
    with warnings.catch_warnings(), pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert str(caught.value) == message
    assert len(message) <= 300


@pytest.mark.parametrize("room", [8, 12, 60])
def test_restarts_find_the_eigenpairs_in_little_memory(room):
    generator = torch.Generator().manual_seed(4)
    turn, _ = torch.linalg.qr(torch.randn(60, 60, generator=generator, dtype=torch.float64))
    values = torch.cat([torch.tensor([9.0, 7.0, 6.5, 5.0, -8.0]), torch.linspace(-1.0, 2.0, 55)]).double()
    matrix = (turn * values) @ turn.T
    counts = []
    space = restarted_lanczos(
        lambda u: matrix @ u,
        torch.randn(60, generator=generator, dtype=torch.float64),
        4,
        room=room,
        products=400,
        tolerance=1e-6,
        after_product=counts.append,
    )
    assert counts == list(range(1, len(counts) + 1))
    assert room < len(counts) < 400 or room == 60
    torch.testing.assert_close(space.values, values[:4], rtol=0.0, atol=1e-8)
    torch.testing.assert_close(space.vectors @ space.vectors.T, torch.eye(4, dtype=torch.float64))
    true = matrix @ space.vectors.T - space.vectors.T * space.values
    torch.testing.assert_close(true.norm(dim=0), space.residuals, rtol=1e-2, atol=1e-9)
    # every vector lies along the true one
    assert bool(((space.vectors @ turn[:, :4]).diagonal().abs() > 1.0 - 1e-10).all())


def test_restarts_stop_after_the_products_allowed():
    matrix = torch.diag(torch.linspace(0.0, 1.0, 200, dtype=torch.float64))
    space = restarted_lanczos(
        lambda u: matrix @ u, torch.ones(200, dtype=torch.float64), 3, room=6, products=11, tolerance=1e-9
    )
    assert space.vectors.shape == (3, 200)
    assert float(space.residuals.max()) > 1e-9
    assert bool((space.values <= 1.0 + 1e-12).all())


def test_the_hessian_of_training_has_the_statistics_of_each_batch():
    from rdasde._network import Network
    from rdasde.landscape._hessian import HessianProduct

    model, (inputs, targets) = network(batch_norm=True), data()
    product = HessianProduct(Network(model), functional.cross_entropy, (inputs, targets), 70)
    held = product(torch.ones(product.dimension, dtype=torch.float64))
    product.in_training()
    moving = product(torch.ones(product.dimension, dtype=torch.float64))
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    start = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    model.train()

    def loss(vector):
        parts = vector.split([shape.numel() for shape in shapes])
        weights = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return functional.cross_entropy(torch.func.functional_call(model, weights, (inputs,)), targets)

    dense = torch.autograd.functional.hessian(loss, start)
    torch.testing.assert_close(moving, dense.sum(dim=1), rtol=1e-8, atol=1e-10)
    assert not torch.allclose(held, moving, rtol=1e-3)
