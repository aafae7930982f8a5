"""Which server gets a request: policies that order candidates, and `choose`, which alone applies availability. Pure."""
