from ._problem import check_problem as check_problem
from ._regularizer import check_regularizer as check_regularizer
