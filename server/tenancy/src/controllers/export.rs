//! APIExports (identity), their endpoint slices, and the URLs of workspace types.

use super::{Controllers, Key, Step, StepError};
use crate::exports::identity_text;
use crate::objects;
use crate::workspace_types;
use hanse_apis::kcp::{IDENTITY_NAMESPACE, IDENTITY_SECRET_KEY, annotation, cluster, group};
use hanse_apis::kcp::{conditions as condition, label};
use hanse_cache::{ListQuery, Object, Scope, Write};
use hanse_rules::conditions::{self, Severity, State};
use hanse_rules::{hash, path};
use serde_json::{Value, json};
use std::sync::Arc;

impl Controllers {
    pub(super) fn export(&self, key: &Key) -> Result<Step, StepError> {
        let view = self.tenancy.view();
        let of = view.resources().clone();
        let Some(object) = view.get(&of.api_exports, &key.cluster, "", &key.name) else {
            return Ok(Step::done());
        };
        if object.is_deleting() {
            return Ok(Step::done());
        }
        let now = self.tenancy.maker().now();
        let mut value = object.value();
        let mut writes = Vec::new();
        let fresh = self.default_secret(&object, &mut value, &mut writes, &now)?;
        let reference = &value["spec"]["identity"]["secretRef"];
        let namespace = reference["namespace"]
            .as_str()
            .unwrap_or(IDENTITY_NAMESPACE)
            .to_owned();
        let name = reference["name"].as_str().unwrap_or_default().to_owned();
        let key_bytes = match fresh {
            Some(text) => Some(text.into_bytes()),
            None => view
                .get(&of.secrets, &key.cluster, &namespace, &name)
                .and_then(secret_key),
        };
        self.note_identity(&mut value, key_bytes, &namespace, &name, &now);
        let skip = value["metadata"]["annotations"]
            .get(annotation::SKIP_ENDPOINT_SLICE)
            .is_some();
        if !skip
            && view
                .get(&of.endpoint_slices, &key.cluster, "", &key.name)
                .is_none()
        {
            let path = view.canonical_path(&key.cluster);
            let draft = objects::endpoint_slice(&of, &object, &path);
            writes.push(
                self.tenancy
                    .maker()
                    .create(&object.key().cluster, draft, &now)?,
            );
        }
        writes.extend(self.change(&object, &value)?);
        Ok(Step::write(writes))
    }

    /// Names the default secret and makes it with its namespace. The text of a fresh identity.
    fn default_secret(
        &self,
        object: &Object,
        value: &mut Value,
        writes: &mut Vec<Write>,
        now: &str,
    ) -> Result<Option<String>, StepError> {
        if value["spec"]["identity"].get("secretRef").is_some() {
            return Ok(None);
        }
        let view = self.tenancy.view();
        let of = view.resources();
        let cluster = &object.key().cluster;
        let name = &*object.key().name;
        value["spec"]["identity"] =
            json!({"secretRef": {"name": name, "namespace": IDENTITY_NAMESPACE}});
        let generation = value["metadata"]["generation"].as_u64().unwrap_or_default();
        value["metadata"]["generation"] = (generation + 1).into();
        if view
            .get(&of.secrets, cluster, IDENTITY_NAMESPACE, name)
            .is_some()
        {
            return Ok(None);
        }
        let ca = &self.tenancy.shard().ca_pem;
        for draft in objects::namespace_set(of, IDENTITY_NAMESPACE, false, ca) {
            let found = view.get(&draft.resource, cluster, &draft.namespace, draft.name());
            if found.is_none() {
                writes.push(self.tenancy.maker().create(cluster, draft, now)?);
            }
        }
        let mut bytes = [0; 32];
        self.tenancy.maker().seams().rng.fill(&mut bytes);
        let text = identity_text(&bytes);
        let draft = objects::identity_secret(of, name, &text);
        writes.push(self.tenancy.maker().create(cluster, draft, now)?);
        Ok(Some(text))
    }

