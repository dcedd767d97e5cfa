//! May this object be so: the built-in admission plugins.
