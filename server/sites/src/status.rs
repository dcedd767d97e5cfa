//! The way up: from the Manifests of an object to its Projection and its own status.
//!
//! Invariant: nothing here says more than is known; a Lost site counts for nothing but `unknown`.

use hanse_apis::sites::{
    self, ApplyError, BelowEvent, Condition, ManifestStatus, PROJECTION_SITES_MAX,
    ProjectionStatus, RelatedObject, SiteDetail, set_condition,
};
use hanse_cache::Object;
use hanse_projection::Contact;
use hanse_projection::aggregate::{Health, Of, SiteView, Told, aggregate, health};
use hanse_projection::expr::cut;
use hanse_projection::line::{self, NOT_PLACED};
use serde_json::Value;

use crate::going::SiteRef;
use crate::limits::{CONDITION_BYTES_MAX, DETAIL_BYTES_MAX};
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
    /// Its status as it is meant here: changed by the kind's rule.
    meant: Value,
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
        self.applied = !hash.is_empty() && self.status.applied_hash == hash;
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

    /// Changes the reported status as the kind's rule says.
    pub fn raise(&mut self, of: &Of<'_>, told: &mut Told) {
        let Some(rule) = of.rule else {
            self.meant = self.status.status.clone();
            return;
        };
        // What cannot be read right is not shown at all: the Projection has it as it came.
        self.meant = match rule.up(&self.status.status, of.object, &mut told.fuel) {
            Ok(meant) => meant,
            Err(error) => {
                told.errors.push(format!("{}: {error}", self.site));
                Value::Null
            }
        };
    }

    /// Whether the object is there as wished, and healthy.
    #[must_use]
    pub fn is_well(&self, of: &Of<'_>, told: &mut Told) -> bool {
        health(of, &self.view(), told) == Health::Healthy && self.error.is_none()
    }

    /// When the site last reported something new, in seconds since 1970 by its clock.
    #[must_use]
    pub fn observed(&self) -> Option<i64> {
        let micros = hanse_wire::time::parse(&self.status.observed)?;
        Some(micros.div_euclid(1_000_000))
    }

    /// What has a change that has to wait for other sites.
    pub fn wait(&mut self) {
        self.state = "Waiting".into();
    }

    /// Warnings that were given below.
    #[must_use]
    pub fn warnings(&self) -> &[BelowEvent] {
        &self.status.events
    }

    /// Objects born below; `None` when nothing is known of them.
    #[must_use]
    pub fn born(&self) -> Option<&[RelatedObject]> {
        (!self.lost && self.applied).then_some(&self.status.related)
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
            status: &self.meant,
        }
    }
}

/// The status of a Projection.
#[must_use]
pub fn summarize(
    sites: &Sites,
    parts: &[Part],
    (of, placement): (&Of<'_>, &str),
    old: Option<&Object>,
    (down, up): (&[String], &mut Told),
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
        let healthy = health(of, &part.view(), up);
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
    expressions(sites, &mut out, "Rendered", down);
    expressions(sites, &mut out, "Mapped", &up.errors);
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

/// A condition for expressions of one direction, from the first failure on.
fn expressions(sites: &Sites, out: &mut ProjectionStatus, kind: &str, errors: &[String]) {
    let known = out.conditions.iter().any(|c| c.r#type == kind);
    if errors.is_empty() && !known {
        return;
    }
    let mut message = errors.join("; ");
    message = cut(&message, CONDITION_BYTES_MAX);
    let failed = !errors.is_empty();
    set_condition(
        &mut out.conditions,
        Condition {
            r#type: kind.into(),
            status: if failed { "False" } else { "True" }.into(),
            reason: if failed { "ExpressionFailed" } else { kind }.into(),
            message,
            last_transition_time: sites.now(),
            ..Condition::default()
        },
    );
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

/// The one status of all sites.
#[must_use]
pub fn combine(parts: &[Part], of: &Of<'_>, told: &mut Told) -> Option<Value> {
    let views: Vec<SiteView<'_>> = parts.iter().filter(|p| p.counts).map(Part::view).collect();
    aggregate(of, &views, told)
}

/// Puts the combined status onto the tenant's object, when it passes the tenant's schema; what
/// does not fit stays in the Projection.
pub fn bring_up(sites: &Sites, object: &Object, value: &mut Value, status: Value) {
    if !travels(sites, object) {
        return;
    }
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
