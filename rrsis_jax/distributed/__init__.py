"""Devices, hosts, signals and the start of a process."""
