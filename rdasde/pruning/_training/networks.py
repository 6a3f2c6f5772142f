"""The networks of the experiments, from LeNet to ResNet-50; each function returns a new one."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional


def mlp(widths: tuple[int, ...] = (64, 100, 10)) -> nn.Sequential:
    """Fully connected, rectified between layers."""
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def lenet(classes: int = 10) -> nn.Sequential:
    """LeNet-5 as Caffe has it, for pictures of 28 x 28: 431 080 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(),
        nn.Linear(500, classes),
    )


class Residual(nn.Module):
    """The sum of a branch and a shortcut, then rectified where `rectify`."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module, rectify: bool) -> None:
        super().__init__()
        self.branch, self.shortcut, self.rectify = branch, shortcut, rectify

    def forward(self, inputs: Tensor) -> Tensor:
        total: Tensor = self.branch(inputs) + self.shortcut(inputs)
        return functional.relu(total) if self.rectify else total


def _normalized(fan_in: int, fan_out: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(fan_in, fan_out, size, stride, size // 2, bias=False), nn.BatchNorm2d(fan_out)]


def resnet8(channels: int = 1, classes: int = 10, width: int = 8) -> nn.Sequential:
    """A small residual network with batch norm: three stages of one block, any picture size."""
    layers = [*_normalized(channels, width, 3), nn.ReLU()]
    fan_in = width
    for stage in range(3):
        fan_out, stride = width * 2**stage, 1 if stage == 0 else 2
        branch = [*_normalized(fan_in, fan_out, 3, stride), nn.ReLU(), *_normalized(fan_out, fan_out, 3)]
        shortcut = nn.Identity() if stage == 0 else nn.Sequential(*_normalized(fan_in, fan_out, 1, stride))
        layers.append(Residual(nn.Sequential(*branch), shortcut, rectify=True))
        fan_in = fan_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(fan_in, classes))


def wide_resnet(classes: int = 10, depth: int = 28, widening: int = 10) -> nn.Sequential:
    """Wide residual network of pictures of 32 x 32, convolutions with biases, as in the paper's public code."""
    blocks = (depth - 4) // 6
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1)]
    fan_in = 16
    for stage in range(3):
        fan_out = 16 * widening * 2**stage
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            branch = nn.Sequential(
                nn.BatchNorm2d(fan_in),
                nn.ReLU(),
                nn.Conv2d(fan_in, fan_out, 3, padding=1),
                nn.BatchNorm2d(fan_out),
                nn.ReLU(),
                nn.Conv2d(fan_out, fan_out, 3, stride, padding=1),
            )
            shortcut = nn.Identity() if fan_in == fan_out else nn.Conv2d(fan_in, fan_out, 1, stride)
            layers.append(Residual(branch, shortcut, rectify=False))
            fan_in = fan_out
    # the last running mean forgets fast there too
    layers += [nn.BatchNorm2d(fan_in, momentum=0.9), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(fan_in, classes))


def vgg16(classes: int = 10, batch_norm: bool = False) -> nn.Sequential:
    """VGG16 of pictures of 32 x 32, as in the paper's public code: no batch norm, dropout in the classifier."""
    layers: list[nn.Module] = []
    fan_in = 3
    for fan_out, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            convolution = nn.Conv2d(fan_in, fan_out, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
            layers += [convolution, *([nn.BatchNorm2d(fan_out)] if batch_norm else []), nn.ReLU()]
            fan_in = fan_out
        layers.append(nn.MaxPool2d(2))
    layers += [nn.Flatten(), nn.Dropout(), nn.Linear(512, 512), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, classes))


def resnet50(classes: int = 1000) -> nn.Sequential:
    """ResNet-50 of pictures of 224 x 224, strides in the 3 x 3 convolutions as torchvision has it."""
    layers = [*_normalized(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
    fan_in = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner, fan_out = 64 * 2**stage, 256 * 2**stage
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            branch = [*_normalized(fan_in, inner, 1), nn.ReLU(), *_normalized(inner, inner, 3, stride), nn.ReLU()]
            branch += _normalized(inner, fan_out, 1)
            same = fan_in == fan_out
            shortcut = nn.Identity() if same else nn.Sequential(*_normalized(fan_in, fan_out, 1, stride))
            layers.append(Residual(nn.Sequential(*branch), shortcut, rectify=True))
            fan_in = fan_out
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(fan_in, classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
