//! The way up: from the Manifests of an object to its Projection and its own status.
//!
//! Invariant: nothing here says more than is known; a Lost site counts for nothing but `unknown`.

use hanse_apis::sites::{
    self, ApplyError, Condition, ManifestStatus, PROJECTION_SITES_MAX, ProjectionStatus,
    SiteDetail, Source, set_condition,
};
use hanse_cache::Object;
use hanse_projection::Contact;
use hanse_projection::aggregate::{Health, SiteView, aggregate, health};
use hanse_projection::line::{self, NOT_PLACED};
use serde_json::Value;

use crate::limits::DETAIL_BYTES_MAX;
use crate::object::SiteRef;
use crate::run::Sites;

/// What one site says about an object.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Name of the Site.
    pub site: String,
    /// Applied, Pending, Failed ...
    pub state: String,
    /// Why it is not applied.
    pub error: Option<ApplyError>,
    /// Whether the site is one of those where the object shall be.
    pub counts: bool,
    lost: bool,
    lost_since: String,
    applied: bool,
    applied_generation: i64,
    status: ManifestStatus,
}

impl Part {
    /// A site of which nothing is known yet.
    #[must_use]
    pub fn new(site: &str, place: &SiteRef) -> Self {
        Self {
            site: site.to_owned(),
            state: "Pending".into(),
            counts: true,
            lost: place.lost,
            lost_since: place.lost_since.clone(),
            ..Self::default()
        }
    }

    /// Reads what a Manifest says; `hash` is that of the present intent.
    pub fn read(&mut self, manifest: &Value, hash: &str, generation: i64) {
        self.status = sites::read(manifest, "status").unwrap_or_default();
        self.applied = self.status.applied_hash == hash;
        // A site whose share did not change has nothing to apply: it is as far as the source.
        self.applied_generation = if self.applied {
            generation
        } else {
            self.status.applied_generation
        };
        self.error = self.status.error.clone();
        self.state = match self.status.state.as_str() {
            "" => "Pending".into(),
            "Applied" if !self.applied => "Pending".into(),
            state => state.to_owned(),
        };
    }

    /// What the hub itself refuses to send: nobody below can say it.
    pub fn refuse(&mut self, error: ApplyError) {
        self.state = "Failed".into();
        self.error = Some(error);
    }

    fn view(&self) -> SiteView<'_> {
        SiteView {
            site: &self.site,
            contact: if self.lost {
                Contact::Lost
            } else {
                Contact::Live
            },
            lost_since: &self.lost_since,
            applied_generation: self.applied_generation,
            generation: self.status.generation,
            applied: self.applied,
            replicas: self.status.replicas,
            status: &self.status.status,
        }
    }
}

/// The status of a Projection.
#[must_use]
pub fn summarize(
    sites: &Sites,
    parts: &[Part],
    source: &Source,
    placement: &str,
    old: Option<&Object>,
) -> ProjectionStatus {
    let mut out = ProjectionStatus {
        conditions: old
            .and_then(|p| serde_json::from_slice::<ProjectionStatus>(p.raw(&["status"])?).ok())
            .map(|s| s.conditions)
            .unwrap_or_default(),
        ..ProjectionStatus::default()
    };
    let (mut total, mut ready, mut degraded) = (0i64, 0i64, 0i64);
    for part in parts {
        let healthy = health(&source.group, &source.resource, &part.view());
        let failed = part.error.is_some() && !part.lost;
        if part.counts {
            total += 1;
            ready += i64::from(healthy == Health::Healthy && !failed);
            degraded += i64::from(healthy == Health::Degraded);
            out.unknown += i64::from(part.lost);
            out.applied += i64::from(part.applied && !part.lost);
            out.failed += i64::from(failed);
        }
        if part.lost && (out.unknown_since.is_empty() || part.lost_since < out.unknown_since) {
            out.unknown_since = part.lost_since.clone();
        }
        out.sites.push(detail(part, healthy));
    }
    out.ready = format!("{ready}/{total}");
    out.sites.sort_by(|a, b| {
        line::badness(a)
            .cmp(&line::badness(b))
            .then_with(|| a.site.cmp(&b.site))
    });
    out.sites.truncate(PROJECTION_SITES_MAX);
    // Where nothing is to be, nothing is applied either: no site stands for all of them.
    let nowhere = parts.is_empty();
    let nowhere_message = format!("Placement {placement} has chosen no Site");
    let rows = [
        verdict(
            "Applied",
            out.failed > 0,
            out.applied < total,
            "SiteRefuses",
            "Pending",
        ),
        verdict(
            "Healthy",
            degraded > 0,
            ready < total,
            "Degraded",
            "Progressing",
        ),
        verdict("Certain", out.unknown > 0, false, "SiteLost", ""),
    ];
    for (kind, state, reason) in rows {
        let (state, reason, message) = match nowhere && kind != "Certain" {
            true => ("Unknown", NOT_PLACED, nowhere_message.as_str()),
            false => (state, reason, ""),
        };
        set_condition(
            &mut out.conditions,
            Condition {
                r#type: kind.into(),
                status: state.into(),
                reason: reason.into(),
                message: message.into(),
                last_transition_time: sites.now(),
                ..Condition::default()
            },
        );
    }
    out
}

