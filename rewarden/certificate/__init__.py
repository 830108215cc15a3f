"""Certificates: what was proved about a reward, in a form that somebody else can check.

The kernel (`check` and the `kernel_*` files; start at `check`) is alone: standard library only. `statement`,
`envelope` and `issue` write a certificate; `match` checks one against a spec as well, and its signature. Neither torch
nor z3 is ever imported here. docs/certificate.md says what a certificate means and why the kernel cannot be made to
accept a false claim.
"""
