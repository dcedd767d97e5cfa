//! API types and names that Hanse serves: kcp's groups and its own; no I/O.
