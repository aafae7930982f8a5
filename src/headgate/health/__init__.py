"""What follows from seeing servers pass and fail: pure rules, with neither clock nor sockets."""
