from ._compact import compact as compact
from ._grda import GRDA as GRDA
from ._groups import parameter_groups as parameter_groups
from ._masks import apply_masks as apply_masks
from ._masks import export_masks as export_masks
from ._sparse import to_sparse as to_sparse
from ._sparsity import Sparsity as Sparsity
from ._sparsity import sparsity as sparsity
