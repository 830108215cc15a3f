"""The sign of neurons, branched on completely, each node a linear program (docs/decisions/0010-lp.md).

`region` lays a part of a claim out in arrays; `model` is its relaxation in HiGHS; `bound` makes a proof of what HiGHS
says, in binary64 with its errors or in rationals; `exact_leaf` decides what is linear in rationals, by `exact_simplex`;
`branching` says where to cut, and `tree` goes through with it. What HiGHS answers is only ever a hint.
"""