    /// The hash never changes once it is set; a secret that no longer fits is told.
    fn note_identity(
        &self,
        value: &mut Value,
        key: Option<Vec<u8>>,
        namespace: &str,
        name: &str,
        now: &str,
    ) {
        let stored = value["status"]["identityHash"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let bad = |why: String| State::no(Severity::Error, "IdentityVerificationFailed", why);
        let state = match key {
            None => bad(format!(
                "secret {namespace}/{name} with key {IDENTITY_SECRET_KEY:?} not found"
            )),
            Some(key) => {
                let found = hash::identity_hash(&key);
                if stored.is_empty() {
                    value["status"]["identityHash"] = found.into();
                    State::True
                } else if stored == found {
                    State::True
                } else {
                    bad(format!(
                        "hash mismatch: identity secret hash {found:?} must match \
                         status.identityHash {stored:?}"
                    ))
                }
            }
        };
        conditions::set(value, condition::IDENTITY_VALID, &state, now);
    }

    pub(super) fn slice(&self, key: &Key) -> Result<Step, StepError> {
        let view = self.tenancy.view();
        let of = &view.resources().endpoint_slices;
        let Some(object) = view.get(of, &key.cluster, "", &key.name) else {
            return Ok(Step::done());
        };
        if object.is_deleting() {
            return Ok(Step::done());
        }
        let now = self.tenancy.maker().now();
        let mut value = object.value();
        let reference = &value["spec"]["export"];
        let at = reference["path"].as_str().unwrap_or_default().to_owned();
        let name = reference["name"].as_str().unwrap_or_default().to_owned();
        let export = view.export(&at, &name, &key.cluster);
        let export_state = match &export {
            Some(_) => State::True,
            None => {
                let full = path::join(&at, &name);
                let why = format!("Error getting APIExport {full}");
                State::no(Severity::Error, "APIExportNotFound", why)
            }
        };
        conditions::set(&mut value, condition::API_EXPORT_VALID, &export_state, &now);
        let (partition, selector) = self.partition_of(&value, &key.cluster);
        let usable = export_state == State::True && partition == State::True;
        conditions::set(&mut value, condition::PARTITION_VALID, &partition, &now);
        let text = selector.as_ref().map(hanse_rules::selector::to_text);
        match text {
            Some(text) => value["status"]["shardSelector"] = text.into(),
            None => drop_status(&mut value, "shardSelector"),
        }
        if let (Some(export), true) = (export, usable) {
            self.note_endpoint(&mut value, &export, selector.as_ref());
        }
        Ok(Step::write(
            self.change(&object, &value)?.into_iter().collect(),
        ))
    }

    /// Which shards a slice is for: without a partition all of them.
    fn partition_of(&self, value: &Value, cluster: &str) -> (State, Option<Value>) {
        let Some(name) = value["spec"]["partition"]
            .as_str()
            .filter(|n| !n.is_empty())
        else {
            return (State::True, None);
        };
        let view = self.tenancy.view();
        let of = &view.resources().api_exports;
        let export = view.get(of, cluster::ROOT, "", group::TOPOLOGY);
        let identity =
            export.and_then(|e| e.text(&["status", "identityHash"]).map(|t| t.into_owned()));
        let resource = hanse_cache::ResourceId::new(
            group::TOPOLOGY,
            "partitions",
            identity.as_deref().unwrap_or_default(),
        );
        match view.get(&resource, cluster, "", name) {
            Some(partition) => {
                let selector = partition.value()["spec"].get("selector").cloned();
                (State::True, Some(selector.unwrap_or_else(|| json!({}))))
            }
            None => {
                let why = format!("partition {name:?} not found");
                let state = State::no(Severity::Error, "PartitionInvalidReference", why);
                (state, None)
            }
        }
    }

    /// This shard's URL is listed while it has a binding to the export, and is in the partition or
    /// was when it was listed. There is one shard: any other URL is what it was reached by before.
    fn note_endpoint(&self, value: &mut Value, export: &Object, selector: Option<&Value>) {
        let key = export.key();
        let url = self.tenancy.shard().export_url(&key.cluster, &key.name);
        let before = value["status"]["endpoints"].as_array().cloned();
        let before = before.unwrap_or_default();
        let own = |e: &&Value| e["url"] == url.as_str();
        let bound = self.has_binding(&hash::export_hash(&key.cluster, &key.name));
        if !(bound && (self.is_selected(selector) || !before.is_empty())) {
            drop_status(value, "endpoints");
            return;
        }
        let kept = before.iter().find(own).cloned();
        value["status"]["endpoints"] = json!([kept.unwrap_or_else(|| json!({"url": url}))]);
    }

    fn is_selected(&self, selector: Option<&Value>) -> bool {
        let Some(shard) = self.tenancy.shard_object() else {
            return false;
        };
        hanse_rules::selector::matches(selector, &|key| shard.label(key))
    }

    /// True if some logical cluster of this shard binds the export.
    fn has_binding(&self, export_hash: &str) -> bool {
        let view = self.tenancy.view();
        let wanted = export_hash.to_owned();
        let filter = move |o: &Object| o.label(label::EXPORT) == Some(&wanted);
        let query = ListQuery {
            limit: Some(1),
            filter: Some(Arc::new(filter)),
            ..ListQuery::default()
        };
        let page = view
            .hub()
            .list(&view.resources().api_bindings, &Scope::Wildcard, &query);
        page.is_ok_and(|page| !page.objects.is_empty())
    }

    pub(super) fn workspace_type(&self, key: &Key) -> Result<Step, StepError> {
        let view = self.tenancy.view();
        let Some(tenancy) = view.tenancy() else {
            return Ok(Step::done());
        };
        let Some(object) = view.get(&tenancy.workspace_types, &key.cluster, "", &key.name) else {
            return Ok(Step::done());
        };
        let mut value = object.value();
        let now = self.tenancy.maker().now();
        let shard = self.tenancy.shard();
        workspace_types::set_urls(&mut value, shard, &key.cluster, &key.name, &now);
        Ok(Step::write(
            self.change(&object, &value)?.into_iter().collect(),
        ))
    }
}

fn drop_status(value: &mut Value, field: &str) {
    if let Some(status) = value["status"].as_object_mut() {
        status.remove(field);
    }
}

fn secret_key(secret: Object) -> Option<Vec<u8>> {
    let text = secret.text(&["data", IDENTITY_SECRET_KEY])?;
    hanse_wire::base64::decode(&text)
        .ok()
        .filter(|key| !key.is_empty())
}
