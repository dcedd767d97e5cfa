//! Workspaces: scheduled, following their logical cluster, and gone after it.

use super::{
    Controllers, Key, Step, StepError, drop_finalizer, mark_deleted, other_finalizers, strings,
};
use crate::objects;
use hanse_apis::kcp::{annotation, conditions as condition, finalizer, phase};
use hanse_cache::{ClusterName, Object};
use hanse_rules::conditions::{self, Severity, State};
use serde_json::Value;

/// Phases of workspaces whose logical cluster has been there.
const BORN: [&str; 3] = [phase::INITIALIZING, phase::READY, phase::UNAVAILABLE];

/// Whether a logical cluster is that of a workspace. One that only names it takes nothing along.
fn owns(workspace: &Object, logical: &Object) -> bool {
    let owner = |field: &str| logical.text(&["spec", "owner", field]);
    owner("uid").as_deref() == Some(workspace.uid())
        && owner("cluster").as_deref() == Some(&*workspace.key().cluster)
}

impl Controllers {
    pub(super) fn workspace(&self, key: &Key) -> Result<Step, StepError> {
        let view = self.tenancy.view();
        let Some(tenancy) = view.tenancy() else {
            return Ok(Step::done());
        };
        let Some(object) = view.get(&tenancy.workspaces, &key.cluster, "", &key.name) else {
            return Ok(Step::done());
        };
        let value = object.value();
        if value["spec"].get("mount").is_some() {
            return Ok(Step::done());
        }
        let chosen = value["metadata"]["annotations"][annotation::WORKSPACE_CLUSTER].as_str();
        let chosen = chosen
            .or(value["spec"]["cluster"].as_str())
            .unwrap_or_default()
            .to_owned();
        if object.is_deleting() {
            return self.workspace_end(&object, value, &chosen);
        }
        if chosen.is_empty() {
            return self.schedule(&object, value);
        }
        match view.logical_cluster(&chosen) {
            Some(logical) => self.follow(&object, value, &logical),
            None if BORN.iter().any(|phase| value["status"]["phase"] == *phase) => {
                self.disappeared(&object, value)
            }
            // The id was chosen and nothing more: the rest of the birth is made up for.
            None => self.schedule(&object, value),
        }
    }

    /// Makes up for a birth that could not be whole.
    fn schedule(&self, object: &Object, mut value: Value) -> Result<Step, StepError> {
        let parent: ClusterName = object.key().cluster.clone();
        let mut writes = self.tenancy.schedule_workspace(&parent, &mut value);
        if let Some(write) = self.change(object, &value)? {
            writes.push(write);
        }
        Ok(Step::write(writes))
    }

    /// What was there is gone, and does not come back by being made again, empty.
    fn disappeared(&self, object: &Object, mut value: Value) -> Result<Step, StepError> {
        let now = self.tenancy.maker().now();
        let cluster = value["spec"]["cluster"].as_str().unwrap_or_default();
        let why = format!("logicalcluster {cluster} disappeared");
        let state = State::no(Severity::Error, "WorkspaceDisappeared", why);
        conditions::set(&mut value, condition::WORKSPACE_INITIALIZED, &state, &now);
        objects::set_phase(&mut value, phase::UNAVAILABLE);
        Ok(Step::write(
            self.change(object, &value)?.into_iter().collect(),
        ))
    }

    /// Mirrors the logical cluster.
    fn follow(
        &self,
        object: &Object,
        mut value: Value,
        logical: &Object,
    ) -> Result<Step, StepError> {
        let now = self.tenancy.maker().now();
        let cluster = &logical.key().cluster;
        let at = logical.annotation(annotation::PATH).unwrap_or_default();
        if value["spec"].get("cluster").is_none() && owns(object, logical) {
            // A birth that was cut short after the LogicalCluster.
            value["metadata"]["generation"] = 2.into();
            self.tenancy.lead_to(&mut value, cluster, &at);
        }
        let logical = &logical.value();
        let initializers = strings(&logical["status"]["initializers"]);
        for (field, list) in [
            ("initializers", &initializers),
            ("terminators", &strings(&logical["status"]["terminators"])),
        ] {
            if let Some(status) = value["status"].as_object_mut() {
                match list.is_empty() {
                    true => status.remove(field),
                    false => status.insert(field.to_owned(), list.clone().into()),
                };
            }
        }
        if !at.is_empty() {
            value["spec"]["URL"] = self.tenancy.shard().path_url(&at).into();
        }
        let at = logical["status"]["phase"].as_str().unwrap_or_default();
        let done = matches!(at, phase::READY | phase::INACTIVE);
        if done || at == phase::INITIALIZING {
            self.tenancy
                .mark_initialized(&mut value, &initializers, &now);
        }
        conditions::set(
            &mut value,
            condition::WORKSPACE_SCHEDULED,
            &State::True,
            &now,
        );
        if done {
            let owner = value["metadata"]["annotations"][annotation::OWNER].as_str();
            if let Some(reduced) = owner.and_then(objects::reduced_owner) {
                value["metadata"]["annotations"][annotation::OWNER] = reduced.into();
            }
            let broken = conditions::false_types(&value);
            let broken = broken.iter().any(|kind| kind.starts_with("Workspace"));
            let next = if broken {
                phase::UNAVAILABLE
            } else {
                phase::READY
            };
            objects::set_phase(&mut value, next);
        } else if value["status"]["phase"] != phase::READY {
            objects::set_phase(&mut value, phase::INITIALIZING);
        }
        Ok(Step::write(
            self.change(object, &value)?.into_iter().collect(),
        ))
    }

    /// Deletes the logical cluster once nobody else holds the workspace, mirrors its end, and
    /// goes after it.
    fn workspace_end(
        &self,
        object: &Object,
        mut value: Value,
        chosen: &str,
    ) -> Result<Step, StepError> {
        let ours = finalizer::LOGICAL_CLUSTER;
        let logical = self
            .tenancy
            .view()
            .logical_cluster(chosen)
            .filter(|logical| !chosen.is_empty() && owns(object, logical));
        let Some(logical) = logical else {
            drop_finalizer(&mut value, ours);
            return Ok(Step::write(
                self.change(object, &value)?.into_iter().collect(),
            ));
        };
        if other_finalizers(&value, ours) > 0 {
            return Ok(Step::done());
        }
        let mut ending = logical.value();
        let mut writes = Vec::new();
        if !logical.is_deleting() {
            mark_deleted(&mut ending, &self.tenancy.maker().now());
            writes.extend(self.change(&logical, &ending)?);
        }
        let terminating = !strings(&ending["status"]["terminators"]).is_empty();
        let next = if terminating {
            phase::TERMINATING
        } else {
            phase::DELETING
        };
        objects::set_phase(&mut value, next);
        conditions::mirror(&mut value, &ending, condition::WORKSPACE_CONTENT_DELETED);
        writes.extend(self.change(object, &value)?);
        Ok(Step::write(writes))
    }
}
