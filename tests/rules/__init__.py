"""Models of all kinds, and the sums that backward rules owe on each of them."""
