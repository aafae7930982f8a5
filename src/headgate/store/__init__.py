"""Where the state of limits lives: in this process, on this machine, or in Redis for all machines."""
