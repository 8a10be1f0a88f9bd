"""Parts that the local and the simulated cluster share. Both keep their objects in our own process."""
