"""Groups across tensors: they partition, they end at zero together, and what ends at zero goes."""

import copy
import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from rdasde.pruning import GRDA, compact, directional_prune, group_labels, parameter_groups  # noqa: E402
from rdasde.pruning._mirror import joint_soft_threshold  # noqa: E402
from rdasde.pruning._training import lenet, resnet8  # noqa: E402

torch.set_num_threads(1)


def filters(model, **options):
    if not isinstance(model[1], nn.MaxPool2d):
        pytest.importorskip("torch_pruning")
    return parameter_groups(model, structure="filters", **options)


def train(model, optimizer, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = torch.randn(16, 1, 28, 28, generator=generator)
        y = (x[:, 0, :14].mean((1, 2)) > x[:, 0, 14:].mean((1, 2))).long()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


@pytest.mark.parametrize("network", [lenet, resnet8])
def test_groups_partition_the_parameters(network):
    model = network()
    mode = model.training
    groups = filters(model, c=1e-3)
    assert model.training == mode
    together = [id(p) for group in groups for p in group["params"]]
    assert sorted(together) == sorted(id(p) for p in model.parameters())
    labels = group_labels(model, groups).numpy()
    assert len(labels) == sum(p.numel() for p in model.parameters())
    assert set(labels) == set(range(-1, labels.max() + 1))


def test_groups_of_lenet_by_hand():
    model = lenet()
    labels = group_labels(model, filters(model))
    counts = torch.bincount(labels[labels >= 0])
    # a filter and its bias; of the last hidden layer also the ten weights that read a unit
    assert counts.tolist() == [26] * 20 + [20 * 25 + 1] * 50 + [800 + 1 + 10] * 500
    assert int((labels < 0).sum()) == 10  # the biases of the outputs


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_groups_go_across_residual_sums(memory_format):
    model = resnet8().to(memory_format=memory_format)  # the mean over pictures differs between them
    (group, rest) = filters(model)
    by_name = {id(p): name for name, p in model.named_parameters()}
    of = {by_name[id(p)]: x for p, x in zip(group["params"], group["groups"], strict=True)}
    stream = of["0.weight"].flatten()
    for name in ("1.weight", "1.bias", "3.branch.3.weight", "3.branch.4.bias"):
        assert torch.equal(of[name].flatten(), stream)
    assert torch.equal(of["5.shortcut.0.weight"].flatten(), of["5.branch.3.weight"].flatten())
    assert of["8.weight"].shape == (1, 32)  # read by the classifier, whose outputs stay
    assert torch.equal(of["8.weight"].flatten(), of["5.branch.4.weight"].flatten())
    assert [by_name[id(p)] for p in rest["params"]] == ["8.bias"]


def test_the_map_is_that_of_a_loop_over_groups():
    rng = np.random.default_rng(0)
    shapes = [((4, 3, 2), (4, 1, 1)), ((5, 4), (1, 4)), ((4,), (4,))]
    tensors = [torch.from_numpy(rng.standard_normal(shape)) for shape, _ in shapes]
    labels = [torch.tensor([0, 1, -1, 1]).reshape(shape) for _, shape in shapes]
    outs = [torch.zeros_like(t) for t in tensors]
    joint_soft_threshold(tensors, labels, 2, 0.4, outs)
    flat = torch.cat([t.flatten() for t in tensors]).numpy()
    groups = torch.cat([x.expand(t.shape).flatten() for x, t in zip(labels, tensors, strict=True)]).numpy()
    wanted = flat.copy()
    for label in (0, 1):
        a = flat[groups == label]
        wanted[groups == label] = a * max(1 - np.sqrt(a.size) * 0.4 / np.linalg.norm(a), 0.0)
    np.testing.assert_allclose(torch.cat([t.flatten() for t in outs]).numpy(), wanted, rtol=1e-12)
    # and with every direction flat, the closed form of directional pruning
    inside = groups >= 0
    closed = directional_prune(flat[inside], np.eye(inside.sum()), 0.4, groups=groups[inside])
    np.testing.assert_allclose(closed, wanted[inside], rtol=1e-12)


@pytest.mark.parametrize("network", [lenet, resnet8])
def test_what_ends_at_zero_can_be_taken_out(network):
    torch.manual_seed(0)
    model = network()
    optimizer = GRDA(filters(model), lr=0.05, mu=0.6, sparsity_target=0.6, total_steps=25)
    train(model, optimizer, 25)
    labels = group_labels(model, optimizer.param_groups)
    weights = nn.utils.parameters_to_vector(model.parameters())
    zero = torch.stack([(weights[labels == k] == 0).all() for k in range(int(labels.max()) + 1)])
    some = torch.stack([(weights[labels == k] == 0).any() for k in range(int(labels.max()) + 1)])
    assert torch.equal(zero, some)  # whole groups, or nothing
    inside = labels >= 0
    assert abs(float((weights[inside] == 0).float().mean()) - 0.6) < 0.06
    x = torch.randn(4, 1, 28, 28)
    small = compact(model, x)
    torch.testing.assert_close(small(x), model.eval()(x), rtol=0, atol=1e-5)
    assert small.compacted.kept == ()
    # nothing of a group at zero is left, but for the one channel that a layer keeps
    left = sum(p.numel() for p in small.parameters())
    assert left <= int((weights != 0).sum() + (weights[~inside] == 0).sum())


def test_the_state_goes_on_bit_for_bit_and_repeats():
    def start():
        torch.manual_seed(1)
        model = lenet()
        return model, GRDA(filters(model, c=0.5), lr=0.05, mu=0.6)

    model, optimizer = start()
    train(model, optimizer, 4)
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    weights = copy.deepcopy(model.state_dict())
    train(model, optimizer, 4, seed=1)
    again, other = start()
    again.load_state_dict(weights)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    train(again, other, 4, seed=1)
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert "<570 groups>" in repr(optimizer)
    assert any(bool((p == 0).any()) for p in model.parameters())


def test_capturable_and_tensor_rates_give_the_same():
    results = []
    for options in ({"lr": 0.05}, {"lr": torch.tensor(0.05, dtype=torch.float64), "capturable": True}):
        torch.manual_seed(1)
        model = lenet()
        optimizer = GRDA(filters(model, c=0.5), mu=0.6, **options)
        train(model, optimizer, 3)
        results.append(nn.utils.parameters_to_vector(model.parameters()))
    torch.testing.assert_close(*results, rtol=0, atol=1e-6)
    assert torch.equal(results[0] == 0, results[1] == 0)


def test_a_frozen_part_counts_and_stays():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    groups = parameter_groups(model, structure="filters", c=10.0)
    model[2].weight.requires_grad_(False)
    optimizer = GRDA(groups, lr=0.1)
    before = model[2].weight.clone()
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    assert torch.equal(model[2].weight, before)
    assert bool((model[0].weight == 0).all())


@pytest.mark.parametrize("network", [lenet, resnet8])
def test_by_layer_every_layer_meets_its_target(network):
    torch.manual_seed(0)
    model = network()
    groups = filters(model, by_layer=True)
    one = group_labels(model, filters(model))
    labels = group_labels(model, groups)
    for side in (one, labels):  # the same groups, in another order
        side[side < 0] = int(side.max()) + 1
    pairs = set(zip(one.tolist(), labels.tolist(), strict=True))
    assert len(pairs) == len(one.unique()) == len(labels.unique())
    assert len(groups) == {"lenet": 4, "resnet8": 7}[network.__name__]
    optimizer = GRDA(groups, lr=0.05, mu=0.6, sparsity_target=0.5, total_steps=10)
    train(model, optimizer, 10)
    for group in optimizer.param_groups[:-1]:
        zero, entries = 0, 0
        for p, label in zip(group["params"], group["groups"], strict=True):
            zero, entries = zero + int((p == 0).sum()), entries + int((label.expand(p.shape) >= 0).sum())
        assert abs(zero / entries - 0.5) < 0.1


class Tangled(nn.Module):
    """Whose only channels are mixed by a softmax."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(torch.softmax(self.first(x), dim=-1))


def test_bad_arguments_are_answered_in_a_sentence():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"^regularizer is 'l1', but must be 'group_lasso' where structure is 'filt"):
        parameter_groups(model, structure="filters", regularizer="l1")
    with pytest.raises(ValueError, match=r"^structure is 'rows', but must be"):
        parameter_groups(model, structure="rows")
    one = r"^model is a Sequential none of whose channels could be taken out, but must be one with channels between"
    with pytest.raises(ValueError, match=one):
        parameter_groups(nn.Sequential(nn.Linear(3, 4)), structure="filters")
    with pytest.raises(ValueError, match=r"^groups is groups without labels, but must be what parameter_groups"):
        group_labels(model, parameter_groups(model))
    groups = parameter_groups(model, structure="filters")
    with pytest.raises(ValueError, match=r"^groups is groups of parameters that the model has not, but must be"):
        group_labels(nn.Linear(3, 4), groups)
    with pytest.raises(ValueError, match=r"^regularizer is 'l1', but must be 'group_lasso' where groups is given"):
        GRDA([groups[0] | {"regularizer": "l1"}], lr=0.1)
    wrong = [label[:1].reshape(-1)[:1].repeat(3) for label in groups[0]["groups"]]
    with pytest.raises(ValueError, match=r"^groups is of shape \(3,\) for a parameter of shape \(4, 3\), but must be"):
        GRDA([groups[0] | {"groups": wrong}], lr=0.1)
    with pytest.raises(TypeError, match=r"^groups is 3 \(int\), but must be a list of whole numbers"):
        GRDA([groups[0] | {"groups": 3}], lr=0.1)
    with pytest.raises(ValueError, match=r"^groups is for 1 parameters \(there are 3\), but must be"):
        GRDA([groups[0] | {"groups": groups[0]["groups"][:1]}], lr=0.1)
    optimizer = GRDA(groups, lr=0.1, c=1.0)
    other = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    there = GRDA(parameter_groups(other, structure="filters"), lr=0.1, c=1.0)
    with pytest.raises(ValueError, match=r"^state_dict is that of groups which do not fit these parameters, but must"):
        there.load_state_dict(optimizer.state_dict())


def test_a_model_that_cannot_be_followed_says_so():
    pytest.importorskip("torch_pruning")
    with pytest.raises(ValueError, match=r"^model is a Tangled none of whose channels could be taken out"):
        parameter_groups(Tangled(), structure="filters", example=torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"^example is None, but must be inputs of the model where they are of no com"):
        parameter_groups(nn.Sequential(nn.Conv3d(1, 2, 1), nn.Softmax(1)), structure="filters")
