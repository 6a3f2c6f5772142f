"""Counting zeros, masks, and smaller networks with the same outputs."""

import copy
import functools
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

from rdasde.pruning import (  # noqa: E402
    GRDA,
    apply_masks,
    compact,
    cost,
    export_masks,
    group_labels,
    parameter_groups,
    sparsity,
    to_sparse,
)

torch.set_num_threads(1)


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def zero(tensor, index=...):
    with torch.no_grad():
        tensor[index] = 0.0


def test_counts_zeros_of_either_sign_and_nan_apart():
    model = mlp()
    with torch.no_grad():
        model[0].weight[0] = 0.0
        model[0].weight[1] = -0.0
        model[2].bias[0] = math.nan
        model[2].weight[0, 0] = 1e-45  # the smallest subnormal is not zero
    counts = sparsity(model)
    assert (counts.zeros, counts.total, counts.nans) == (12, 53, 1)
    assert counts.share == 12 / 53
    assert (counts["0.weight"].zeros, counts["0.weight"].share) == (12, 0.4)
    assert (counts["2.bias"].nans, counts["2.bias"].zeros) == (1, 0)
    assert repr(counts) == "Sparsity(12 of 53 exactly zero, 22.64 %, 1 NaN)"
    with pytest.raises(KeyError):
        counts["3.weight"]


def test_table_and_html():
    model = mlp()
    zero(model[0].weight, 0)
    counts = sparsity(model)
    assert counts.table().splitlines() == [
        "layer     shape  zeros  of    share",
        "0.weight  5 × 6      6  30  20.00 %",
        "0.bias    5          0   5   0.00 %",
        "2.weight  3 × 5      0  15   0.00 %",
        "2.bias    3          0   3   0.00 %",
        "all                  6  53  11.32 %",
    ]
    page = counts._repr_html_()
    assert page.count("<tr>") == 6
    assert "20.00 %" in page
    figure = counts.plot()
    assert [bar.get_width() for bar in figure.axes[0].patches] == pytest.approx([20.0, 0.0, 0.0, 0.0])
    axes = figure.subplots(1, 2)
    assert counts.plot(ax=axes[1]) is figure
    assert len(axes[1].patches) == 4
    with pytest.raises(TypeError, match=r"^ax is 3 \(int\), but must be axes of Matplotlib or None"):
        counts.plot(ax=3)


def test_shared_weights_count_once_and_models_only():
    layer = nn.Linear(3, 3)
    assert sparsity(nn.Sequential(layer, layer)).total == 12
    with pytest.raises(
        TypeError, match=r"^model is OrderedDict.* must be a torch\.nn\.Module: pass the network itself"
    ):
        sparsity(layer.state_dict())
    assert sparsity(nn.Sequential()).share == 0.0


def test_models_pruned_by_torch_count_right():
    model = mlp()
    prune.l1_unstructured(model[0], "weight", amount=20)
    prune.ln_structured(model[2], "weight", amount=1, n=2, dim=0)
    counts = sparsity(model)
    assert {layer.name for layer in counts.layers} == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert (counts["0.weight"].zeros, counts["2.weight"].zeros) == (20, 5)
    prune.remove(model[0], "weight")
    assert sparsity(model)["0.weight"].zeros == 20


