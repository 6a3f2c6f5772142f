from ._coverage import coverage as coverage
from ._coverage import coverage_table as coverage_table
from ._moments import exact_weak_error as exact_weak_error
