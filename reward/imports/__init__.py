"""Rewards that were made elsewhere, as artifacts of our own: what `rewarden import` and `rewarden.from_…` are wired to.

Read in this order:

- `safe_files`       a stranger's file before anything is read of it: its kind by content; nothing is ever unpickled
- `safetensors_file` tensors by name, from one file or several, with the header held against the file
- `program`          a network of ATen calls as a value: what `torch.export` makes of a module
- `exported`, `pt2`  where such a program comes from: a live module; a `.pt2` archive, read without torch and pickle
- `layout`           rows as tensors of any shape: what reshapes, slices and broadcasts do, as columns that are picked
- `aten`, `aten_…`   the calls, one by one, as nodes of our graph
- `from_program`, `replay`  the artifact of a program, held against torch's own operators
- `declared`         safetensors with a declared architecture
- `reward_net`, `spaces`, `gates`  a live reward net of the `imitation` library, as it is called
- `adapters`, `classifier`  a sequence classifier's head over its frozen encoder; low-rank adapters, merged

The importer of ONNX files is beside this package (`reward.onnx_import`). What an import says of itself stands in the
artifact's manifest (`provenance`). Nothing here imports `imitation` or `transformers`.
"""