def test_masks_hold_weights_at_zero_in_further_training():
    model = mlp()
    zero(model[0].weight, (slice(None), slice(0, 4)))
    masks = export_masks(model)
    assert set(masks) == {"0.weight", "2.weight"}
    assert torch.equal(masks["0.weight"], model[0].weight != 0)
    other = mlp()
    apply_masks(other, masks)
    assert {name: mask.sum().item() for name, mask in export_masks(other).items()} == {"0.weight": 10, "2.weight": 15}
    optimizer = GRDA(other.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        other(torch.ones(2, 6)).square().mean().backward()
        optimizer.step()
    assert sparsity(other)["0.weight"].zeros == 20
    with pytest.raises(ValueError, match=r"^masks is for '0\.weight' of shape \(5, 6\) \(in the model: absent\)"):
        apply_masks(nn.Sequential(nn.ReLU()), masks)
    with pytest.raises(ValueError, match=r"in the model: \(5, 7\)"):
        apply_masks(nn.Sequential(nn.Linear(7, 5)), masks)


MASKS = "take export_masks of a model of the same architecture."
WEIGHT = "0.weight"
BAD = {
    "halves": (
        lambda: apply_masks(mlp(), {WEIGHT: torch.full((5, 6), 0.5)}),
        f"the mask of '0.weight' is of other numbers, but must be of zeros and ones, or of truth values: {MASKS}",
    ),
    "NaN": (
        lambda: apply_masks(mlp(), {WEIGHT: torch.full((5, 6), math.nan)}),
        f"the mask of '0.weight' is of other numbers, but must be of zeros and ones, or of truth values: {MASKS}",
    ),
    "meta": (
        lambda: apply_masks(mlp(), {WEIGHT: torch.ones(5, 6, device="meta")}),
        f"the mask of '0.weight' is without values, but must be of zeros and ones, or of truth values: {MASKS}",
    ),
    "twice": (
        lambda: apply_masks(_masked(), export_masks(mlp())),
        "masks is for '0.weight', which is masked already, but must be for parameters without a mask: "
        "make its zeros permanent by torch.nn.utils.prune.remove(module, 'weight') first.",
    ),
    "no masks": (
        lambda: apply_masks(mlp(), None),
        f"masks is None (NoneType), but must be masks by the names of parameters: {MASKS}",
    ),
    "an array": (
        lambda: apply_masks(mlp(), {WEIGHT: np.ones((5, 6))}),
        "the mask of '0.weight' is an array of shape (5, 6) (ndarray), but must be a tensor of zeros and ones: "
        f"{MASKS}",
    ),
    "no model": (
        lambda: apply_masks(None, {}),
        "model is None (NoneType), but must be a torch.nn.Module: pass the network itself.",
    ),
}
META = (
    "model is one whose weight is on the meta device, but must be one whose parameters have values: "
    "load weights on another device."
)
LAZY = (
    "model is one whose weight has no shape yet, but must be one whose parameters have shapes: "
    "run it once on a batch of its inputs."
)
for reads in (sparsity, to_sparse, export_masks, functools.partial(parameter_groups, structure="filters")):
    name = getattr(reads, "__name__", "filters")
    BAD[f"meta {name}"] = functools.partial(reads, nn.Linear(3, 3, device="meta")), META
    BAD[f"lazy {name}"] = functools.partial(reads, nn.LazyLinear(3)), LAZY
BAD["meta cost"] = lambda: cost(nn.Linear(3, 3, device="meta"), torch.zeros(1, 3)), META
BAD["lazy groups"] = lambda: parameter_groups(nn.LazyLinear(3)), LAZY
BAD["no groups"] = (
    lambda: group_labels(mlp(), None),
    "groups is None (NoneType), but must be what parameter_groups(model, structure='filters') returned: "
    "make them of this model.",
)


def _masked():
    model = mlp()
    apply_masks(model, export_masks(model))
    return model


@pytest.mark.parametrize("name", BAD)
def test_bad_input_in_one_sentence(name):
    call, sentence = BAD[name]
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert str(caught.value) == sentence


def test_masks_may_be_zeros_and_ones():
    model = mlp()
    apply_masks(model, {WEIGHT: torch.eye(5, 6)})
    assert sparsity(model)[WEIGHT].zeros == 25


def test_sparse_layers_have_equal_outputs():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(50, 40), nn.Tanh(), nn.Linear(40, 30, bias=False), nn.Linear(30, 4))
    for k in (0, 2):
        zero(model[k].weight, torch.rand_like(model[k].weight) < 0.95)
    light = to_sparse(model)
    assert [type(layer).__name__ for layer in light] == ["SparseLinear", "Tanh", "SparseLinear", "Linear"]
    for x in (torch.randn(7, 50), torch.randn(50), torch.randn(2, 3, 50)):
        torch.testing.assert_close(light(x), model(x), rtol=0, atol=1e-6)
    assert "stored=" in repr(light)
    kept, there = sparsity(light), sparsity(model)
    assert (kept.zeros, kept.total) == (there.zeros, there.total)
    assert sum(len(layer.weight.values()) for layer in (light[0], light[2])) == sum(
        int((model[k].weight != 0).sum()) for k in (0, 2)
    )
    other = to_sparse(nn.Sequential(nn.Linear(50, 40), nn.Tanh(), nn.Linear(40, 30, bias=False), nn.Linear(30, 4)))
    assert not any(type(layer).__name__ == "SparseLinear" for layer in other)
    with pytest.raises(ValueError, match="least is 2"):
        to_sparse(model, least=2)


