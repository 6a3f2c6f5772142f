"""Planes and curves between networks, batch norm included."""

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
landscape = pytest.importorskip("rdasde.landscape")
Network = pytest.importorskip("rdasde._network").Network
functional = torch.nn.functional
LOSS = functional.cross_entropy


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(seed, batch_norm=True):
    torch.manual_seed(seed)
    norm = [torch.nn.BatchNorm1d(8)] if batch_norm else []
    return torch.nn.Sequential(torch.nn.Linear(4, 8), *norm, torch.nn.ReLU(), torch.nn.Linear(8, 3))


@pytest.fixture(scope="module")
def rows():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 4, generator=generator)
    return inputs, (inputs[:, :3] + 0.5 * inputs[:, 1:]).argmax(dim=1)


@pytest.fixture(scope="module")
def trained(rows):
    """Two networks with batch norm, from two starts."""
    networks = []
    for seed in (1, 2):
        model = network(seed)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
        for _ in range(200):
            optimizer.zero_grad()
            LOSS(model(rows[0]), rows[1]).backward()
            optimizer.step()
        networks.append(model)
    return networks


def flat(model):
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def by_hand(model, vector, inputs, targets, statistics):
    """Loss and accuracy at some weights, batch-norm statistics those of one batch of everything; no helper of ours."""
    names, shapes = zip(*[(n, p.shape) for n, p in model.named_parameters()], strict=True)
    parts = vector.to(torch.float32).split([s.numel() for s in shapes])
    weights = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
    hidden = functional.linear(statistics, weights["0.weight"], weights["0.bias"])
    mean, variance = hidden.mean(0), hidden.var(0)
    hidden = functional.linear(inputs, weights["0.weight"], weights["0.bias"])
    hidden = (hidden - mean) / torch.sqrt(variance + 1e-5) * weights["1.weight"] + weights["1.bias"]
    outputs = functional.linear(torch.relu(hidden), weights["3.weight"], weights["3.bias"])
    return float(LOSS(outputs, targets)), float((outputs.argmax(1) == targets).float().mean())


def test_plane_has_orthonormal_coordinates_that_keep_distances():
    generator = torch.Generator().manual_seed(3)
    a, b, c = torch.randn(3, 50, generator=generator, dtype=torch.float64)
    plane = landscape.plane(a, b, c)
    torch.testing.assert_close(plane.axes @ plane.axes.T, torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-12)
    for corner, solution in zip(plane.corners, (a, b, c), strict=True):
        torch.testing.assert_close(plane.point(*corner), solution)
        np.testing.assert_allclose(plane.project(solution), corner, atol=1e-10)
    assert plane.corners[1] == pytest.approx([float((b - a).norm()), 0.0])
    assert plane.corners[2, 1] > 0.0
    assert np.linalg.norm(plane.corners[1] - plane.corners[2]) == pytest.approx(float((b - c).norm()))
    # the projection is the nearest point
    off = torch.randn(50, generator=generator, dtype=torch.float64)
    near = plane.point(*plane.project(off))
    assert float((plane.axes @ (off - near)).abs().max()) < 1e-10


def test_surface_is_the_loss_with_batch_norm_estimated_at_every_point(rows, trained):
    model, other = trained
    plane = landscape.plane(model, other, flat(network(3)))
    x, y = [-0.5, plane.corners[1, 0]], [0.0, 1.5]
    test = rows[0][:50] + 0.1, rows[1][:50]
    surface = landscape.surface(model, plane, LOSS, test, x=x, y=y, statistics=rows)
    assert surface["loss"].dims == ("y", "x")
    for i, v in enumerate(y):
        for j, u in enumerate(x):
            loss, accuracy = by_hand(model, plane.point(u, v), *test, rows[0])
            assert float(surface["loss"][i, j]) == pytest.approx(loss, rel=1e-4)
            assert float(surface["accuracy"][i, j]) == pytest.approx(accuracy)


def test_batch_norm_statistics_are_averages_over_batches_weighted_by_their_sizes(rows, trained):
    model = trained[0]
    plane = landscape.plane(*trained, flat(network(3)))
    inputs, targets = rows
    whole = landscape.surface(model, plane, LOSS, rows, x=[0.0], y=[0.0], batch_size=256)
    # the same rows twice over have the same averages
    twice = [(inputs, targets), (inputs, targets)]
    again = landscape.surface(model, plane, LOSS, twice, x=[0.0], y=[0.0])
    assert whole["loss"].item() == pytest.approx(again["loss"].item(), rel=1e-6)
    # statistics of the model itself do not matter
    blank = network(9)
    fresh = landscape.surface(blank, plane, LOSS, rows, x=[0.0], y=[0.0], batch_size=256)
    assert whole["loss"].item() == fresh["loss"].item()


