//! Events on a tenant's object: new causes of failure, and warnings that were given below.
//!
//! Invariant: bounded and said once. An Event's name is a hash of what it says, so the same words
//! about the same thing are one Event for as long as Events are kept.

use hanse_apis::sites::{BelowEvent, ProjectionStatus, Source};
use hanse_cache::{DocumentError, Object};
use hanse_projection::content_hash;
use hanse_tenancy::Draft;
use serde_json::{Value, json};

use crate::object::Work;
use crate::run::Sites;

/// What an Event says.
struct Said<'a> {
    site: &'a str,
    reason: &'a str,
    message: String,
    /// When it was first so.
    since: &'a str,
}

impl Work<'_> {
    /// One Event for each new cause of failure, and one for each warning from below.
    ///
    /// # Errors
    /// A tree that is no object.
    pub(crate) fn events(&mut self, summary: &ProjectionStatus) -> Result<(), DocumentError> {
        let old = self.told();
        for detail in &summary.sites {
            let Some(error) = &detail.error else {
                continue;
            };
            let known = old.sites.iter().find(|d| d.site == detail.site);
            let known = known.and_then(|d| d.error.as_ref());
            if known.is_some_and(|k| k.reason == error.reason && k.message == error.message) {
                continue;
            }
            self.say(&Said {
                site: &detail.site,
                reason: &error.reason,
                message: error.message.clone(),
                since: &error.since,
            })?;
        }
        let warnings: Vec<(String, BelowEvent)> = self
            .parts
            .iter()
            .flat_map(|part| {
                // What was warned of an hour ago is no news, and its Event may be gone by now.
                let news = |event: &&BelowEvent| !self.sites.is_old(&event.since);
                let of = |event: &BelowEvent| (part.site.clone(), event.clone());
                part.warnings().iter().filter(news).map(of)
            })
            .collect();
        for (site, event) in &warnings {
            let about = format!("{}/{}", event.kind.to_lowercase(), event.name);
            self.say(&Said {
                site,
                reason: &event.reason,
                message: format!("{about}: {}", event.message),
                since: &event.since,
            })?;
        }
        Ok(())
    }

    fn say(&mut self, said: &Said<'_>) -> Result<(), DocumentError> {
        let Some(object) = &self.object else {
            return Ok(());
        };
        let draft = event(self.sites, object, &self.source, said);
        let cluster = object.key().cluster.clone();
        let view = self.sites.tenancy.view();
        let there = view.get(&draft.resource, &cluster, &draft.namespace, draft.name());
        let planned = self
            .turn
            .writes
            .iter()
            .any(|w| w.key.resource == draft.resource && *w.key.name == *draft.name());
        if there.is_none() && !planned {
            self.turn
                .create(self.sites.tenancy.maker(), &cluster, draft)?;
        }
        Ok(())
    }
}

fn event(sites: &Sites, object: &Object, source: &Source, said: &Said<'_>) -> Draft {
    let namespace = match source.namespace.as_str() {
        "" => "default",
        namespace => namespace,
    };
    let message = format!("{}: {}", said.site, said.message);
    let of = json!([
        object.uid(),
        said.site,
        said.reason,
        said.message,
        said.since
    ]);
    let hash = content_hash(&of);
    let api_version = match source.group.as_str() {
        "" => source.version.clone(),
        group => format!("{group}/{}", source.version),
    };
    let now = sites.now();
    let value: Value = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("{}.{}", source.name, &hash[..16])},
        "involvedObject": {
            "apiVersion": api_version, "kind": source.kind, "namespace": source.namespace,
            "name": source.name, "uid": source.uid,
        },
        "reason": said.reason, "message": message, "type": "Warning", "count": 1,
        "firstTimestamp": now, "lastTimestamp": now,
        "source": {"component": "hanse-sites"}, "reportingComponent": "hanse-sites",
        "reportingInstance": "", "eventTime": null,
    });
    Draft::new(&sites.ids.events, value).within(namespace)
}
