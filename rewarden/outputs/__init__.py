"""What other tools read, made of an `Outcome` of `rewarden.ci`: text in, text out, nothing is decided here.

`clean` (texts that come from specs, for formats that do not bear all of them), `words` (for a person), `document`
(JSON; schemas beside it), `sarif`, `junit`, `github` (annotations and job summary), `places` (files as they are named
from the root of the repository), `written` (all that was asked for). A spec's author is not trusted with the format:
names and titles are escaped wherever they go.
"""
