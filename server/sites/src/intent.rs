//! What one site shall have of an object: rendered, changed by its rule, named, given its way back.
//!
//! Start at [`Intent::of`]. Invariant: what is refused here is said with its reason and leaves
//! what stands at the site as it is; the hash covers everything that the syncer acts upon.

use hanse_apis::sites::{
    Access, ApiAccess, ApplyError, ManifestSpec, Source, Target, Upsync, names,
};
use hanse_projection::expr::Fuel;
use hanse_projection::names::target_by;
use hanse_projection::references::pod_paths;
use hanse_projection::{Render, Rule, access, content_hash, kinds, render};
use serde_json::{Value, json};

use crate::going::{Rules, SiteRef};
use crate::rules::is_of_site;
use crate::run::Sites;

/// What an object's way to a site depends on.
pub struct Intent<'a> {
    /// The hub.
    pub sites: &'a Sites,
    /// The tenant's object.
    pub object: &'a Value,
    /// Its identity.
    pub source: &'a Source,
    /// The rule of its kind.
    pub rule: &'a Rule,
    /// Name of the Site.
    pub site: &'a str,
    /// What else is known of it.
    pub place: &'a SiteRef,
    /// The site's share, and the dotted path where it goes.
    pub share: Option<(&'a str, i64)>,
    /// Whether its Placement selects it, or it only goes along.
    pub listed: bool,
}

/// Reason of what an override refuses.
pub const OVERRIDE_FAILED: &str = "OverrideFailed";

/// Why nothing is sent.
fn refused(reason: &str, message: impl Into<String>) -> Box<ApplyError> {
    Box::new(ApplyError {
        reason: reason.into(),
        message: message.into(),
        ..ApplyError::default()
    })
}

