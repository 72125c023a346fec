"""Codecs over the data plane, and every route there is: V2, native, pages, health, OpenAPI, faults."""
