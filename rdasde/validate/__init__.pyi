from ._calibration import calibration as calibration
from ._coverage import coverage as coverage
from ._exact_weak_error import exact_weak_error as exact_weak_error
from ._flat_directions import flat_directions as flat_directions
from ._report import table as table
from ._risk import risk as risk
from ._support import support as support
