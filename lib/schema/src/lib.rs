//! Structural schemas: compile, prune, default, validate, ratchet; OpenAPI out.
