"""Mirror maps: each regularizer in NumPy, in lanes, and its Gaussian moments."""

KINDS = {  # by the name that a result carries, the module of this folder that defines it
    "Box": "box",
    "CustomRegularizer": "custom",
    "ElasticNet": "elastic_net",
    "GroupLasso": "group_lasso",
    "L1": "l1",
    "NonNegativeL1": "nonnegative_l1",
    "Unregularized": "unregularized",
}