def test_sparse_layers_are_copied():
    layer = nn.Linear(8, 40)
    zero(layer.weight, torch.arange(40)[:, None].expand(40, 8) > 1)
    model = to_sparse(nn.ModuleList([layer, nn.ReLU(), layer]))
    twin = copy.deepcopy(model)
    assert twin[0] is twin[2]
    assert twin[0].weight is not model[0].weight
    x = torch.randn(3, 8)
    assert torch.equal(twin[0](x), model[0](x))
    assert torch.equal(to_sparse(model)[0](x), model[0](x))  # there is nothing left to do
    assert model[0] is model[2]  # one layer, twice
    assert not any(p.requires_grad for p in twin.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_layers_that_pytorch_has_no_sparse_products_for_stay(dtype):
    model = nn.Sequential(nn.Linear(8, 4)).to(dtype)
    model[0].weight.data.zero_()
    assert torch.equal(to_sparse(model)(torch.ones(2, 8, dtype=dtype)), model(torch.ones(2, 8, dtype=dtype)))


@torch.no_grad()
def same_outputs(model, x):
    """Compact it, compare, and give back the small one."""
    small = compact(model)
    model.eval()
    y = model(x)
    torch.testing.assert_close(small(x), y, rtol=1e-5, atol=1e-5 * float(y.abs().max()))
    return small


def size(model):
    return sum(p.numel() for p in model.parameters())


def test_compact_drops_rows_and_their_readers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 7), nn.Sigmoid(), nn.Linear(7, 3))
    zero(model[0].weight, slice(0, 5))  # constant: relu(bias), folded
    zero(model[3].weight, slice(0, 2))  # constant: sigmoid(bias)
    zero(model[5].weight, (slice(None), 6))  # unread
    small = same_outputs(model, torch.randn(20, 6))
    assert [(layer.in_features, layer.out_features) for layer in small if isinstance(layer, nn.Linear)] == [
        (6, 3),
        (3, 4),
        (4, 3),
    ]
    assert list(small.state_dict()) == list(model.state_dict())
    assert size(model) == 56 + 63 + 24  # the original is left alone


