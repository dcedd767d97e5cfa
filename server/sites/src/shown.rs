//! What tables say and no object does: ages, and that a site is Late.
//!
//! Objects store times, never ages, and only entering and leaving `Lost` is written; whatever
//! follows from the clock is derived here, when somebody looks. Start at [`Sites::shown`], which
//! says what a kind's table has beyond the kind's own columns. Invariant: nothing here writes.

use std::sync::Arc;

use hanse_apis::sites::{
    self, GROUP, ObjectSelector, ProjectionSpec, ProjectionStatus, SiteSpec, SiteStatus, Source,
    names,
};
use hanse_cache::{CLUSTER_ANNOTATION, ClusterName, ResourceId, Scope};
use hanse_projection::contact::{Contact, Derived, contact};
use hanse_projection::line::{Ages, summary, worst};
use hanse_projection::names::object_name;
use hanse_wire::table::Column;
use hanse_wire::time;
use serde_json::Value;

use crate::run::Sites;

/// Cells that are derived for one kind's table.
#[derive(Clone)]
pub struct Shown {
    sites: Arc<Sites>,
    what: What,
}

#[derive(Clone)]
enum What {
    /// A Site's contact and since when.
    Contact,
    /// How many sites of a Projection are well.
    Ready,
    /// The same, as one more column of a kind that a Placement of the workspace sends to sites.
    Sites(ResourceId),
}

const CONTACT: &str = "Contact";
const SINCE: &str = "Since";
const READY: &str = "Ready";
const SITES: &str = "Sites";
const NOTHING: &str = "<none>";

impl Sites {
    /// What is derived for the table of a resource in a logical cluster, if anything.
    #[must_use]
    pub fn shown(
        self: &Arc<Self>,
        resource: &ResourceId,
        cluster: Option<&ClusterName>,
    ) -> Option<Shown> {
        let what = if *resource == self.ids.sites {
            What::Contact
        } else if *resource == self.ids.projections {
            What::Ready
        } else {
            let places = cluster.is_some_and(|cluster| self.places(resource, cluster));
            places.then(|| What::Sites(resource.clone()))?
        };
        Some(Shown {
            sites: Arc::clone(self),
            what,
        })
    }

    /// Whether a Placement of a workspace names a kind.
    fn places(&self, resource: &ResourceId, cluster: &ClusterName) -> bool {
        let view = self.tenancy.view();
        let scope = Scope::Cluster(cluster.clone());
        if resource.group() == GROUP || view.hub().count(&self.ids.placements, &scope) == 0 {
            return false;
        }
        let placements = view.list_cluster(&self.ids.placements, cluster);
        placements.iter().any(|placement| {
            let raw = placement.raw(&["spec", "objects"]).unwrap_or(b"[]");
            let objects: Vec<ObjectSelector> = serde_json::from_slice(raw).unwrap_or_default();
            let fits = |o: &ObjectSelector| {
                o.group == resource.group() && o.resource == resource.resource()
            };
            objects.iter().any(fits)
        })
    }

    /// How an inbox's syncer is heard at this moment, when it was ever heard.
    fn heard_now(&self, inbox: &str) -> Option<Derived> {
        let inbox = ClusterName::from(inbox);
        let (namespace, name) = (names::LEASE_NAMESPACE, names::LEASE);
        let view = self.tenancy.view();
        let lease = view.get(&self.ids.leases, &inbox, namespace, name)?;
        let spec = self.site_of_inbox(&inbox)?;
        let spec: SiteSpec = sites::read(&spec.value(), "spec").unwrap_or_default();
        let last = self.last_heard(&inbox, &lease)?;
        Some(contact(last, self.seconds(), &spec.times))
    }
}

impl Shown {
    /// Adds the head of a further column.
    pub fn heads(&self, heads: &mut Vec<Column>) {
        if matches!(self.what, What::Sites(_)) {
            heads.push(Column::text(SITES));
        }
    }

    /// Puts the derived cells of one object into its row, whose heads are the kind's own; `now`
    /// in microseconds.
    pub fn cells(&self, heads: &[Column], object: &Value, now: i64, cells: &mut Vec<Value>) {
        let mut put = |head: &str, text: String| {
            let at = heads.iter().position(|column| column.name == head);
            if let Some(cell) = at.and_then(|at| cells.get_mut(at)) {
                *cell = text.into();
            }
        };
        match &self.what {
            What::Contact => {
                let status: SiteStatus = sites::read(object, "status").unwrap_or_default();
                let heard = self.sites.heard_now(&status.cluster);
                let late = heard.filter(|d| d.contact == Contact::Late);
                if let Some(late) = late.filter(|_| status.contact == Contact::Live.as_str()) {
                    put(CONTACT, late.contact.as_str().to_owned());
                    let since = self.sites.time(late.since);
                    put(SINCE, time::age(Some(&since), now));
                }
            }
            What::Ready => put(READY, self.ready(object, now)),
            What::Sites(resource) => {
                let projection = self.projection(resource, object);
                let told = projection.map(|projection| {
                    let ready = self.ready(&projection, now);
                    let status: ProjectionStatus =
                        sites::read(&projection, "status").unwrap_or_default();
                    format!("{ready}{}", worst(&status))
                });
                cells.push(told.unwrap_or_else(|| NOTHING.to_owned()).into());
            }
        }
    }

    fn projection(&self, resource: &ResourceId, object: &Value) -> Option<Value> {
        let meta = &object["metadata"];
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let source = Source {
            cluster: text(&meta["annotations"][CLUSTER_ANNOTATION]),
            group: resource.group().to_owned(),
            resource: resource.resource().to_owned(),
            namespace: text(&meta["namespace"]),
            name: text(&meta["name"]),
            ..Source::default()
        };
        let view = self.sites.tenancy.view();
        let of = &self.sites.ids.projections;
        let found = view.get(of, &source.cluster, "", &object_name(&source))?;
        Some(found.value())
    }

    /// `2/3 (1 unknown 14m)`.
    fn ready(&self, projection: &Value, now: i64) -> String {
        let spec: ProjectionSpec = sites::read(projection, "spec").unwrap_or_default();
        let status: ProjectionStatus = sites::read(projection, "status").unwrap_or_default();
        let late = spec.sites.iter().filter_map(|assignment| {
            let heard = self.sites.heard_now(&assignment.cluster)?;
            (heard.contact == Contact::Late).then_some(heard.since)
        });
        let late: Vec<i64> = late.collect();
        let age = |since: &str| time::age(Some(since), now);
        let oldest = late.iter().min().map(|since| self.sites.time(*since));
        let ages = Ages {
            unknown: (status.unknown > 0).then(|| age(&status.unknown_since)),
            late: oldest.map(|since| (late.len(), age(&since))),
        };
        summary(&status, &ages)
    }
}
