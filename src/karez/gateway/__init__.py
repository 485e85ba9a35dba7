"""The request path. Its worker lives on the standard library, numpy and `karez.steer`; keep this package as light."""
