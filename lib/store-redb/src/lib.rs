//! The embedded engine: redb behind one commit loop with grouped fsync.
