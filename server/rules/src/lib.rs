//! Pure rules of tenancy: types, inheritance, claims, naming conflicts, hashes; no I/O.
