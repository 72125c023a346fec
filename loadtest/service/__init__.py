"""The service under measurement: started with settings, asked over HTTP, and what it used and said of itself."""
