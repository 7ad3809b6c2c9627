"""What the box measures about itself: GPUs, CPU, memory, disk, network, ssh, terminals, workload.

A new GPU probe is a module in gpu/; `sampler` puts one sample together. May import box/.
"""
