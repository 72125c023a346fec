"""The forms of one model under the same load: what each conversion buys, and what it costs."""
