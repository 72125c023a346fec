"""The comparison: one model file, one client and one machine, and every Python model server in turn.

A peer is a folder: `peer.toml` says how it is started and what language it speaks, `requirements.txt` what is installed
for it, and its server is what that project's own documentation tells a user to write. A new folder is a new row.
"""
