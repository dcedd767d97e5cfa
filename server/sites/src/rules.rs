//! Which ProjectionRule holds for a kind, and whether a rule can be used.
//!
//! Start at [`Picture::rule`]. Those who answer for more go first: the rule beside the APIExport of
//! the kind, then those of the workspaces above the object from the top down, then the one beside
//! it. Invariant: whoever changes a rule changes what every object of the kind below it gets, so a
//! rule's change wakes them all; a rule in a tenant's own workspace decides nothing about what is
//! not the tenant's ([`is_of_site`]).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use hanse_apis::sites::{
    self, Condition, ObjectSelector, PlacementSpec, ProjectionRuleSpec, ProjectionRuleStatus,
    set_condition,
};
use hanse_cache::{ClusterName, DocumentError, Object, ObjectKey, Scope};
use hanse_projection::Rule;
use hanse_rules::path;
use hanse_tenancy::catalog::bound_resources;

use crate::limits::{ANCESTORS_MAX, RULES_KEPT};
use crate::picture::Picture;
use crate::run::{Key, Sites};
use crate::turn::Turn;

/// Rules that were made ready, by workspace and name, with the version that they were made of.
pub type Ready = BTreeMap<(ClusterName, Arc<str>), (u64, Arc<Rule>)>;

impl Picture<'_> {
    /// The rule of an object's kind; one that says nothing when there is none.
    pub(crate) fn rule(&self, key: &ObjectKey) -> Arc<Rule> {
        if !self.has_rules() {
            return Arc::default();
        }
        let found = self
            .sites
            .places_of_rules(key)
            .into_iter()
            .find_map(|place| self.rule_in(&place, key));
        found.unwrap_or_default()
    }

    fn has_rules(&self) -> bool {
        let hub = self.sites.tenancy.view().hub();
        !self.is_live() || hub.count(&self.sites.ids.rules, &Scope::Wildcard) > 0
    }

    fn rule_in(&self, cluster: &ClusterName, key: &ObjectKey) -> Option<Arc<Rule>> {
        let rules = self.list(&self.sites.ids.rules, cluster);
        let all = rules.iter().map(|rule| self.sites.ready(rule));
        let mut fits = all.filter(|rule| {
            let (group, resource) = (key.resource.group(), key.resource.resource());
            rule.spec.group == group && rule.spec.resource == resource
        });
        fits.next()
    }

    /// A Placement's spec with its kinds as they are called below: what a site must serve.
    pub(crate) fn as_below<'s>(
        &self,
        cluster: &ClusterName,
        spec: &'s PlacementSpec,
    ) -> Cow<'s, PlacementSpec> {
        let mut out = Cow::Borrowed(spec);
        if !self.has_rules() {
            return out;
        }
        for (i, object) in spec.objects.iter().enumerate() {
            let of = self
                .sites
                .resource_in(cluster, &object.group, &object.resource);
            let Some(of) = of else {
                continue;
            };
            let rule = self.rule(&ObjectKey::new(&of, cluster, "", ""));
            let to = &rule.spec.target;
            if !to.resource.is_empty() {
                let object = &mut out.to_mut().objects[i];
                object.group.clone_from(&to.group);
                object.resource.clone_from(&to.resource);
            }
        }
        out
    }
}

impl Sites {
    /// The rule of an object's kind, as the hub is now.
    pub(crate) fn rule(&self, key: &ObjectKey) -> Arc<Rule> {
        Picture::live(self).rule(key)
    }

    /// The workspaces whose rules hold for an object, first those that answer for more.
    fn places_of_rules(&self, key: &ObjectKey) -> Vec<ClusterName> {
        let view = self.tenancy.view();
        let mut above = vec![key.cluster.clone()];
        let mut at = view.canonical_path(&key.cluster);
        for _ in 0..ANCESTORS_MAX {
            let Some(parent) = path::parent(&at).map(str::to_owned) else {
                break;
            };
            above.extend(view.existing_cluster(&parent));
            at = parent;
        }
        above.reverse();
        let mut out: Vec<ClusterName> = self.home_of_kind(key).into_iter().collect();
        out.extend(above);
        out
    }

