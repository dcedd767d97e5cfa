//! The kinds that every logical cluster serves, as rows: schemas, defaults, validation, columns.
