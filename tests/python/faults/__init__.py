"""Every operation beside every fault, and bodies that nobody would send."""
