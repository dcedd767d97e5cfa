//! Turns 'something changed' into 'bring it right, later, once': keyed queues, informers, leases.
