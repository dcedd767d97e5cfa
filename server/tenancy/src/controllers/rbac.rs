//! RBAC objects: replication words, and aggregated ClusterRoles.

use super::{Controllers, Key, Step, StepError};
use hanse_apis::kcp::{annotation, cluster};
use hanse_auth::rbac;
use hanse_cache::Object;
use hanse_rules::{path, replicate};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

impl Controllers {
    pub(super) fn role(&self, key: &Key) -> Result<Step, StepError> {
        let view = self.tenancy.view();
        let of = view.resources();
        let Some(object) = view.get(&of.cluster_roles, &key.cluster, "", &key.name) else {
            return Ok(Step::done());
        };
        if path::is_system(&key.cluster) {
            return Ok(Step::done());
        }
        let value = object.value();
        let mut words = replicate::role_words(&value, false);
        let policy = view
            .list_cluster(&of.cluster_role_bindings, &key.cluster)
            .iter()
            .any(|b| {
                b.text(&["roleRef", "name"]).as_deref() == Some(&*key.name)
                    && replicate::has_policy_subject(&b.value())
            });
        if policy {
            words.insert(hanse_apis::kcp::group::APIS);
        }
        self.note_words(&object, value, &words)
    }

    /// Queues the bindings of a role.
    pub(super) fn bindings_of_role(&self, key: &Key) -> Step {
        let view = self.tenancy.view();
        let of = &view.resources().cluster_role_bindings;
        for binding in view.list_cluster(of, &key.cluster) {
            if binding.text(&["roleRef", "name"]).as_deref() == Some(&*key.name) {
                self.add(super::Kind::RoleBinding, &key.cluster, &binding.key().name);
            }
        }
        Step::done()
    }

    pub(super) fn role_binding(&self, key: &Key) -> Result<Step, StepError> {
        let view = self.tenancy.view();
        let of = view.resources();
        let Some(object) = view.get(&of.cluster_role_bindings, &key.cluster, "", &key.name) else {
            return Ok(Step::done());
        };
        if path::is_system(&key.cluster) {
            return Ok(Step::done());
        }
        let value = object.value();
        let name = value["roleRef"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let role = view
            .get(&of.cluster_roles, &key.cluster, "", &name)
            .or_else(|| view.get(&of.cluster_roles, cluster::SYSTEM_ADMIN, "", &name));
        let logical = view.logical_cluster(&key.cluster);
        let replicated = logical.is_some_and(|l| l.annotation(annotation::REPLICATE).is_some());
        let words = role
            .map(|r| replicate::role_words(&r.value(), replicated))
            .unwrap_or_default();
        let words = replicate::binding_words(&value, &words);
        if replicate::has_policy_subject(&value) {
            self.add(super::Kind::Role, &key.cluster, &name);
        }
        self.note_words(&object, value, &words)
    }

    fn note_words(
        &self,
        object: &Object,
        mut value: Value,
        words: &BTreeSet<&str>,
    ) -> Result<Step, StepError> {
        let text = replicate::text(words);
        let has = value["metadata"]["annotations"]
            .get(annotation::REPLICATE)
            .is_some();
        if text.is_empty() && !has {
            return Ok(Step::done());
        }
        let meta = &mut value["metadata"];
        if meta["annotations"].is_null() {
            meta["annotations"] = Map::new().into();
        }
        if let Some(notes) = meta["annotations"].as_object_mut() {
            if text.is_empty() {
                notes.remove(annotation::REPLICATE);
            } else {
                notes.insert(annotation::REPLICATE.into(), text.into());
            }
        }
        Ok(Step::write(
            self.change(object, &value)?.into_iter().collect(),
        ))
    }

    /// Rules of all aggregated ClusterRoles of a logical cluster.
    pub(super) fn aggregation(&self, key: &Key) -> Result<Step, StepError> {
        let view = self.tenancy.view();
        let roles = view.list_cluster(&view.resources().cluster_roles, &key.cluster);
        if !roles.iter().any(|r| r.raw(&["aggregationRule"]).is_some()) {
            return Ok(Step::done());
        }
        let values: Vec<Value> = roles.iter().map(Object::value).collect();
        let mut writes = Vec::new();
        for (object, value) in roles.iter().zip(&values) {
            let Some(rules) = rbac::aggregate(value, values.iter()) else {
                continue;
            };
            let mut value = value.clone();
            value["rules"] = rules.into();
            writes.extend(self.change(object, &value)?);
        }
        Ok(Step::write(writes))
    }
}
