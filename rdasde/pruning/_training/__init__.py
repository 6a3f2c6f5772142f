"""Training of networks, for the recipes and the studies, which come in here; the optimizer does not need it."""

from rdasde.pruning._training.data import SOURCES, Data, load
from rdasde.pruning._training.distributed import Settings, place
from rdasde.pruning._training.distributed import train as train_distributed
from rdasde.pruning._training.folders import load as load_folder
from rdasde.pruning._training.magnitude import cut, cut_filters, filter_layers, gradually, zero_channels
from rdasde.pruning._training.networks import lenet, mlp, resnet8, resnet50, vgg16, wide_resnet
from rdasde.pruning._training.rates import dropped, held, lowered
from rdasde.pruning._training.single import Trained, Weights, evaluate, train

__all__ = [
    "SOURCES",
    "Data",
    "Settings",
    "Trained",
    "Weights",
    "cut",
    "cut_filters",
    "dropped",
    "evaluate",
    "filter_layers",
    "gradually",
    "held",
    "lenet",
    "load",
    "load_folder",
    "lowered",
    "mlp",
    "place",
    "resnet8",
    "resnet50",
    "train",
    "train_distributed",
    "vgg16",
    "wide_resnet",
    "zero_channels",
]
