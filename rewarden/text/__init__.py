"""Text in the application: which row of a spec's data is which text, and violations that somebody could write.

cache       where vectors are kept
tables      texts → a table that a spec names as data (`rewarden encode`)
rows        the texts of a spec's data
search      texts that say the same, encoded again, tried on the rules
told        what a result says of texts: the nearest one, the one that was found, or `no text known`
"""
