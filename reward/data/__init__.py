"""Data as other people record it, read as columns: what `spec_lang.tables` then checks, value by value.

`opening` picks a reader by what is there; each reader makes `episodes` (arrays by the names that they have there) or
columns, and nothing else: that a value has its type, lies in its range and is there at all is checked in one place for
all of them, and errors name the row, and in recordings the episode and the step.

    opening        a path → `Source`
    mapping        which feature is which column: `gap = "obs[0]"`
    recordings     episodes → columns, one row per step, or one per observation
    trajectories   `imitation`: npz, rows and folders of Hugging Face datasets
    hdf5, minari   HDF5 files (flat arrays, or a group per episode); Minari's folders

Nothing is ever unpickled: a part of a file that is pickled raises D10 when it is asked for, and is left alone else.
Reads text in `reward.text`, not here. May import what this room may; h5py is an extra.
"""
