from . import plot as plot
from . import validate as validate
from ._algorithm import RDA as RDA
from ._approximate import approximate as approximate
from ._bands import band as band
from ._bands import coverage as coverage
from ._box import Box as Box
from ._covariance import AR1 as AR1
from ._custom_regularizer import CustomRegularizer as CustomRegularizer
from ._elastic_net import ElasticNet as ElasticNet
from ._errors import ClosureWarning as ClosureWarning
from ._errors import DivergenceError as DivergenceError
from ._errors import StabilityWarning as StabilityWarning
from ._errors import TooMuchMemoryError as TooMuchMemoryError
from ._group_lasso import GroupLasso as GroupLasso
from ._l1 import L1 as L1
from ._linear_regression import LinearRegression as LinearRegression
from ._logistic_regression import LogisticRegression as LogisticRegression
from ._mlp import MLP as MLP
from ._nonnegative_l1 import NonNegativeL1 as NonNegativeL1
from ._online_pca import OnlinePCA as OnlinePCA
from ._schedule import Constant as Constant
from ._schedule import Linear as Linear
from ._schedule import PowerLaw as PowerLaw
from ._simulate import simulate as simulate
from ._stochastic_problem import StochasticProblem as StochasticProblem

__version__: str
