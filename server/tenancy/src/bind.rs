//! What an export offers to be bound, and a binding brought to `Bound`.
//!
//! Start with [`Binder::offer`]. An offer is made once for each state of an export and its
//! schemas and shared by all bindings to it, so that a thousand births a second parse nothing
//! twice.

use crate::objects::{Draft, Maker};
use hanse_apis::kcp::{cluster, conditions as condition, label, phase};
use hanse_auth::View;
use hanse_auth::versions::Recent;
use hanse_cache::{ClusterName, Expect, Object, Write};
use hanse_rules::claims::{self, Claim};
use hanse_rules::conditions::{self, State};
use hanse_rules::naming::Names;
use hanse_rules::{bound_crd, hash, locks, path};
use serde_json::{Value, json};
use std::sync::Arc;

/// Offers that are kept.
const OFFERS_MAX: usize = 512;

/// One resource of an export.
#[derive(Clone, Debug)]
pub struct Offered {
    /// API group.
    pub group: String,
    /// Plural.
    pub resource: String,
    /// Name of the APIResourceSchema.
    pub schema: String,
    /// Its uid, which names the bound CRD.
    pub uid: String,
    /// Version that is stored.
    pub storage_version: String,
    /// All its names, for conflicts.
    pub names: Names,
}

/// All that a binding to an export needs to know.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Logical cluster of the export.
    pub cluster: ClusterName,
    /// Name of the export.
    pub export: String,
    /// Its identity.
    pub identity: String,
    /// Its resources, in its order.
    pub resources: Vec<Offered>,
    /// Its claims as it states them.
    pub claims: Vec<Value>,
    /// Its claims, read.
    pub claims_read: Vec<Claim>,
}

/// Why an export cannot be bound now: reason and message of `APIExportValid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOffered {
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// Makes offers.
pub struct Binder {
    view: Arc<View>,
    offers: Recent<Vec<u64>, Offer>,
}

impl Binder {
    /// Reads through `view`.
    #[must_use]
    pub fn new(view: Arc<View>) -> Binder {
        Binder {
            view,
            offers: Recent::new(OFFERS_MAX),
        }
    }

    /// What the export at a path offers; `home` is the logical cluster of an empty path.
    ///
    /// # Errors
    /// There is no such export, it has no identity yet, or a schema of it is missing.
    pub fn offer(&self, at: &str, name: &str, home: &str) -> Result<Arc<Offer>, NotOffered> {
        let qualified = path::join(if at.is_empty() { home } else { at }, name);
        let export = self.view.export(at, name, home).ok_or_else(|| NotOffered {
            reason: "APIExportNotFound",
            message: format!("APIExport {qualified} not found"),
        })?;
        self.offer_of(&export, &qualified)
    }

    /// What an export offers, under the name by which messages call it.
    ///
    /// # Errors
    /// As [`Binder::offer`].
    pub(crate) fn offer_of(
        &self,
        export: &Object,
        qualified: &str,
    ) -> Result<Arc<Offer>, NotOffered> {
        if export
            .text(&["status", "identityHash"])
            .is_none_or(|hash| hash.is_empty())
        {
            return Err(NotOffered {
                reason: "MissingIdentityHash",
                message: format!("APIExport {qualified} is missing status.identityHash"),
            });
        }
        let raw = export.raw(&["spec", "resources"]).unwrap_or(b"[]");
        let listed: Vec<Value> = serde_json::from_slice(raw).unwrap_or_default();
        let mut key = vec![export.resource_version()];
        let mut schemas = Vec::with_capacity(listed.len());
        for entry in &listed {
            let name = entry["schema"].as_str().unwrap_or_default();
            let of = &self.view.resources().api_resource_schemas;
            let schema = self.view.get(of, &export.key().cluster, "", name);
            let schema = schema.ok_or_else(|| NotOffered {
                reason: "InternalError",
                message: format!(
                    "an internal error prevented the APIBinding process: \
                     APIResourceSchema {name:?} not found"
                ),
            })?;
            key.push(schema.resource_version());
            schemas.push(schema);
        }
        self.offers.try_get(key, || read_offer(export, &schemas))
    }

