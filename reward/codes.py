"""Every code that this room's errors bring in, each with one paragraph; `rewarden.spec_lang.codes` says how.

A artifacts and networks; B schemas; D tables; G learn configs; X networks that have no exact form.
"""

from __future__ import annotations

EXPLANATIONS: dict[str, str] = {
    "A01": "There is no artifact at that place, or it cannot be read.",
    "A02": "What is there is not a reward artifact: a folder with manifest.json and tensors.safetensors, or a "
    ".rwz of these two.",
    "A03": "A pickled model. Loading one runs whatever code it holds, so nothing is ever unpickled.",
    "A04": "A network, such as an ONNX file, and not yet an artifact. Make one of it with `rewarden import`.",
    "A05": "A .rwz is a zip of exactly two files, stored as they are. This one is damaged, or something else.",
    "A06": "A part of the artifact is a link, a pipe or a device. Only regular files are read.",
    "A07": "A part of the artifact is larger than is accepted.",
    "A08": "The tensors file is cut off, or not in its one accepted form.",
    "A09": "The tensors are not those whose digest the manifest holds: the artifact was changed, or mixed up "
    "with another.",
    "A10": "The manifest is not canonical JSON, to the byte.",
    "A11": "The manifest is of another format, or of a version that this Rewarden does not know.",
    "A12": "The manifest has a key too many or too few, or a value of the wrong form.",
    "A13": "The records and features of the reward make no sense: a name, a range or a size is wrong.",
    "A14": "The graph of the reward makes no sense: an unknown operation, or a node that reads a later one.",
    "A15": "The widths of the graph's nodes do not fit together. A reward is one number per row.",
    "A16": "A tensor that the graph uses is missing, or one is there that nothing uses.",
    "A17": "A tensor has another type or shape than its use requires.",
    "A18": "A weight, or a training's loss, is infinite or not a number: training has diverged, or the file is "
    "damaged.",
    "A19": "A constant of the graph is out of its bounds, such as a slope above 1 or a clip to an empty range.",
    "A20": "The reward is larger than is accepted: too many nodes, columns, weights or patches.",
    "A21": "Another artifact is in the way. It is overwritten only if you ask for it.",
    "A22": "Something that is no artifact is in the way. It is never overwritten.",
    "A23": "The artifact cannot be written at that place.",
    "A24": "A checkpoint of a training cannot be written, such as on a full disk. The one before is whole: make room, "
    "and the same command goes on from there.",
    "A30": "The file cannot be read as a network: ONNX, a .pt2 archive, safetensors, or a classifier's folder.",
    "A31": "The network file is a pickled model, or is packed as such files are. Convert it where you trust it.",
    "A33": "What was passed for import is not a torch module, or no reward net.",
    "A34": "A tensor that a declared architecture names is not there, or one is there of which it says nothing.",
    "A35": "A safetensors file whose header is not true of the file, or a tensor that has no binary32 form.",
    "A36": "The parts of a classifier do not belong together: its shards and their index, or an adapter.",
    "A37": "The declaration of an architecture makes no sense.",
    "A38": "What a network reads, or which of its outputs is the reward, is not said.",
    "A39": "A reward net's shaping is discounted otherwise than was said, or without it being said.",
    "A32": "The network's inputs or output do not fit the features: their number, width, type or device.",
    "A50": "There is no encoder of texts at that place, or it has no model that is read without being run.",
    "A51": "The encoder's folder does not say how its tokens become one vector, or says what is not supported.",
    "A52": "The encoder cannot be loaded or run, or gives what is no number.",
    "B01": "The artifact takes another number of records than the reward is declared with.",
    "B02": "The artifact reads other features than the declared record has.",
    "B03": "The artifact reads the same features in another order.",
    "B04": "A feature has another kind or size in the artifact than in the spec.",
    "B05": "A feature has another unit in the artifact than in the spec. Rules may use any unit; declarations may not.",
    "B06": "An enum has other cases, or other order of them, in the artifact than in the spec.",
    "B07": "The spec declares a wider range than the artifact covers.",
    "D17": "The table has a column, or the mapping a name, that the reward does not read.",
    "D20": "Too few rows or pairs to learn from.",
    "D21": "A compared pair, or an item of a ranking, does not have the same steps as the others.",
    "D22": "The data say nothing to learn from: all labels or rows are equal, segments are compared with themselves, "
    "or every answer is contradicted by another.",
    "D23": "A row of the demonstrations has no value of any feature.",
    "D24": "A column that goes with answers makes no sense: places that are not 1, 2, 3, …, a tie, weight or annotator "
    "that differs within one answer, or weights that are all 0.",
    "D30": "The parts of a recording do not fit together: an episode has more actions than steps, or the file says "
    "that it holds other episodes than it does.",
    "D31": "A row of texts lacks its text, or holds what is none: a number, an empty answer, a message without a role.",
    "D26": "An expert's statements contradict each other, or no allowed change of the reward makes all of them true.",
    "D39": "There is no room on the disk to lay out data that are too large for memory.",
    "G10": "The learn config cannot be read, or is not TOML.",
    "G11": "A key or a learner's name in the learn config is unknown.",
    "G12": "A setting of the learner, in the config or a call, has a value that makes no sense.",
    "G13": "The learn config lacks a section or a key.",
    "G34": "Label noise is tried by learning again from the table that a reward was learned from: pairs or labels.",
    "G35": "Two rewards have a distance if they read the same records, and no name of an action is unknown.",
    "G95": "Text was asked for, and a package that encodes it is not installed.",
    "G96": "An HDF5 recording was named, and h5py is not installed.",
    "X20": "An operator of the network that cannot be bounded, or is not known.",
    "X21": "The module cannot be traced: its forward branches on its input, or on the number of rows.",
    "X22": "The ONNX model keeps its weights in another file. Save it in one.",
    "X23": "The imported graph computes something else than the network does, by more than rounding explains.",
    "X24": "A smooth reward's values are enclosed; this needs one that is a rational, or one that is in reach.",
    "X30": "The reward is too large to be written as an ONNX network of Gemm and Relu alone.",
}