def test_curve_keeps_its_ends_and_its_loss_stays_low(rows, trained):
    a, b = trained
    before = {name: value.clone() for name, value in a.state_dict().items()}
    curve = landscape.curve(a, a, b, LOSS, rows, epochs=40, learning_rate=0.1, points=11, seed=0)
    assert curve["loss"].dims == ("path", "t")
    for path in ("curve", "segment"):
        for t, model in ((0, a), (-1, b)):
            loss, accuracy = by_hand(a, flat(model), *rows, rows[0])
            assert float(curve["loss"].sel(path=path)[t]) == pytest.approx(loss, rel=1e-4)
            assert float(curve["accuracy"].sel(path=path)[t]) == pytest.approx(accuracy)
    ends = float(curve["loss"].sel(path="curve")[[0, -1]].max())
    assert float(curve["loss"].sel(path="segment").max()) > ends + 0.3  # two starts: a barrier in between
    assert float(curve["loss"].sel(path="curve").max()) < ends + 0.1
    assert float(curve["training_loss"][-1]) < float(curve["training_loss"][0])
    # the bend is what was trained: the curve's middle is a/4 + bend/2 + b/4
    middle = 0.25 * (flat(a) + flat(b)) + 0.5 * torch.from_numpy(curve["bend"].values)
    assert float(curve["loss"].sel(path="curve")[5]) == pytest.approx(by_hand(a, middle, *rows, rows[0])[0], rel=1e-4)
    for name, value in a.state_dict().items():
        assert torch.equal(value, before[name])


def test_curve_depends_on_its_arguments_alone(rows, trained):
    def once():
        torch.rand(3)  # whoever drew before
        return landscape.curve(trained[0], *trained, LOSS, rows, epochs=2, points=3, seed=5)

    first, second = once(), once()
    assert first.identical(second)
    other = landscape.curve(trained[0], *trained, LOSS, rows, epochs=2, points=3, seed=6)
    assert not np.array_equal(first["bend"], other["bend"])


def test_the_gradient_of_the_bend_is_that_of_the_loss_through_the_curve(rows):
    # one batch, one step, no momentum: bend - bend_0 = -rate dL(w(t))/d bend, by autograd through the formula
    model = network(1, batch_norm=False).double()
    a, b = flat(model), flat(network(2, batch_norm=False).double())
    inputs, targets = rows[0].double(), rows[1]
    curve = landscape.curve(
        model, a, b, LOSS, [(inputs, targets)], epochs=1, learning_rate=0.3, momentum=0.0, points=2, seed=7
    )
    t = float(torch.rand((), generator=torch.Generator().manual_seed(7), dtype=torch.float64))
    bend = (0.5 * (a + b)).requires_grad_(True)
    w = (1 - t) ** 2 * a + 2 * t * (1 - t) * bend + t**2 * b
    parts = w.split([p.numel() for p in model.parameters()])
    weights = {n: p.view(q.shape) for p, (n, q) in zip(parts, model.named_parameters(), strict=True)}
    LOSS(torch.func.functional_call(model, weights, (inputs,)), targets).backward()
    target = bend.detach() - 0.3 * bend.grad
    np.testing.assert_allclose(curve["bend"].values, target.numpy(), rtol=1e-10, atol=1e-12)


def test_places_in_the_precision_of_the_model_are_those_in_double(rows, trained, monkeypatch):
    # as on a GPU, where no place is computed in double precision
    plane = landscape.plane(*trained, flat(network(3)))
    places = {"x": [0.0, 1.0], "y": [0.0, 2.0]}
    doubles = landscape.surface(trained[0], plane, LOSS, rows, **places)
    curve = curve_of(rows, trained, LOSS)
    monkeypatch.setattr("rdasde._network.Network.hold", lambda self, vector: vector.to(self.device, self.dtype))
    moved = []
    move = Network.move
    monkeypatch.setattr("rdasde._network.Network.move", lambda self, vector: (moved.append(vector), move(self, vector)))
    singles = landscape.surface(trained[0], plane, LOSS, rows, **places)
    np.testing.assert_allclose(singles["loss"], doubles["loss"], rtol=1e-5)
    np.testing.assert_allclose(curve_of(rows, trained, LOSS)["loss"], curve["loss"], rtol=1e-5)
    assert {vector.dtype for vector in moved} == {torch.float32}
    assert len(moved) == 4 + 6 + 6  # places; steps of the bend, points of both paths


