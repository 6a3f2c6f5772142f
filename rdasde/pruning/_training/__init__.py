"""Training of networks, for the recipes and the studies, which come in here; the optimizer does not need it."""

from rdasde.pruning._training.data import SOURCES, Data, load
from rdasde.pruning._training.distributed import Settings, place
from rdasde.pruning._training.distributed import train as train_distributed
from rdasde.pruning._training.folders import ON_DEVICE, SCALES, read
from rdasde.pruning._training.folders import load as load_folder
from rdasde.pruning._training.magnitude import cut, cut_filters, filter_layers, gradually, zero_channels
from rdasde.pruning._training.networks import lenet, mlp, resnet8, resnet50, vgg16, wide_resnet
from rdasde.pruning._training.pictures import Pictures, plain_batches, reduced, scaled, training_batches
from rdasde.pruning._training.rates import dropped, held, lowered
from rdasde.pruning._training.single import Trained, Weights, evaluate, train

__all__ = [
    "ON_DEVICE",
    "SCALES",
    "SOURCES",
    "Data",
    "Pictures",
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
    "plain_batches",
    "read",
    "reduced",
    "resnet8",
    "resnet50",
    "scaled",
    "train",
    "train_distributed",
    "training_batches",
    "vgg16",
    "wide_resnet",
    "zero_channels",
]
