"""More than the service can take: what is answered, how soon the rest is told, and when it is over."""
