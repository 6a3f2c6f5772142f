from . import plot as plot
from ._algorithm import RDA as RDA
from ._approximate import approximate as approximate
from ._bands import band as band
from ._bands import coverage as coverage
from ._covariance import AR1 as AR1
from ._errors import DivergenceError as DivergenceError
from ._errors import StabilityWarning as StabilityWarning
from ._errors import TooMuchMemoryError as TooMuchMemoryError
from ._linear_regression import LinearRegression as LinearRegression
from ._regularizer import L1 as L1
from ._schedule import Constant as Constant
from ._schedule import Linear as Linear
from ._schedule import PowerLaw as PowerLaw
from ._simulate import simulate as simulate

__version__: str