    /// The workspace of the APIExport from which an object's kind is bound.
    fn home_of_kind(&self, key: &ObjectKey) -> Option<ClusterName> {
        let of = &key.resource;
        if of.identity().is_empty() {
            return None;
        }
        let view = self.tenancy.view();
        let bindings = view.list_cluster(&view.resources().api_bindings, &key.cluster);
        let binding = bindings.iter().find(|binding| {
            let bound = bound_resources(binding);
            bound
                .iter()
                .any(|b| b.group == of.group() && b.resource == of.resource())
        })?;
        let text = |field: &str| binding.text(&["spec", "reference", "export", field]);
        let export = view.export(
            &text("path").unwrap_or_default(),
            &text("name").unwrap_or_default(),
            &key.cluster,
        )?;
        Some(export.key().cluster.clone())
    }

    fn ready(&self, rule: &Object) -> Arc<Rule> {
        let key = rule.key();
        let place = (key.cluster.clone(), Arc::clone(&key.name));
        let mut ready = self.ready.lock();
        // What is only supposed has no version, and is not kept.
        let supposed = rule.resource_version() == 0;
        if let Some((version, known)) = ready.get(&place)
            && *version == rule.resource_version()
        {
            return Arc::clone(known);
        }
        let spec: ProjectionRuleSpec = rule
            .raw(&["spec"])
            .and_then(|raw| serde_json::from_slice(raw).ok())
            .unwrap_or_default();
        let at = (key.cluster.to_string(), key.name.to_string());
        let made = Arc::new(Rule::compile(spec, at));
        if ready.len() >= RULES_KEPT {
            ready.clear();
        }
        if !supposed {
            ready.insert(place, (rule.resource_version(), Arc::clone(&made)));
        }
        made
    }

    /// Wakes whatever a rule may concern.
    pub(crate) fn rule_changed(&self, rule: &Object) {
        let view = self.tenancy.view();
        let spec: ProjectionRuleSpec = rule
            .raw(&["spec"])
            .and_then(|raw| serde_json::from_slice(raw).ok())
            .unwrap_or_default();
        for placement in view.list(&self.ids.placements, &Scope::Wildcard) {
            let key = placement.key();
            let raw = placement.raw(&["spec", "objects"]).unwrap_or(b"[]");
            let objects: Vec<ObjectSelector> = serde_json::from_slice(raw).unwrap_or_default();
            let names = |o: &ObjectSelector| o.group == spec.group && o.resource == spec.resource;
            let follows = placement.text(&["spec", "dependencies"]).is_some();
            if follows || objects.iter().any(names) {
                let (cluster, name) = (key.cluster.clone(), Arc::clone(&key.name));
                self.add(Key::Placement(cluster.clone(), Arc::clone(&name)));
                self.add(Key::Spread(cluster, name));
            }
        }
    }
}

/// Whether a rule stands with a site: in the Site's workspace or above it. Only such a rule may
/// say what of the site itself is used.
#[must_use]
pub fn is_of_site(sites: &Sites, rule: &Rule, home: &str) -> bool {
    let view = sites.tenancy.view();
    let (rule, home) = (
        view.canonical_path(&rule.place.0),
        view.canonical_path(home),
    );
    home == rule
        || home
            .strip_prefix(&rule)
            .is_some_and(|rest| rest.starts_with(':'))
}

/// Looks at one rule: says whether it can be used.
///
/// # Errors
/// A tree that is no object.
pub fn reconcile(sites: &Sites, cluster: &str, name: &str) -> Result<Turn, DocumentError> {
    let mut turn = Turn::default();
    let view = sites.tenancy.view();
    let Some(rule) = view.get(&sites.ids.rules, cluster, "", name) else {
        return Ok(turn);
    };
    let ready = sites.ready(&rule);
    let mut value = rule.value();
    let mut status: ProjectionRuleStatus = sites::read(&value, "status").unwrap_or_default();
    status.observed_generation = value["metadata"]["generation"].as_i64().unwrap_or(0);
    let valid = ready.errors.is_empty();
    set_condition(
        &mut status.conditions,
        Condition {
            r#type: "Valid".into(),
            status: if valid { "True" } else { "False" }.into(),
            reason: if valid { "Valid" } else { "Mistakes" }.into(),
            message: ready.errors.join("; "),
            last_transition_time: sites.now(),
            observed_generation: status.observed_generation,
        },
    );
    sites::write(&mut value, "status", &status);
    turn.update(sites.tenancy.maker(), &rule, &value)?;
    Ok(turn)
}
