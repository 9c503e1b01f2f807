"""GPUs, memory, precision, compiling, several processes."""
