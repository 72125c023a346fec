"""A lean load generator: requests at the times that a plan gives them, whether or not earlier ones were answered.

That is an open loop. A latency counts from the intended time, so that a service which stands still is charged for
everybody who would have come meanwhile (G. Tene's "coordinated omission"). It runs in a process of its own and measures
how late itself was. A closed loop, in which each connection asks again once it is answered, is there too, and is called
one.
"""
