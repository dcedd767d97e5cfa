//! The open file, let go without taking the process down.
//!
//! redb commits once more when it is dropped, and stops by an assertion where the pages that it
//! needs for this are damaged. Everything acknowledged is durable before, so nothing is lost by
//! stopping there; the next opening repairs the file or names the damage.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::Database;

use crate::format::Failure;

/// A database until it is dropped.
pub(crate) struct File(Option<Database>);

impl File {
    pub(crate) fn new(database: Database) -> Self {
        Self(Some(database))
    }

    pub(crate) fn database(&self) -> Result<&Database, Failure> {
        self.0.as_ref().ok_or_else(closed)
    }

    pub(crate) fn database_mut(&mut self) -> Result<&mut Database, Failure> {
        self.0.as_mut().ok_or_else(closed)
    }
}

fn closed() -> Failure {
    Failure::Refused("the store is closed".into())
}

impl Drop for File {
    fn drop(&mut self) {
        let database = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
            tracing::error!("the store's file could not be closed: its pages are damaged");
        }
    }
}
