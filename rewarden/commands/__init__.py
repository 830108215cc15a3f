"""The commands, a few small ones to a file. Each imports what it needs when it runs; at import, only typer.

A command resolves its arguments (`binding`), calls `rewarden.api`, prints what came of it (`rewarden.output`) and
returns an exit status. Nothing here decides anything about rules, rewards or proofs.
"""
