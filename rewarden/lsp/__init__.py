"""The language server: what an editor asks about a spec that is being written.

    positions, tokens          places as editors count them; a text cut up, whatever state it is in
    reading                    one text: its analysis, and what its names stood for when it was last whole
    known, names               what is in scope; every name and what it stands for
    words, describe            the language's own words in a sentence each; declarations in a line
    acceptable, proposals,     what may be written here
      completion
    expressions, rule_class,   what this is, of which unit and between which bounds; how hard a rule is
      meaning, hover
    definition, outline        where it is declared, where it is used, another name for it; the items
    reports, fixes, formatting what is wrong, what would mend it, the one layout
    documents, protocol,       the open texts; the protocol's types; the requests
      server

All but the last three are pure: texts and readings in, values out, no exception on any text. Only `protocol` and
`server` import pygls, and nothing here loads torch or Z3.
"""
