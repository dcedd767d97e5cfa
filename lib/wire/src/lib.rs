//! All that a client can see of our encoding: Status, selectors, negotiation, tables, watch frames.
