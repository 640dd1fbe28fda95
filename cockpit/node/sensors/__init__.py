"""Figures of GPUs and host, sampled by the agent; and the kernel's Xid log."""
