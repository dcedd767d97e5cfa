//! What built-in kinds do beyond their types: defaults, strategies, validation.

use crate::def::{Hooks, NO_HOOKS};

/// For kinds that do nothing of their own.
pub static NONE: Hooks = NO_HOOKS;
