"""How fast the package is, beside its peers and beside its own matrix products: `make bench`."""
