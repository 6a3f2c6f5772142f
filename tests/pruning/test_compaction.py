"""Whole channels taken out of networks of any shape: outputs stay, costs are counted, what stays has a reason."""

import io

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from rdasde.pruning import Compaction, compact, cost, parameter_groups  # noqa: E402
from rdasde.pruning._training import lenet, resnet8  # noqa: E402

torch.set_num_threads(1)


def need_library():
    pytest.importorskip("torch_pruning")


class Branches(nn.Module):
    """A concatenation of a grouped and a plain convolution, flattened."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.plain = nn.Conv2d(4, 6, 1)
        self.last = nn.Linear(10 * 9, 3)

    def forward(self, x):
        x = torch.relu(self.first(x))
        both = torch.cat([self.grouped(x), self.plain(x)], dim=1)
        return self.last(functional.max_pool2d(both, 4).flatten(1))


class Separable(nn.Module):
    """A depthwise convolution between two of one pixel, and a gate on its channels, as in mobile networks."""

    def __init__(self):
        super().__init__()
        self.widen, self.norm = nn.Conv2d(2, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.norm2 = nn.BatchNorm2d(8)
        self.squeeze, self.excite = nn.Linear(8, 3), nn.Linear(3, 8)
        self.narrow = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        y = functional.silu(self.norm(self.widen(x)))
        y = functional.relu6(self.norm2(self.depthwise(y)))
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(y.mean((2, 3))))))
        return x + self.narrow(y * gate.view(len(x), -1, 1, 1))


class Transformer(nn.Module):
    """One block of attention and a perceptron, both residual."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.norm2 = nn.Linear(6, 8), nn.LayerNorm(8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.up, self.down, self.head = nn.Linear(8, 12), nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.embed(x)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return self.head(x.mean(1))


@torch.no_grad()
def prepared(model, seed=0):
    """With batch-norm statistics as after training."""
    torch.manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2.0)
            layer.weight.uniform_(0.5, 2.0)
            layer.bias.normal_()
    return model


@torch.no_grad()
def silence(channels, *layers):
    for layer in layers:
        for tensor in (layer.weight, layer.bias):
            if tensor is not None:
                tensor[channels] = 0.0


