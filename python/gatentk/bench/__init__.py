"""Speed of the package beside what a user would run instead, in the same minutes on the same machine.

`cases` is the one table of what is measured (tests take its cases at small shapes), `torch_peers` and
`neural_tangents_peer` hold the other sides, `training` takes steps for both, `process` talks to another interpreter,
`run` alternates the two sides, `results` renders what came out, and `command` is `gatentk bench`.
"""
