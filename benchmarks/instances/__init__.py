"""The instances that benchmarks run on, with every constant and seed, and checksums to recognise them by."""