def test_compact_follows_what_becomes_superfluous():
    """Rows that read nothing but dropped channels go too, and so do channels read by dropped rows only."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2))
    zero(model[0].weight, slice(0, 3))
    zero(model[2].weight, (slice(0, 2), slice(3, 6)))  # rows 0 and 1 read constants only
    zero(model[4].weight, (slice(None), slice(2, 4)))  # rows 2 and 3 are unread ...
    zero(model[2].weight, (slice(4, 6), 5))  # ... so that channel 5 is read by nobody who matters
    small = same_outputs(model, torch.randn(10, 4))
    assert [layer.out_features for layer in small if isinstance(layer, nn.Linear)] == [2, 2, 2]


def convolutional(padding, norm=True, bias=True, **options):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=bias), nn.BatchNorm2d(6) if norm else nn.Identity()),
        nn.LeakyReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3, padding=padding, bias=bias, **options),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(20, 3),
    )


def with_statistics(model):
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2.0)
                layer.weight.uniform_(0.5, 2.0)
                layer.bias.normal_()
    return model


@pytest.mark.parametrize("bias", [True, False])
def test_compact_folds_constant_filters_into_unpadded_convolutions(bias):
    model = with_statistics(convolutional(0, bias=bias))
    zero(model[0][0].weight, slice(0, 4))
    zero(model[3].weight, 1)
    small = same_outputs(model, torch.randn(4, 3, 12, 12))
    assert (small[0][0].out_channels, small[0][1].num_features, small[3].in_channels) == (2, 2, 2)
    assert (small[3].out_channels, small[7].in_features) == (4, 16)


def test_compact_keeps_constants_that_meet_zero_padding():
    model = with_statistics(convolutional(1))
    zero(model[0][0].weight, slice(0, 4))
    small = same_outputs(model, torch.randn(4, 3, 12, 12))
    assert small[0][0].out_channels == 6  # each is a nonzero constant, and a border of zeros would show it
    with torch.no_grad():  # ... unless the constant is 0
        model[0][1].bias[:3] = -0.0
        model[0][1].running_mean[:3] = model[0][0].bias[:3]
    small = same_outputs(model, torch.randn(4, 3, 12, 12))
    assert small[0][0].out_channels == 3
    model = with_statistics(convolutional(1, padding_mode="replicate"))  # no zeros at the border
    zero(model[0][0].weight, slice(0, 4))
    assert same_outputs(model, torch.randn(4, 3, 12, 12))[0][0].out_channels == 2


def test_compact_drops_channels_that_a_normalization_silences():
    model = with_statistics(convolutional(0))
    zero(model[0][1].weight, slice(0, 2))
    assert same_outputs(model, torch.randn(4, 3, 12, 12))[0][0].out_channels == 4


def test_compact_leaves_alone_what_it_does_not_understand():
    torch.manual_seed(0)
    x = torch.randn(4, 4, 8, 8)
    grouped = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 2, 3))
    softmax = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Softmax(dim=1), nn.Conv2d(4, 2, 3))
    padded = nn.Sequential(nn.Conv2d(4, 4, 3), nn.AvgPool2d(3, padding=1), nn.Conv2d(4, 2, 1))
    pooled = nn.Sequential(nn.Linear(8, 4), nn.MaxPool2d(1), nn.Linear(4, 2))
    for model in (grouped, softmax, padded, pooled):
        zero(model[0].weight, slice(0, 2))
        assert size(same_outputs(model, x)) == size(model)
    twice = nn.Linear(8, 8)
    zero(twice.weight, slice(0, 2))
    model = nn.Sequential(twice, nn.ReLU(), twice)
    assert size(same_outputs(model, x)) == size(model)
    with pytest.raises(TypeError, match=r"^model is .* must be a torch\.nn\.Sequential: put the layers in sequence"):
        compact(nn.Linear(3, 2))


def test_compact_keeps_one_channel_of_a_dead_layer():
    model = mlp()
    zero(model[0].weight)
    small = same_outputs(model, torch.randn(4, 6))
    assert small[0].out_features == 1


def test_compact_takes_masks_of_torch():
    model = mlp()
    prune.ln_structured(model[0], "weight", amount=3, n=2, dim=0)
    model(torch.ones(1, 6))
    assert same_outputs(model, torch.randn(4, 6))[0].out_features == 2
    assert to_sparse(model, least=0.5)(torch.ones(6)).tolist() == pytest.approx(model(torch.ones(6)).tolist(), abs=1e-6)
    assert hasattr(model[0], "weight_orig")


def test_trained_by_group_lasso_a_network_becomes_smaller_and_stays_the_same():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 1))
    x = torch.randn(200, 10)
    y = torch.relu(x[:, :1] - x[:, 1:2])
    options = {"regularizer": "group_lasso", "sparsity_target": 0.5, "total_steps": 300}
    optimizer = GRDA(parameter_groups(model, **options), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    small = same_outputs(model, x)
    assert size(small) < 0.6 * size(model)
    assert float(nn.functional.mse_loss(small(x), y).detach()) < 0.1
