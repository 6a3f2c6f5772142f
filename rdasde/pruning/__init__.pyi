from ._directional import directional_prune as directional_prune
from ._directional import directional_scores as directional_scores
from ._grda import GRDA as GRDA
from ._groups import parameter_groups as parameter_groups
from ._sparsity import Sparsity as Sparsity
from ._sparsity import sparsity as sparsity
