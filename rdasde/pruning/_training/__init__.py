"""Training of networks, for the recipes and the studies, which come in here; the optimizer does not need it."""

from rdasde.pruning._training.bar import Bar, say
from rdasde.pruning._training.checkpoints import checked_name, first_weights
from rdasde.pruning._training.data import SOURCES, Data, load
from rdasde.pruning._training.distributed import Diverged
from rdasde.pruning._training.distributed import check as check_run
from rdasde.pruning._training.distributed import train as train_distributed
from rdasde.pruning._training.folders import ON_DEVICE, SCALES, imagenet, read
from rdasde.pruning._training.magnitude import cut, cut_filters, filter_layers, gradually, zero_channels
from rdasde.pruning._training.networks import lenet, mlp, resnet8, resnet50, vgg16, wide_resnet
from rdasde.pruning._training.pictures import Pictures, plain_batches, reduced, scaled, training_batches
from rdasde.pruning._training.precision import PRECISIONS
from rdasde.pruning._training.precision import checked as checked_precision
from rdasde.pruning._training.processes import Place, place
from rdasde.pruning._training.rates import dropped, held, lowered
from rdasde.pruning._training.settings import METHODS, TO_A_SHARE, Settings, checked_zeros
from rdasde.pruning._training.single import Trained, Weights, evaluate, train
from rdasde.pruning._training.sources import Loaded, Source, rows

__all__ = [
    "METHODS",
    "ON_DEVICE",
    "PRECISIONS",
    "SCALES",
    "SOURCES",
    "TO_A_SHARE",
    "Bar",
    "Data",
    "Diverged",
    "Loaded",
    "Pictures",
    "Place",
    "Settings",
    "Source",
    "Trained",
    "Weights",
    "check_run",
    "checked_name",
    "checked_precision",
    "checked_zeros",
    "cut",
    "cut_filters",
    "dropped",
    "evaluate",
    "filter_layers",
    "first_weights",
    "gradually",
    "held",
    "imagenet",
    "lenet",
    "load",
    "lowered",
    "mlp",
    "place",
    "plain_batches",
    "read",
    "reduced",
    "resnet8",
    "resnet50",
    "rows",
    "say",
    "scaled",
    "train",
    "train_distributed",
    "training_batches",
    "vgg16",
    "wide_resnet",
    "zero_channels",
]
