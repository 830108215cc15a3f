"""Loops and long traces, by a graph of cells: what unrolling cannot reach.

Read in this order.

`local`         a rule about loops or traces, step by step: facts about a record, facts about a move, what a step adds
`alternatives`  what a step adds as the largest of affine expressions, each where its guard holds
`bounds`        over pairs of cells: moves that cannot be, and certified upper bounds of what a move adds
`partition`     the cells of a record type: boxes, discrete features value by value, and how one is split
`potentials`    the argument for all loops at once, checked in integers; suspicious cycles where there is none
`concrete`      loops and traces of concrete records, found among points of the cells
`abstraction`   the whole for `cycle`: split what is suspicious until there is a proof, a loop that pays, or no budget
`maxplus`       the whole for `trace`: the same bounds added up along the steps by dynamic programming

Bounds come from `verifier.backsub` with every rounding accounted for; sums along loops and traces are sums of integers.
"""