@torch.no_grad()
def same_outputs(model, example, least_gain=True):
    """Compact it; outputs equal to 1e-5 on the example and on other inputs."""
    parameters = [p.detach().clone() for p in model.parameters()]
    mode = model.training
    small = compact(model, example)
    assert model.training == mode
    assert all(torch.equal(a, b) for a, b in zip(parameters, model.parameters(), strict=True))
    model.eval()
    for inputs in (example, 3.0 * torch.randn_like(example) + 1.0):
        expected = model(inputs)
        torch.testing.assert_close(small(inputs), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert isinstance(small.compacted, Compaction)
    assert small.compacted.error < 1e-5
    assert small.compacted.after.parameters == sum(p.numel() for p in small.parameters())
    assert (small.compacted.after.parameters < small.compacted.before.parameters) == least_gain
    return small


def test_a_plain_chain_needs_no_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch_pruning", None)
    torch.manual_seed(0)
    model = lenet()
    silence(slice(0, 8), model[0])
    silence(slice(0, 20), model[2])
    silence(slice(0, 300), model[5])
    small = same_outputs(model, torch.randn(2, 1, 28, 28))
    assert [small[0].out_channels, small[2].out_channels, small[5].out_features] == [12, 30, 200]
    with pytest.raises(ImportError, match=r"^Networks that are no plain chain .* pip install 'rdasde\[filters\]'\.$"):
        compact(Branches(), torch.randn(2, 1, 12, 12))


@pytest.mark.parametrize("example", [None, torch.ones(2, 1, 9, 9)])
def test_what_is_frozen_stays_frozen(example):
    layers = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(100, 2)
    model = nn.Sequential(*layers).requires_grad_(False)
    model[5].requires_grad_(True)
    for weight in (model[0].weight, model[0].bias, model[1].weight):
        weight[:3] = 0.0
    model[1].bias[:3] = 1.0  # constants that go into the next layer's biases
    small = compact(model, example)
    assert small[0].out_channels == 5
    assert [p.requires_grad for p in small.parameters()] == [p.requires_grad for p in model.parameters()]


def test_multiply_adds_of_lenet_by_hand():
    torch.manual_seed(0)
    model = lenet()
    silence(slice(0, 10), model[0])
    report = compact(model, torch.randn(3, 1, 28, 28)).compacted
    by_hand = [
        3 * (24 * 24 * n * 25 + 8 * 8 * 50 * n * 25 + 800 * 500 + 500 * 10)  # filters of the first layer
        for n in (20, 10)
    ]
    assert [report.before.multiply_adds, report.after.multiply_adds] == by_hand
    assert report.before.bytes == 4 * 431_080
    assert report.before.milliseconds > 0.0


def test_multiply_adds_of_groups_and_attention_by_hand():
    model = nn.Conv2d(4, 6, 3, padding=1, groups=2)
    assert cost(model, torch.zeros(2, 4, 5, 7)).multiply_adds == 2 * 5 * 7 * 6 * 2 * 9
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.zeros(3, 5, 8)
    # projections in and out; scores and sums over 5 x 5 pairs in each of two heads of 4
    by_hand = 3 * (5 * 8 * 24 + 5 * 8 * 8 + 2 * 5 * 5 * 8)
    assert cost(attention, {"query": x, "key": x, "value": x}).multiply_adds == by_hand
    layer = nn.TransformerEncoderLayer(8, 2, 20, batch_first=True)  # in a kernel of its own
    assert cost(layer, x).multiply_adds == by_hand + 3 * 5 * 2 * 8 * 20


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_multiply_adds_of_recurrences_by_hand(kind, gates):
    before = torch.backends.mkldnn.enabled
    assert cost(kind(4, 5), torch.zeros(3, 2, 4)).multiply_adds == 3 * 2 * gates * 5 * (4 + 5)
    assert torch.backends.mkldnn.enabled == before


def test_residual_sums():
    need_library()
    model = prepared(resnet8())
    stream = (model[0], model[1], model[3].branch[3], model[3].branch[4])
    silence([1, 5], *(layer for layer in stream))
    silence(slice(0, 3), model[3].branch[0], model[3].branch[1])
    model[5].branch[1].bias.data.abs_()
    model[5].branch[1].running_mean.zero_()
    silence(slice(4, 9), model[5].branch[0])  # its batch norm shifts: a constant that meets zero padding
    silence([2], model[4].branch[3], model[4].branch[4])  # half of a sum
    small = same_outputs(model, torch.randn(3, 1, 14, 14))
    assert small[0].out_channels == small[3].branch[3].out_channels == small[4].shortcut[0].in_channels == 6
    assert small[3].branch[0].out_channels == small[3].branch[1].num_features == 5
    assert small[5].branch[0].out_channels == 32
    assert small[4].branch[3].out_channels == 16
    (kept,) = small.compacted.kept
    assert kept[:2] == ("5.branch.0", 5)
    assert kept.reason == "a constant other than 0, which 5.branch.3 cannot take"
    assert "5.branch.0: 5 zero channels stay: a constant" in small.compacted.table()
    assert "multiply-adds" in small.compacted._repr_html_()


def test_concatenations_and_groups():
    need_library()
    torch.manual_seed(0)
    model = Branches()
    example = torch.randn(2, 1, 12, 12)
    with torch.no_grad():
        model.last.weight[:, :9] = 0.0  # channel 0 of the grouped branch is unread, its partner is not
        model.last.weight[:, 9 * 5 : 9 * 7] = 0.0
    small = same_outputs(model, example)
    assert (small.plain.out_channels, small.grouped.out_channels) == (4, 4)
    with torch.no_grad():
        model.last.weight[:, 9 * 3 : 9 * 4] = 0.0  # now one in each group
    small = same_outputs(model, example)
    assert (small.grouped.out_channels, small.grouped.groups, small.last.in_features) == (2, 2, 6 * 9)
    with torch.no_grad():  # inputs of a group: one in each, at different places
        silence([0, 3], model.first)
    small = same_outputs(model, example)
    assert (small.first.out_channels, small.grouped.in_channels, small.plain.in_channels) == (2, 2, 2)


def test_a_whole_group_goes():
    need_library()
    torch.manual_seed(0)
    model = Branches()
    with torch.no_grad():
        model.last.weight[:, : 9 * 2] = 0.0
    silence([0, 1], model.first)
    small = same_outputs(model, torch.randn(2, 1, 12, 12))
    assert (small.grouped.groups, small.grouped.in_channels, small.grouped.out_channels) == (1, 2, 2)


def test_one_in_a_group_stays_with_its_reason():
    need_library()
    torch.manual_seed(0)
    model = Branches()
    silence([0], model.first)
    small = same_outputs(model, torch.randn(2, 1, 12, 12), least_gain=False)
    (kept,) = small.compacted.kept
    assert kept == ("first", 1, "grouped is grouped: as many must go from each of its 2 groups")


def test_depthwise_convolutions_and_gates():
    need_library()
    model = prepared(Separable())
    silence([0, 3, 4], model.widen, model.norm, model.norm2)
    with torch.no_grad():
        model.depthwise.weight[[0, 3, 4]] = 0.0
        model.excite.weight[[0, 3, 4]] = 0.0
    small = same_outputs(model, torch.randn(2, 2, 6, 6))
    assert (small.depthwise.groups, small.depthwise.in_channels, small.narrow.in_channels) == (5, 5, 5)
    assert (small.squeeze.in_features, small.excite.out_features, small.norm2.num_features) == (5, 5, 5)


def test_attention_keeps_its_stream_and_loses_hidden_units():
    need_library()
    torch.manual_seed(0)
    model = Transformer()
    silence(slice(0, 7), model.up)
    silence(slice(0, 2), model.embed)
    small = same_outputs(model, torch.randn(2, 5, 6))
    assert (small.up.out_features, small.down.in_features, small.embed.out_features) == (5, 5, 8)
    (kept,) = small.compacted.kept
    assert kept == ("embed", 2, "LayerNorm is not followed")


def test_what_may_not_be_taken_apart():
    need_library()

    class Skip(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    torch.manual_seed(0)
    inner = Skip(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4))
    model = nn.Sequential(nn.Linear(4, 4), inner, nn.Linear(4, 2))
    silence(slice(0, 3), inner[0])
    small = same_outputs(model, torch.randn(3, 4), least_gain=False)
    assert small.compacted.kept == (("1.0", 3, "1 is a Sequential with a forward of its own"),)

    model = prepared(resnet8())
    silence(slice(0, 3), model[3].branch[0], model[3].branch[1])
    model[3].branch[0].register_forward_hook(lambda module, inputs, output: output + 1.0)
    small = same_outputs(model, torch.randn(3, 1, 14, 14), least_gain=False)
    assert small.compacted.kept[0][::2] == ("3.branch.0", "3.branch.0 has hooks")
    assert len(small[3].branch[0]._forward_hooks) == 1


def test_a_batch_norm_along_a_sequence_is_not_one_of_features():
    """As many places as features: the shapes alone do not tell."""
    need_library()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    sequences, rows = torch.randn(6, 8, 5), torch.randn(6, 5)
    for _ in range(3):
        model(sequences)
    model.eval()
    with torch.no_grad():
        model[0].weight[::2] = 0.0
        model[0].bias[::2] = 0.0
    small = same_outputs(model, sequences, least_gain=False)
    assert small[0].out_features == 8
    assert compact(model, rows)[0].out_features == 4
    (rest,) = parameter_groups(model, structure="filters", example=rows)[1:]
    assert [p.shape for p in rest["params"]] == [(3,)]
    with pytest.raises(ValueError, match="none of whose channels could be taken out"):
        parameter_groups(model, structure="filters", example=sequences)


@pytest.mark.parametrize("example", [None, torch.zeros(2, 1, 5)])
def test_dropout_of_features_between_layers(example):
    model = nn.Sequential(nn.Linear(5, 8), nn.Dropout1d(), nn.Linear(8, 3)).eval()
    with torch.no_grad():
        model[0].weight[::2] = 0.0
    small = compact(model, example)
    assert small[0].out_features == 4
    inputs = torch.randn(4, 1, 5)
    torch.testing.assert_close(small(inputs), model(inputs))


def test_a_layer_used_twice_stays():
    need_library()

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.again, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.last(self.again(torch.relu(self.again(torch.relu(self.first(x))))))

    torch.manual_seed(0)
    model = Twice()
    silence([0], model.first, model.again)
    small = same_outputs(model, torch.randn(5, 3), least_gain=False)
    assert {kept.reason for kept in small.compacted.kept} == {"it is used more than once"}


def test_what_the_graph_does_not_tell_is_put_back():
    need_library()

    class Hidden(nn.Module):
        """A branch cut off from the gradient, which no graph of it shows."""

        def __init__(self):
            super().__init__()
            self.first, self.last, self.other = nn.Linear(3, 5), nn.Linear(5, 2), nn.Linear(4, 2)

        def forward(self, x):
            y = self.first(x)
            return self.last(torch.relu(y)) + self.other(torch.relu(x @ torch.ones(3, 4))) + y.detach().max()

    torch.manual_seed(0)
    model = Hidden()
    with torch.no_grad():
        model.last.weight[:, :] = 0.0
        model.first.bias[3] = 10.0
    compacted = same_outputs(model, torch.randn(5, 3), least_gain=False).compacted
    assert compacted.after.parameters == compacted.before.parameters


def test_the_result_is_saved_and_loaded_and_the_same_again():
    need_library()
    model = prepared(resnet8())
    silence(slice(0, 3), model[3].branch[0], model[3].branch[1])
    example = torch.randn(2, 1, 14, 14)
    small, again = compact(model, example), compact(model, example)
    again.load_state_dict(small.state_dict())
    assert torch.equal(small(example), again(example))
    buffer = io.BytesIO()
    torch.save(small, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    assert torch.equal(small(example), loaded(example))
    assert loaded.compacted == small.compacted
    assert compact(small, example).compacted.after.parameters == small.compacted.after.parameters


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: compact(Branches()),
            r"^model is .* be a torch\.nn\.Sequential: put the layers in sequence, .* or give an ",
        ),
        (
            lambda: compact(lenet(), "picture"),
            r"^example is 'picture' \(str\), but must be inputs of the model: ",
        ),
        (lambda: compact(3, torch.zeros(1)), r"^model is 3 \(int\), but must be a torch\.nn\.Sequential"),
        (lambda: cost(lenet(), 3), r"^example is 3 \(int\), but must be inputs of the model"),
    ],
)
def test_bad_arguments_are_answered_in_a_sentence(call, message):
    with pytest.raises(TypeError, match=message) as caught:
        call()
    assert len(str(caught.value)) <= 320
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: compact(Branches(), torch.randn(2, 3, 12, 12)),
            r"^example is of shape \(2, 3, 12, 12\) \(Given groups=1.*\), but must be inputs that the model takes: ",
        ),
        (
            lambda: cost(torch.jit.script(nn.Linear(2, 2)), torch.randn(1, 2)),
            r"^model is a ScriptModule, but must be a module in Python: compact it first",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_example_that_does_not_fit_is_answered_in_a_sentence(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert len(str(caught.value)) <= 320
    assert "\n" not in str(caught.value)


def test_several_inputs_by_order_and_by_name():
    need_library()

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.last = nn.Linear(3, 5), nn.Linear(4, 5), nn.Linear(5, 2)

        def forward(self, x, y):
            return {"scores": self.last(torch.tanh(self.a(x) + self.b(y))), "inputs": x}

    torch.manual_seed(0)
    model = Both()
    silence([0], model.a)
    silence([0, 1], model.b)
    x, y = torch.randn(2, 3), torch.randn(2, 4)
    for example in ((x, y), {"x": x, "y": y}):
        small = compact(model, example)
        assert (small.a.out_features, small.b.out_features, small.last.in_features) == (4, 4, 4)
        torch.testing.assert_close(small(x, y)["scores"], model(x, y)["scores"], rtol=0, atol=1e-6)
