"""Sockets to requests, responses to bytes: one protocol class over llhttp, router, listener, keys, trace."""
