from ._grda import GRDA as GRDA
from ._groups import parameter_groups as parameter_groups
from ._sparsity import Sparsity as Sparsity
from ._sparsity import sparsity as sparsity