def test_targets_that_are_no_classes_have_no_accuracy():
    model = torch.nn.Linear(2, 1)
    pair = torch.ones(4, 2), torch.zeros(4, 1)
    curve = landscape.curve(
        model, torch.zeros(3), torch.ones(3), functional.mse_loss, pair, epochs=1, learning_rate=1e-12, points=3
    )
    assert np.isnan(curve["accuracy"]).all()
    np.testing.assert_allclose(curve["loss"].sel(path="segment"), [0.0, 1.5**2, 9.0])
    np.testing.assert_allclose(curve["loss"].sel(path="curve"), curve["loss"].sel(path="segment"))


def test_a_training_that_diverges_says_so(rows):
    model = network(1, batch_norm=False)
    with pytest.raises(ArithmeticError, match="The training of the bend diverged in epoch"):
        landscape.curve(model, model, network(2, batch_norm=False), LOSS, rows, learning_rate=1e30, epochs=5)


def test_without_torch_one_sentence_says_what_to_install():
    script = """
import sys
sys.modules["torch"] = None
import rdasde
for name in ("landscape",):
    try:
        __import__(f"rdasde.{name}")
    except ImportError as error:
        print(error)
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout == "rdasde.landscape needs PyTorch, which is not installed: pip install 'rdasde[torch]'.\n"


def test_import_of_the_package_leaves_torch_alone():
    process = subprocess.run(
        [sys.executable, "-c", "import rdasde, sys; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout == "False\n"


def interrupting(calls):
    """A loss during whose call Ctrl-C is pressed."""
    made = 0

    def loss(outputs, targets):
        nonlocal made
        made += 1
        if made == calls:
            raise KeyboardInterrupt
        return LOSS(outputs, targets)

    return loss


def curve_of(rows, trained, loss, epochs=3):
    return landscape.curve(trained[0], *trained, loss, rows, epochs=epochs, batch_size=128, points=3, seed=5)


def test_ctrl_c_in_a_curve_keeps_the_bend_after_the_last_epoch(rows, trained):
    with pytest.raises(KeyboardInterrupt) as caught:
        curve_of(rows, trained, interrupting(1 + 2))  # the loss is tried once; two batches an epoch
    assert not hasattr(caught.value, "partial")
    with pytest.raises(KeyboardInterrupt) as caught:
        curve_of(rows, trained, interrupting(1 + 2 + 2))
    partial = caught.value.partial
    assert partial["training_loss"].sizes == {"epoch": 1}
    assert partial["bend"].identical(curve_of(rows, trained, LOSS, epochs=1)["bend"])
    assert np.isnan(partial["loss"]).all()
    assert caught.value.__notes__ == [
        "rdasde: .partial of this KeyboardInterrupt (sys.last_value) holds the bend after 1 of 3 epochs, and losses, "
        "NaN where not measured yet."
    ]


def test_ctrl_c_while_a_curve_is_measured_keeps_what_was(rows, trained):
    whole = curve_of(rows, trained, LOSS)
    with pytest.raises(KeyboardInterrupt) as caught:
        curve_of(rows, trained, interrupting(1 + 6 + 5))  # all rows are one batch of 512
    partial = caught.value.partial
    assert partial[["bend", "training_loss"]].identical(whole[["bend", "training_loss"]])
    for name in ("loss", "accuracy"):
        assert partial[name].notnull().values.tolist() == [[True, True, True], [True, False, False]]
        assert partial[name].fillna(whole[name]).identical(whole[name])


def test_ctrl_c_in_a_surface_keeps_the_places_done(rows, trained):
    plane = landscape.plane(*trained, flat(network(3)))
    places = {"x": [0.0, 1.0], "y": [0.0, 1.0, 2.0]}
    whole = landscape.surface(trained[0], plane, LOSS, rows, **places)
    with pytest.raises(KeyboardInterrupt) as caught:
        landscape.surface(trained[0], plane, interrupting(1 + 4), rows, **places)
    partial = caught.value.partial
    assert partial["loss"].notnull().values.tolist() == [[True, True], [True, False], [False, False]]
    assert partial.fillna(whole).identical(whole)
    assert "holds the surface at 3 of 6 places, NaN at the others." in caught.value.__notes__[0]


def test_a_loader_is_looked_at_without_a_change_of_what_it_draws_later(rows, trained):
    def loader():
        torch.manual_seed(0)
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*rows), batch_size=64, shuffle=True)

    data, plain = loader(), loader()
    wanted = next(iter(plain))[0]
    torch.manual_seed(0)
    landscape.hessian_product(trained[0], LOSS, data)
    assert torch.equal(next(iter(data))[0], wanted)


A, B = torch.zeros(6), torch.ones(6)
LINEAR = torch.nn.Linear(2, 2)
PAIR = (torch.ones(4, 2), torch.zeros(4, dtype=torch.int64))
PLANE = landscape.plane(A, B, torch.eye(6)[0])
CASES = [
    (
        lambda: landscape.plane(A, B, 0.5 * B),
        "c is on the line through a and b, but must be a solution elsewhere: "
        "pass three solutions that are not on one line.",
    ),
    (
        lambda: landscape.plane(A, A, B),
        "b is the same as a, but must be a solution elsewhere: pass three solutions that are not on one line.",
    ),
    (
        lambda: landscape.plane(A, B, torch.ones(5)),
        "c is 5 weights, but must be a vector of 6 weights: "
        "pass a network of the same architecture, or its weights as one vector.",
    ),
    (
        lambda: landscape.plane(A, B * torch.nan, B),
        "b is weights that are not all finite, but must be finite weights: look where the training diverged.",
    ),
    (
        lambda: landscape.surface(LINEAR, PLANE, LOSS, PAIR, x=[0.0, 0.0]),
        "x is an array that does not increase, but must be strictly increasing: pass np.unique of it.",
    ),
    (
        lambda: landscape.surface(LINEAR, (0, 1), LOSS, PAIR),
        "plane is (0, 1) (tuple), but must be what landscape.plane returned: pass that.",
    ),
    (
        lambda: landscape.surface(LINEAR, PLANE, LOSS, PAIR, statistics=torch.ones(2)),
        "statistics is of type Tensor, but must be a pair (inputs, targets) of tensors, or batches of such pairs that "
        "can be gone through again: pass (X, y), a list or a DataLoader.",
    ),
    (
        lambda: landscape.curve(LINEAR, A, torch.ones(7), LOSS, PAIR),
        "b is 7 weights, but must be a vector of 6 weights: "
        "pass a network of the same architecture, or its weights as one vector.",
    ),
    (
        lambda: landscape.curve(LINEAR, A, B, LOSS, PAIR, points=1),
        "points is 1, but must be a whole number >= 2: the ends count.",
    ),
    (
        lambda: landscape.curve(LINEAR, A, B, LOSS, PAIR, epochs=0),
        "epochs is 0, but must be a whole number >= 1: give the number of passes over the data.",
    ),
    (
        lambda: landscape.curve(LINEAR, A, B, LOSS, PAIR, momentum=1.0),
        "momentum is 1.0, but must be a finite number >= 0 and < 1: give for example momentum=0.9.",
    ),
    (
        lambda: landscape.curve(LINEAR, A, B, LOSS, PAIR, evaluate=[]),
        "evaluate is without any batch, but must be a pair (inputs, targets) of tensors, or batches of such pairs that "
        "can be gone through again: give at least one batch.",
    ),
    (
        lambda: landscape.curve(LINEAR, A, B, lambda y, t: y.detach().mean(), PAIR),
        "loss is a function whose result has no gradient, but must be a function that returns the mean over a batch as "
        "one number, in a tensor: compute it of the outputs by torch, not detached.",
    ),
    (
        lambda: landscape.surface(LINEAR, PLANE, lambda y, t: LOSS(y, t, reduction="none"), PAIR),
        "loss is a function that returns a tensor of shape (4,) and torch.float32, but must be a function that returns "
        "the mean over a batch as one number, in a tensor: leave its reduction at 'mean'.",
    ),
    (
        lambda: landscape.plane(LINEAR, B, torch.nn.Linear(2, 2, device="meta")),
        "c is one whose weight is on the meta device, but must be one whose parameters have values: "
        "load weights on another device.",
    ),
    (
        lambda: landscape.plane(torch.zeros(6, device="meta"), B, A),
        "a is a tensor on the meta device, but must be a vector of real numbers: "
        "pass a network, or torch.nn.utils.parameters_to_vector(model.parameters()).",
    ),
    (
        lambda: landscape.plane(torch.nn.ReLU(), B, A),
        "a is a network without weights, but must be one with some: "
        "pass a network, or torch.nn.utils.parameters_to_vector(model.parameters()).",
    ),
    (
        lambda: landscape.plane(None, B, A),
        "a is None (NoneType), but must be an array of shape (n,) of finite numbers: "
        "pass a network, or torch.nn.utils.parameters_to_vector(model.parameters()).",
    ),
    (
        lambda: landscape.plane([[1.0], [2.0, 3.0]], B, A),
        "a is a ragged sequence, but must be an array of shape (n,) of finite numbers: "
        "pass a network, or torch.nn.utils.parameters_to_vector(model.parameters()).",
    ),
    (
        lambda: PLANE.grid(0),
        "size is 0, but must be a whole number >= 2: give how many places along each axis, for example size=21.",
    ),
    (
        lambda: PLANE.grid(2**63 - 1),
        "size is 9223372036854775807, but must be at most 10000: the network is evaluated at its square of places.",
    ),
    (
        lambda: landscape.curve(
            network(0), network(1), network(2), LOSS, (torch.ones(4, 4), torch.zeros(4).long()), points=2**63 - 1
        ),
        "points is 9223372036854775807, but must be at most 1000000: the network is evaluated at each of them.",
    ),
    (
        lambda: PLANE.grid(margin=-5),
        "margin is -5, but must be a finite number >= 0: give a share of the extent, for example margin=0.2.",
    ),
    (
        lambda: PLANE.point("a", 0),
        "x is 'a' (str), but must be a finite number: give a distance along the first axis.",
    ),
    (
        lambda: landscape.curve(LINEAR, A, B, LOSS, PAIR, learning_rate=0.0),
        "learning_rate is 0.0, but must be a finite number > 0: give for example learning_rate=0.05.",
    ),
]


@pytest.mark.parametrize(("call", "message"), CASES)
def test_bad_input_is_refused_in_one_sentence(call, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert str(caught.value) == message
    assert len(message) <= 300


class Batches:
    """Pairs of tensors, and then whatever a function makes."""

    def __init__(self, rows, good, then):
        self.rows, self.good, self.then = rows, good, then

    def __iter__(self):
        for _ in range(self.good):
            yield self.rows
        yield self.then()


def fails(*_):
    raise KeyError("no")


WORK = {
    "surface": lambda model, loss, data: landscape.surface(
        model, landscape.plane(*map(flat, map(network, (1, 2, 3)))), loss, data, x=[0.0, 1.0], y=[0.0, 1.0]
    ),
    "curve": lambda model, loss, data: landscape.curve(model, network(1), network(2), loss, data, epochs=1, points=2),
    "top_eigenspace": lambda model, loss, data: landscape.top_eigenspace(model, loss, data, 2),
}


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("good", [0, 2])
def test_data_that_fail_on_the_way(rows, work, good):
    which = f"batch {good}" if good else "first batch"
    sentences = {
        fails: f"^data is one that raises KeyError .* at batch {good}, but must be a pair .*: make it work for every",
        lambda: None: f"^data is one whose {which} is 'NoneType', but must be a pair .*: give two tensors",
        lambda: (1.0, 2.0): rf"^data is one whose {which} is \['float', 'float'\], but must be a pair",
        lambda: rows[0]: f"^data is one whose {which} is 'Tensor', but must be a pair",
    }
    for then, sentence in sentences.items():
        with pytest.raises(ValueError, match=sentence) as caught:
            WORK[work](network(0), LOSS, Batches(rows, good, then))
        assert isinstance(caught.value.__cause__, KeyError) == (then is fails)
    if good:
        with pytest.raises(ValueError, match=r"^data is one with inputs of shape \(1, 3\) and torch\.float32 \(mat1"):
            WORK[work](network(0), LOSS, Batches(rows, good, lambda: (torch.ones(1, 3), torch.zeros(1).long())))


@pytest.mark.parametrize("work", WORK)
def test_a_loss_that_fails_on_the_way(rows, work):
    sentences = {
        fails: r"^loss is a function that raises KeyError .* at a batch of \d+, but must be a function ",
        lambda *_: None: r"^loss is a function that returns None at a batch of \d+, but must be a function ",
        lambda *_: torch.ones(2): r"^loss is a function that returns a tensor of shape \(2,\) at a batch of \d+, but ",
        lambda *_: 1j: r"^loss is a function that returns 1j at a batch of \d+, but must be a function ",
    }
    if work != "surface":
        sentences[lambda *_: torch.ones(())] = (
            r"^loss is a function whose result has no gradient at a batch of \d+, but"
        )
    for then, sentence in sentences.items():
        calls = iter(range(10**9))

        def loss(*arguments, calls=calls, then=then):
            return LOSS(*arguments) if next(calls) < 2 else then(*arguments)

        with pytest.raises(ValueError, match=sentence):
            WORK[work](network(0), loss, rows)