    /// Drafts of the bound CRDs that an offer needs and that are not there yet.
    ///
    /// # Errors
    /// A schema that no CRD can be made of.
    pub fn missing_crds(&self, offer: &Offer, maker: &Maker) -> Result<Vec<Draft>, String> {
        let of = self.view.resources();
        let now = maker.now();
        let mut drafts = Vec::new();
        for offered in &offer.resources {
            if self
                .view
                .get(&of.crds, cluster::BOUND_CRDS, "", &offered.uid)
                .is_some()
            {
                continue;
            }
            let schema = self.view.get(
                &of.api_resource_schemas,
                &offer.cluster,
                "",
                &offered.schema,
            );
            let schema = schema.ok_or_else(|| format!("schema {:?} not found", offered.schema))?;
            let crd = bound_crd::from_schema(&schema.value(), &offer.cluster, &now);
            drafts.push(Draft::new(&of.crds, crd.map_err(|bad| bad.0)?));
        }
        Ok(drafts)
    }

    /// As [`Binder::missing_crds`], as writes.
    ///
    /// # Errors
    /// A schema that no CRD can be made of.
    pub fn crd_writes(&self, offer: &Offer, maker: &Maker) -> Result<Vec<Write>, String> {
        let bound = ClusterName::from(cluster::BOUND_CRDS);
        let now = maker.now();
        let drafts = self.missing_crds(offer, maker)?;
        let write = |draft| {
            let write = maker
                .create(&bound, draft, &now)
                .map_err(|e| e.to_string())?;
            // Whoever comes first makes it; the content follows from the schema alone.
            Ok(Write {
                expect: Expect::Any,
                ..write
            })
        };
        drafts.into_iter().map(write).collect()
    }
}

fn read_offer(export: &Object, schemas: &[Object]) -> Result<Offer, NotOffered> {
    let values: Vec<Value> = schemas.iter().map(Object::value).collect();
    let values: Vec<&Value> = values.iter().collect();
    Offer::from_values(&export.key().cluster, &export.value(), &values)
}

impl Offer {
    /// Reads an export with an identity and its schemas, in its order.
    ///
    /// # Errors
    /// A schema of several versions without conversion.
    pub fn from_values(
        cluster: &ClusterName,
        export: &Value,
        schemas: &[&Value],
    ) -> Result<Offer, NotOffered> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut resources = Vec::with_capacity(schemas.len());
        for schema in schemas {
            let (meta, spec) = (&schema["metadata"], &schema["spec"]);
            let versions = spec["versions"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            if versions.len() > 1 && spec.get("conversion").is_none() {
                return Err(NotOffered {
                    reason: "InternalError",
                    message: format!(
                        "APIResourceSchema {} has several versions and no conversion",
                        meta["name"]
                    ),
                });
            }
            let stored = versions.iter().find(|v| v["storage"] == true);
            let names = Names::from_spec(spec);
            resources.push(Offered {
                group: names.group.clone(),
                resource: names.plural.clone(),
                schema: text(&meta["name"]),
                uid: text(&meta["uid"]),
                storage_version: stored.map(|v| text(&v["name"])).unwrap_or_default(),
                names,
            });
        }
        let claims = export["spec"]["permissionClaims"].as_array().cloned();
        Ok(Offer {
            cluster: cluster.clone(),
            export: text(&export["metadata"]["name"]),
            identity: text(&export["status"]["identityHash"]),
            resources,
            claims: claims.unwrap_or_default(),
            claims_read: claims::of_export(export),
        })
    }
}

impl Offer {
    /// All claims accepted, as default bindings do.
    #[must_use]
    pub fn accepted_claims(&self) -> Vec<Value> {
        let accept = |claim: &Value| {
            let mut claim = claim.clone();
            let fields = claim.as_object_mut()?;
            let selector = fields.remove("defaultSelector");
            let selector = selector.unwrap_or_else(|| json!({"matchAll": true}));
            fields.insert("selector".into(), selector);
            fields.insert("state".into(), "Accepted".into());
            Some(claim)
        };
        self.claims.iter().filter_map(accept).collect()
    }

