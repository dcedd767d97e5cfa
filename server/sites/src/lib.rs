//! The hub's half of the way to the sites: placing, rendering, aggregating.
