"""Unlearning: a reward that no longer knows some of its rows, by one of three roads.

Read in this order: `request` (which rows are meant, and the ledger of those that were), `exact` (learned again without
them, a shard at a time), `certified` (a Newton step within a budget), `approximate` (influence and fine-tuning, which
guarantee nothing), `anchored` (patches and rules that were made from forgotten rows), `audit` (what an outsider can
still tell). What each road guarantees is in docs/unlearning.md, and in the child's `edit`.
"""