    /// Keys of the lock table that a binding takes.
    pub fn lock_keys(&self) -> impl Iterator<Item = String> + '_ {
        self.resources
            .iter()
            .map(|r| locks::key(&r.group, &r.resource))
    }

    /// Brings a binding's status to `Bound`, all resources of the offer taken.
    pub fn bind(&self, binding: &mut Value, now: &str) {
        self.bind_only(binding, &self.resources.iter().collect::<Vec<_>>());
        for kind in [
            condition::INITIAL_BINDING_COMPLETED,
            condition::BINDING_UP_TO_DATE,
        ] {
            conditions::set(binding, kind, &State::True, now);
        }
        binding["status"]["phase"] = phase::BOUND.into();
        self.note_export(binding, now);
        self.apply_claims(binding, now);
        conditions::summarize(binding, &[condition::INITIAL_BINDING_COMPLETED], now);
    }

    /// Notes whose export this is and what it claims.
    pub fn note_export(&self, binding: &mut Value, now: &str) {
        binding["status"]["apiExportClusterName"] = (&*self.cluster).into();
        if self.claims.is_empty() {
            remove(binding, "exportPermissionClaims");
        } else {
            binding["status"]["exportPermissionClaims"] = self.claims.clone().into();
        }
        conditions::set(binding, condition::API_EXPORT_VALID, &State::True, now);
        let hash = hash::export_hash(&self.cluster, &self.export);
        binding["metadata"]["labels"][label::EXPORT] = hash.into();
    }

    /// Adds resources to `status.boundResources`; those that are there already are brought up to
    /// date, and others stay: what an export no longer has stays bound.
    pub fn bind_only(&self, binding: &mut Value, which: &[&Offered]) {
        let mut bound = binding["status"]["boundResources"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for offered in which {
            let ours = |b: &Value| {
                b["group"] == offered.group.as_str() && b["resource"] == offered.resource.as_str()
            };
            let at = bound.iter().position(ours);
            let mut versions = at
                .and_then(|at| bound[at]["storageVersions"].as_array().cloned())
                .unwrap_or_default();
            let stored = Value::from(offered.storage_version.as_str());
            if !versions.contains(&stored) {
                versions.push(stored);
            }
            let entry = json!({
                "group": offered.group, "resource": offered.resource,
                "schema": {
                    "UID": offered.uid, "identityHash": self.identity, "name": offered.schema,
                },
                "storageVersions": versions,
            });
            match at {
                Some(at) => bound[at] = entry,
                None => bound.push(entry),
            }
        }
        if !bound.is_empty() {
            binding["status"]["boundResources"] = bound.into();
        }
    }

    /// Works out which claims are in force, and says so in status and conditions.
    pub fn apply_claims(&self, binding: &mut Value, now: &str) {
        use hanse_rules::conditions::Severity;
        let bound = claims::of_binding(binding);
        let unexpected = claims::unexpected(&self.claims_read, &bound).len();
        let mismatched = claims::mismatched(&self.claims_read, &bound).len();
        let valid = if unexpected > 0 {
            State::no(
                Severity::Error,
                "InvalidPermissionClaims",
                format!("{unexpected} unexpected and/or invalid permission claims"),
            )
        } else if mismatched > 0 {
            State::no(
                Severity::Warning,
                "PermissionClaimsMismatch",
                format!("{mismatched} permission claims differ from those of the APIExport"),
            )
        } else {
            State::True
        };
        conditions::set(binding, condition::PERMISSION_CLAIMS_VALID, &valid, now);
        let in_force = claims::effective(&self.claims_read, &bound);
        let spec = binding["spec"]["permissionClaims"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let applied: Vec<Value> = spec
            .into_iter()
            .filter(|claim| {
                let read = claims::of_binding(&json!({"spec": {"permissionClaims": [claim]}}));
                read.first()
                    .is_some_and(|r| r.accepted && in_force.iter().any(|f| f.same_resource(r)))
            })
            .map(|mut claim| {
                if let Some(fields) = claim.as_object_mut() {
                    fields.remove("state");
                }
                claim
            })
            .collect();
        if applied.is_empty() {
            remove(binding, "appliedPermissionClaims");
        } else {
            binding["status"]["appliedPermissionClaims"] = applied.into();
        }
        conditions::set(
            binding,
            condition::PERMISSION_CLAIMS_APPLIED,
            &State::True,
            now,
        );
    }
}

fn remove(binding: &mut Value, field: &str) {
    if let Some(status) = binding["status"].as_object_mut() {
        status.remove(field);
    }
}