impl Intent<'_> {
    /// The Manifest's spec, with the site's key of names.
    ///
    /// # Errors
    /// Why nothing is sent.
    pub fn of(&self, key: &[u8], fuel: &mut Fuel) -> Result<ManifestSpec, Box<ApplyError>> {
        let rule = self.rule;
        if let Some(error) = rule.errors.first() {
            let message = format!("ProjectionRule {}: {error}", rule.place.1);
            return Err(refused("RuleInvalid", message));
        }
        let target = target_by(key, self.source, &rule.spec);
        let operators = !rule.place.0.is_empty() && is_of_site(self.sites, rule, &self.place.home);
        self.welcome(&target, operators)?;
        let mut object = render(&Render {
            object: self.object,
            source: self.source,
            replicas: self.share,
        });
        let hide = self.source.group.is_empty() && self.source.resource == "secrets";
        let seen = match rule.changes_down() {
            true => without_reports(self.object),
            false => Value::Null,
        };
        let site = json!({"name": self.site, "labels": self.place.labels});
        rule.down(&mut object, &seen, &site, fuel, hide)
            .map_err(|error| {
                let message = format!("ProjectionRule {}: {error}", rule.place.1);
                refused("TransformFailed", message)
            })?;
        if let Some(Rules { policy, site, .. }) = &self.place.rules {
            let what = (self.source, self.listed);
            let changed = policy.overridden(object, what, site, self.sites.seconds());
            object = changed.map_err(|failure| {
                let message = format!("{}: {}", failure.field, failure.message);
                refused(OVERRIDE_FAILED, message)
            })?;
        }
        let access = self.access(&mut object);
        // Whatever stands in a cluster outside of the tenant's own namespaces is not a tenant's to
        // take over.
        let shared = target.namespace_locator.is_empty();
        let mut spec = ManifestSpec {
            hash: content_hash(&object),
            object,
            source: self.source.clone(),
            force: rule.spec.force.clone(),
            adopt: rule.spec.adopt && (operators || !shared),
            order: rule.spec.order,
            upsync: self.upsync(fuel, hide)?,
            access,
            target,
            traceparent: String::new(),
        };
        spec.hash = hash(&spec);
        Ok(spec)
    }

    /// Whether the site takes such an object.
    fn welcome(&self, target: &Target, operators: bool) -> Result<(), Box<ApplyError>> {
        let of = self.source;
        let (group, resource) = match target.resource.is_empty() {
            true => (&of.group, &of.resource),
            false => (&target.group, &target.resource),
        };
        let kind = match group.as_str() {
            "" => resource.clone(),
            group => format!("{resource}.{group}"),
        };
        if let Some(why) = kinds::stays(group, resource, &of.name) {
            return Err(refused(
                "NotAccepted",
                format!("{kind} do not travel: {why}"),
            ));
        }
        if of.namespace.is_empty() && !self.place.cluster_scoped.contains(&kind) {
            let message = format!("the site takes no {kind}: its spec.clusterScoped lists what");
            return Err(refused("NotAccepted", message));
        }
        let own = !of.namespace.is_empty() && target.namespace_locator.is_empty();
        if own && !operators {
            let message = format!(
                "ProjectionRule {} names a namespace of the site; only one in the Site's workspace \
                 may",
                self.rule.place.1
            );
            return Err(refused("NotAccepted", message));
        }
        Ok(())
    }

    /// Gives the object's Pods their way to the workspace, when they shall have one.
    fn access(&self, object: &mut Value) -> Access {
        let asked = &self.object["metadata"]["annotations"][names::API_ACCESS_ANNOTATION];
        let asked = asked.as_str().filter(|text| !matches!(*text, "" | "false"));
        let rule: &ApiAccess = &self.rule.spec.api_access;
        if (asked.is_none() && !rule.enabled) || self.source.namespace.is_empty() {
            return Access::default();
        }
        let pods = pod_paths(
            &self.source.group,
            &self.source.resource,
            &self.rule.spec.pod_templates,
        );
        let accounts = access::give(object, &pods);
        if accounts.is_empty() {
            return Access::default();
        }
        let shard = self.sites.tenancy.shard();
        Access {
            server: shard.cluster_url(&self.source.cluster),
            authority: shard.ca_pem.clone(),
            accounts,
            audience: match asked {
                None | Some("true") => rule.audience.clone(),
                Some(audience) => audience.to_owned(),
            },
            seconds: rule.life(),
        }
    }

    fn upsync(&self, fuel: &mut Fuel, hide: bool) -> Result<Vec<Upsync>, Box<ApplyError>> {
        let mut out = Vec::new();
        for (index, related) in self.rule.related(true) {
            if kinds::stays(&related.group, &related.resource, "").is_some() {
                continue;
            }
            // References are read below, where the names may be those of the site.
            let names = match related.template.is_empty() {
                true => Vec::new(),
                false => self
                    .rule
                    .names(index, self.object, fuel, hide)
                    .map_err(|error| refused("TransformFailed", error))?,
            };
            let version = match related.version.as_str() {
                "" => "v1",
                version => version,
            };
            out.push(Upsync {
                group: related.group.clone(),
                version: version.to_owned(),
                resource: related.resource.clone(),
                references: related.references.clone(),
                names,
                selector: related.selector.clone(),
            });
        }
        Ok(out)
    }
}

/// The object as expressions see it: what is reported of it decides nothing about its way down.
fn without_reports(object: &Value) -> Value {
    let mut out = object.clone();
    if let Some(map) = out.as_object_mut() {
        map.remove("status");
    }
    if let Some(meta) = out["metadata"].as_object_mut() {
        for report in [
            "managedFields",
            "resourceVersion",
            "generation",
            "finalizers",
        ] {
            meta.remove(report);
        }
        if let Some(notes) = meta.get_mut("annotations").and_then(Value::as_object_mut) {
            notes.remove(names::STATUS_ANNOTATION);
        }
    }
    out
}

/// The hash of all that the syncer acts upon; of the object alone where there is nothing else.
fn hash(spec: &ManifestSpec) -> String {
    let plain = spec.force.is_empty()
        && !spec.adopt
        && spec.order.is_none()
        && spec.upsync.is_empty()
        && !spec.access.is_given();
    if plain {
        return spec.hash.clone();
    }
    content_hash(&json!([
        spec.hash,
        spec.force,
        spec.adopt,
        spec.order,
        spec.upsync,
        spec.access,
    ]))
}
