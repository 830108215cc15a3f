"""The spec itself, checked before any reward exists, with rewards as free symbols and Z3."""
