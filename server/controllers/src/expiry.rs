//! Events live an hour after their last write (EVT-05). One sweep over all logical clusters, at
//! most once a minute and only while there are Events: no timer per Event.

use std::time::Duration;

use hanse_cache::{DocumentError, ListQuery, Object, ResourceId, Scope};
use hanse_wire::time;

use crate::limits;
use crate::plan::{Plan, World, erase, is_full};

/// Deletes expired Events; comes back when the next one expires.
pub fn sweep(world: &World<'_>) -> Result<Plan, DocumentError> {
    let now = world.now_micros();
    let ttl = i64::try_from(limits::EVENT_TTL.as_micros()).unwrap_or(i64::MAX);
    let resource = ResourceId::new("", "events", "");
    let events = match world
        .hub
        .list(&resource, &Scope::Wildcard, &ListQuery::default())
    {
        Ok(page) => page.objects,
        Err(_) => return Ok(Plan::later(limits::EVENT_SWEEP)),
    };
    let mut next = ttl;
    let mut writes = Vec::new();
    for event in &events {
        let left = last_write(event).map_or(ttl, |then| then.saturating_add(ttl) - now);
        if left > 0 {
            next = next.min(left);
        } else if !is_full(&writes) {
            writes.push(erase(event));
        } else {
            next = 0;
        }
    }
    let wait = Duration::from_micros(u64::try_from(next).unwrap_or(0));
    let mut plan = Plan::batches(world.hub, writes);
    plan.again = Some(wait.max(limits::EVENT_SWEEP));
    Ok(plan)
}

/// The latest of the times that an Event carries.
fn last_write(event: &Object) -> Option<i64> {
    let paths: [&[&str]; 5] = [
        &["metadata", "creationTimestamp"],
        &["lastTimestamp"],
        &["eventTime"],
        &["series", "lastObservedTime"],
        &["firstTimestamp"],
    ];
    paths
        .iter()
        .filter_map(|path| event.text(path).and_then(|t| time::parse(&t)))
        .max()
}
