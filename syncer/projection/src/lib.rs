//! The treaty between above and below, as pure functions.
