"""Drafts of specs: the features that a table, a network, an artifact or a Gymnasium space shows, to be reviewed.

A draft states only what can be read off its source and marks the rest with REVIEW: a declared range is a promise about
what can occur, and only the domain's expert can make it. What cannot be used as it is (a column under a reserved word,
a value that is missing) stands in the draft as a comment that says exactly what to change.

- `field`     what a draft is: fields, records, what was left out
- `ranges`    decimal ends outside of all values, and the note on how the values lie inside them
- `naming`    names the language accepts; units that a name suggests
- `columns`   one column's values to a type
- `tables`    a data file: columns, vectors, pairs
- `networks`  ONNX files and reward artifacts
- `spaces`    Gymnasium spaces and environments, without importing Gymnasium unless asked

`rewarden.starter` makes a project of a draft.
"""

from __future__ import annotations
