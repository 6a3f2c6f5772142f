"""Models with hooks, subclasses, parametrizations, weight normalization, frozen and empty parts."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, parametrize  # noqa: E402

from rdasde.pruning import GRDA, compact, parameter_groups  # noqa: E402

torch.set_num_threads(1)


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


class Named(nn.Sequential):
    """A subclass that only has a name."""


def layers(width=4):
    torch.manual_seed(0)
    first, second = nn.Linear(4, width), nn.Linear(width, 4)
    with torch.no_grad():
        first.weight[:2] = 0.0
        second.weight[:, 3] = 0.0
    return first, nn.ReLU(), second


def doubled(module, inputs, output):
    return 2.0 * output


def hooked():
    inner = nn.Sequential(*layers()[:2])
    inner.register_forward_hook(lambda module, inputs, output: output.flip(1))
    return nn.Sequential(inner, layers()[2])


def old_weight_norm():
    with pytest.warns(FutureWarning):
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 4)), nn.ReLU(), *layers())


@pytest.mark.parametrize(
    ("model", "shrinks"),
    [
        (lambda: Residual(*layers()), False),
        (lambda: nn.Sequential(nn.Linear(4, 4), Residual(*layers()), nn.Linear(4, 2)), False),
        (lambda: Named(Named(*layers()[:2]), layers()[2]), True),
        (hooked, False),
        (old_weight_norm, True),
        (lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)), nn.ReLU(), *layers()), True),
    ],
    ids=["root", "inner", "only named", "hooked", "weight_norm", "parametrized"],
)
def test_compact_gives_the_same_outputs(model, shrinks):
    net = model().eval()
    x = torch.randn(8, 4)
    expected = net(x)
    small = compact(net)
    torch.testing.assert_close(small(x), expected)
    count = [sum(p.numel() for p in part.parameters()) for part in (small, net)]
    assert (count[0] < count[1]) == shrinks
    torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize("style", ["old", "parametrized"])
def test_weight_norm_is_pruned_by_its_magnitudes(style):
    torch.manual_seed(0)
    if style == "old":
        with pytest.warns(FutureWarning):
            layer = nn.utils.weight_norm(nn.Linear(5, 3))
        magnitude, direction = layer.weight_g, layer.weight_v
    else:
        layer = parametrizations.weight_norm(nn.Linear(5, 3))
        magnitude, direction = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    groups = parameter_groups(layer, c=50.0, mu=0.6)
    assert [id(p) for p in groups[0]["params"]] == [id(magnitude)]
    assert id(direction) in {id(p) for p in groups[1]["params"]}
    optimizer = GRDA(groups, lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        (layer(torch.randn(16, 5)) ** 2).mean().backward()
        optimizer.step()
    out = layer(torch.randn(2, 5))
    assert bool(out.isfinite().all())
    assert int((magnitude == 0).sum()) > 0


class Same(nn.Module):
    def forward(self, x):
        return x


def test_a_parametrized_bias_is_spared():
    layer = nn.Linear(3, 2)
    for name in ("weight", "bias"):
        parametrize.register_parametrization(layer, name, Same())
    weights, rest = parameter_groups(layer, c=1.0)
    assert [tuple(p.shape) for p in weights["params"]] == [(2, 3)]
    assert [tuple(p.shape) for p in rest["params"]] == [(2,)]


def test_what_is_unfrozen_later_is_trained():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    optimizer = GRDA(parameter_groups(model, c=1e-3), lr=0.1)
    before = model[0].weight.clone()
    for frozen in (True, False):
        model[0].requires_grad_(not frozen)
        optimizer.zero_grad()
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()
        assert bool((model[0].weight == before).all()) == frozen


def test_an_axis_that_a_parameter_lacks_is_refused():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3, 2))
    message = r"axis is 3 for a parameter of shape \(2, 3\), but must be below 2 there: put tensors of other shapes"
    with pytest.raises(ValueError, match=message):
        GRDA(parameter_groups(model), lr=0.1, c=1e-3, regularizer="group_lasso", axis=3)
    GRDA([torch.zeros(3, requires_grad=True)], lr=0.1, c=1e-3, regularizer="group_lasso", axis=1)


@pytest.mark.parametrize("regularizer", ["l1", "group_lasso"])
@pytest.mark.parametrize("shapes", [[(0, 3)], [(0, 3), (4, 3)]])
def test_empty_tensors_have_no_part_in_a_target(regularizer, shapes):
    torch.manual_seed(0)
    ws = [torch.randn(shape, requires_grad=True) for shape in shapes]
    optimizer = GRDA(ws, lr=0.1, sparsity_target=0.5, total_steps=4, regularizer=regularizer)
    for _ in range(4):
        optimizer.zero_grad()
        sum((w**2).sum() for w in ws).backward()
        optimizer.step()
    if len(ws) == 2:
        assert int((ws[1] == 0).sum()) == 6
