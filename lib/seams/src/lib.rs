//! The only door to clock, chance, disk, net and spawning: real ones and simulated ones.
