from ._flat import flat_directions as flat_directions
from ._report import table as table
from ._risk import risk as risk
from ._support import support as support
