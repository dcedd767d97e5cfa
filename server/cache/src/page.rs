//! Gathering the page of a list: the filter, the limit, and what follows.

use crate::object::Object;
use crate::table::{ListPage, ListQuery};

/// Gathers a page.
pub(crate) struct Collector<'q> {
    query: &'q ListQuery,
    objects: Vec<Object>,
    more: bool,
    remaining: u64,
}

impl<'q> Collector<'q> {
    pub(crate) fn new(query: &'q ListQuery) -> Self {
        Self {
            query,
            objects: Vec::new(),
            more: false,
            remaining: 0,
        }
    }

    /// Takes the next object in order; false when nothing more is wanted.
    pub(crate) fn take(&mut self, object: &Object) -> bool {
        if self
            .query
            .filter
            .as_ref()
            .is_some_and(|filter| !filter(object))
        {
            return true;
        }
        if self
            .query
            .limit
            .is_some_and(|limit| self.objects.len() >= limit)
        {
            self.more = true;
            self.remaining += 1;
            return !self.is_full();
        }
        self.objects.push(object.clone());
        true
    }

    /// Whether each object is tested first.
    pub(crate) fn is_filtered(&self) -> bool {
        self.query.filter.is_some()
    }

    fn counts(&self) -> bool {
        self.query.count_rest && self.query.filter.is_none()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.more && !self.counts()
    }

    pub(crate) fn finish(self, version: u64) -> ListPage {
        let remaining = self.counts().then_some(self.remaining);
        ListPage {
            objects: self.objects,
            version,
            more: self.more,
            remaining,
        }
    }
}

/// A list that is being read, turn by turn of the lock.
pub(crate) struct Reading<'q> {
    pub(crate) page: Collector<'q>,
    /// The last object that was read.
    pub(crate) after: Option<String>,
    /// The version that is shown, once it is known.
    pub(crate) at: Option<u64>,
}

impl<'q> Reading<'q> {
    pub(crate) fn new(query: &'q ListQuery) -> Self {
        Self {
            page: Collector::new(query),
            after: query.after.clone(),
            at: query.at,
        }
    }

    pub(crate) fn finish(self) -> ListPage {
        self.page.finish(self.at.unwrap_or_default())
    }
}
