//! The Common Expression Language as Kubernetes speaks it: parsed, type-checked, costed, metered.
