"""One table of methods, one file per law, and every method keeps every law that it promises."""
