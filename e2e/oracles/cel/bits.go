package main

import "math"

// mathBits are the bits of a double, with one form of not-a-number.
func mathBits(d float64) uint64 {
	if math.IsNaN(d) {
		return 0x7ff8000000000000
	}
	return math.Float64bits(d)
}
