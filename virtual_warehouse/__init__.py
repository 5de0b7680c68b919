"""The shipped simulator: virtual scanners, printers, packers and link faults."""
