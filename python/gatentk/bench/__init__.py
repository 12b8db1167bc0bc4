"""Speed of the package beside what a user would run instead, in the same minutes on the same machine.

`case` says what a row of the table is, `cases` is the one table, a module a family (tests take its cases at small
shapes), `torch_peers` and `neural_tangents_peer` hold the other sides, `training` takes steps for both, `process` talks
to another interpreter, `run` alternates the two sides, and `results` renders what came out.
"""