fn verdict<'a>(
    kind: &'a str,
    bad: bool,
    open: bool,
    bad_reason: &'a str,
    open_reason: &'a str,
) -> (&'a str, &'a str, &'a str) {
    match (bad, open) {
        (true, _) => (kind, "False", bad_reason),
        (false, true) => (kind, "Unknown", open_reason),
        (false, false) => (kind, "True", kind),
    }
}

fn detail(part: &Part, healthy: Health) -> SiteDetail {
    let small = part.status.status.to_string().len() <= DETAIL_BYTES_MAX;
    SiteDetail {
        site: part.site.clone(),
        state: part.state.clone(),
        health: healthy.as_str().to_owned(),
        certainty: if part.lost { "Lost" } else { "Live" }.to_owned(),
        error: part.error.clone(),
        applied_generation: part.applied_generation,
        observed: part.status.observed.clone(),
        status: if small {
            part.status.status.clone()
        } else {
            Value::Null
        },
    }
}

/// Whether a kind's status is brought up: it has one that is written apart from the rest.
#[must_use]
pub fn travels(sites: &Sites, object: &Object) -> bool {
    let row = sites.tenancy.maker().forms().row(&object.key().resource);
    match row {
        Some(row) => row.has_status(),
        // A kind of an export or CRD whose row has not been learned yet.
        None => !object.key().resource.identity().is_empty(),
    }
}

/// Puts the combined status onto the tenant's object, when it passes the tenant's schema; what
/// does not fit stays in the Projection.
pub fn bring_up(
    sites: &Sites,
    object: &Object,
    value: &mut Value,
    source: &Source,
    parts: &[Part],
) {
    if !travels(sites, object) {
        return;
    }
    let views: Vec<SiteView<'_>> = parts.iter().filter(|p| p.counts).map(Part::view).collect();
    let Some(status) = aggregate(&source.group, &source.resource, source.generation, &views) else {
        return;
    };
    let old = value["status"].take();
    value["status"] = status;
    let row = sites.tenancy.maker().forms().row(&object.key().resource);
    if let Some(schema) = row.as_ref().and_then(|r| r.schema.structural()) {
        schema.prune(value);
        let was = object.value();
        if !schema.validate_status(value, &was).0.is_empty() {
            // Conditions fit nearly everywhere; the rest is what the kind's own schema refuses.
            if let Some(map) = value["status"].as_object_mut() {
                map.retain(|key, _| key == "conditions" || key == "observedGeneration");
            }
        }
        if !schema.validate_status(value, &was).0.is_empty() {
            value["status"] = old;
        }
    }
    if value["status"].is_null()
        && let Some(map) = value.as_object_mut()
    {
        map.remove("status");
    }
}
