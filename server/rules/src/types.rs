//! Workspace types: what a type says, which types it extends, who may live under whom.
//!
//! Start with [`resolve`] and [`check_nesting`]. Finding a type by path needs the present state;
//! the caller passes that in as a function. Error texts are what a client sees after
//! `workspaces.tenancy.kcp.io "x" is forbidden: `.

use crate::path;
use hanse_apis::kcp::{INITIALIZER_API_BINDINGS, annotation, cluster};
use serde_json::Value;
use std::collections::BTreeSet;

/// Most types that one type may extend, directly or not.
pub const RESOLVED_TYPES_MAX: usize = 256;

/// A reference to a type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeRef {
    /// Path of the logical cluster; may be empty before defaulting.
    pub path: String,
    /// Name of the WorkspaceType.
    pub name: String,
}

impl TypeRef {
    /// Reads `{name, path}`.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<TypeRef> {
        let name = value.get("name")?.as_str()?.to_owned();
        let path = value
            .get("path")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        Some(TypeRef { path, name })
    }

    /// Splits the type annotation of a LogicalCluster (`root:universal`).
    #[must_use]
    pub fn from_annotation(text: &str) -> Option<TypeRef> {
        let (path, name) = path::split(text);
        if path.is_empty() {
            None
        } else {
            Some(TypeRef {
                path: path.into(),
                name: name.into(),
            })
        }
    }

    /// `<path>:<name>`.
    #[must_use]
    pub fn qualified(&self) -> String {
        path::join(&self.path, &self.name)
    }
}

/// Which children or parents a type allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Limit {
    /// Anything.
    #[default]
    Any,
    /// Nothing.
    None,
    /// One of these.
    Types(Vec<TypeRef>),
}

impl Limit {
    fn from_value(value: Option<&Value>) -> Limit {
        let Some(value) = value else {
            return Limit::Any;
        };
        if value.get("none").and_then(Value::as_bool) == Some(true) {
            return Limit::None;
        }
        let types = value.get("types").and_then(Value::as_array);
        types.map_or(Limit::Any, |t| {
            Limit::Types(t.iter().filter_map(TypeRef::from_value).collect())
        })
    }
}

/// An export that every workspace of a type binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultBinding {
    /// Path of the export; for an empty one the type's own logical cluster.
    pub path: String,
    /// Name of the export.
    pub export: String,
}

/// What a WorkspaceType object says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkspaceType {
    /// Id of the logical cluster that holds it.
    pub cluster: String,
    /// Canonical path of that logical cluster.
    pub path: String,
    /// Name of the object.
    pub name: String,
    /// Contributes an initializer.
    pub initializer: bool,
    /// Contributes a terminator.
    pub terminator: bool,
    /// Types that it extends.
    pub extends: Vec<TypeRef>,
    /// Type of children that name none.
    pub default_child: Option<TypeRef>,
    /// Types of children that it allows.
    pub allowed_children: Limit,
    /// Types of parents that it allows.
    pub allowed_parents: Limit,
    /// Exports that it binds.
    pub default_bindings: Vec<DefaultBinding>,
    /// True if the default bindings are kept as declared for ever.
    pub maintain: bool,
    /// Labels for new workspaces.
    pub additional_labels: Vec<(String, String)>,
}

impl WorkspaceType {
    /// Reads a WorkspaceType object that lives in the logical cluster `cluster`.
    #[must_use]
    pub fn from_value(object: &Value, cluster: &str) -> WorkspaceType {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let meta = object.get("metadata").unwrap_or(&Value::Null);
        let annotated = meta
            .get("annotations")
            .and_then(|a| a.get(annotation::PATH));
        let list = |v: Option<&Value>| v.and_then(Value::as_array).cloned().unwrap_or_default();
        let flag = |key: &str| spec.get(key).and_then(Value::as_bool).unwrap_or_default();
        let text =
            |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        let labels = spec
            .get("additionalWorkspaceLabels")
            .and_then(Value::as_object);
        WorkspaceType {
            cluster: cluster.to_owned(),
            path: annotated
                .and_then(Value::as_str)
                .unwrap_or(cluster)
                .to_owned(),
            name: text(meta, "name"),
            initializer: flag("initializer"),
            terminator: flag("terminator"),
            extends: list(spec.get("extend").and_then(|e| e.get("with")))
                .iter()
                .filter_map(TypeRef::from_value)
                .collect(),
            default_child: spec
                .get("defaultChildWorkspaceType")
                .and_then(TypeRef::from_value),
            allowed_children: Limit::from_value(spec.get("limitAllowedChildren")),
            allowed_parents: Limit::from_value(spec.get("limitAllowedParents")),
            default_bindings: list(spec.get("defaultAPIBindings"))
                .iter()
                .map(|b| DefaultBinding {
                    path: text(b, "path"),
                    export: text(b, "export"),
                })
                .collect(),
            maintain: text(spec, "defaultAPIBindingLifecycle") == "Maintain",
            additional_labels: labels
                .into_iter()
                .flatten()
                .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
                .collect(),
        }
    }

    /// `<path>:<name>` as error texts and annotations have it.
    #[must_use]
    pub fn qualified(&self) -> String {
        path::join(&self.path, &self.name)
    }

    /// `<cluster id>:<name>`, the identifier of its initializer and terminator.
    #[must_use]
    pub fn identifier(&self) -> String {
        path::join(&self.cluster, &self.name)
    }
}

/// All types that `of` extends, in the order in which they are met, each once, then `of` itself.
///
/// # Errors
/// The text for the client: a cycle, or a type that does not exist.
pub fn resolve(
    of: WorkspaceType,
    lookup: &mut dyn FnMut(&TypeRef) -> Option<WorkspaceType>,
) -> Result<Vec<WorkspaceType>, String> {
    let mut walk = Walk {
        lookup,
        seen: BTreeSet::new(),
        trail: Vec::new(),
        found: Vec::new(),
    };
    walk.visit(&of)?;
    let mut found = walk.found;
    found.push(of);
    Ok(found)
}

struct Walk<'a> {
    lookup: &'a mut dyn FnMut(&TypeRef) -> Option<WorkspaceType>,
    seen: BTreeSet<String>,
    trail: Vec<String>,
    found: Vec<WorkspaceType>,
}

impl Walk<'_> {
    fn visit(&mut self, of: &WorkspaceType) -> Result<(), String> {
        self.seen.insert(of.qualified());
        self.trail.push(of.qualified());
        for base in &of.extends {
            let name = base.qualified();
            if let Some(at) = self.trail.iter().position(|t| *t == name) {
                let circle = self.trail[at..].join(" -> ");
                return Err(format!(
                    "circular dependency detected in workspace type {name}: {circle}"
                ));
            }
            if self.seen.contains(&name) {
                continue;
            }
            let missing = || format!("unable to find inherited workspace type {name}");
            if self.seen.len() >= RESOLVED_TYPES_MAX {
                return Err(missing());
            }
            let base = (self.lookup)(base).ok_or_else(missing)?;
            self.found.push(base.clone());
            self.visit(&base)?;
        }
        self.trail.pop();
        Ok(())
    }
}

/// Initializers of a new logical cluster.
#[must_use]
pub fn initializers(resolved: &[WorkspaceType]) -> Vec<String> {
    let own = resolved
        .iter()
        .filter(|t| t.initializer)
        .map(WorkspaceType::identifier);
    let bindings = resolved.iter().any(|t| !t.default_bindings.is_empty());
    own.chain(bindings.then(|| INITIALIZER_API_BINDINGS.to_owned()))
        .collect()
}

/// Terminators of a new logical cluster.
#[must_use]
pub fn terminators(resolved: &[WorkspaceType]) -> Vec<String> {
    resolved
        .iter()
        .filter(|t| t.terminator)
        .map(WorkspaceType::identifier)
        .collect()
}

/// Default bindings of a new logical cluster, with full paths, each export once.
#[must_use]
pub fn default_bindings(resolved: &[WorkspaceType]) -> Vec<DefaultBinding> {
    let mut found: Vec<DefaultBinding> = Vec::new();
    for of in resolved {
        for binding in &of.default_bindings {
            let path = if binding.path.is_empty() {
                &of.path
            } else {
                &binding.path
            };
            let binding = DefaultBinding {
                path: path.clone(),
                export: binding.export.clone(),
            };
            if !found.contains(&binding) {
                found.push(binding);
            }
        }
    }
    found
}

/// Where a type without a path is looked for: at the parent, its ancestors, then `root`.
pub fn search_path(parent: &str) -> impl Iterator<Item = &str> {
    let upwards = std::iter::successors(Some(parent), |at| path::parent(at));
    let ends_in_root = path::segments(parent).next() == Some(cluster::ROOT);
    upwards.chain((!ends_in_root).then_some(cluster::ROOT))
}

/// May a workspace of type `child` live under one of type `parent`? Both resolved, themselves
/// last.
///
/// # Errors
/// The text for the client; several findings of one side are aggregated as Kubernetes does.
pub fn check_nesting(parent: &[WorkspaceType], child: &[WorkspaceType]) -> Result<(), String> {
    let (Some(parent_type), Some(child_type)) = (parent.last(), child.last()) else {
        return Ok(());
    };
    let parent_name = parent_type.qualified();
    let child_name = child_type.qualified();
    let mut errors = Vec::new();
    for of in child {
        match &of.allowed_parents {
            Limit::None => {
                errors.push(format!(
                    "workspace type {child_name} cannot have any parent"
                ));
            }
            Limit::Types(allowed) if !any_listed(parent, allowed) => errors.push(format!(
                "workspace type {child_name}{} only allows {} parent workspaces, but parent type \
                 {parent_name} only implements {}",
                extending(of, &child_name),
                go_list(allowed.iter().map(TypeRef::qualified)),
                go_list(parent.iter().map(WorkspaceType::qualified)),
            )),
            _ => {}
        }
    }
    aggregate(errors)?;
    let mut errors = Vec::new();
    for of in parent {
        match &of.allowed_children {
            Limit::None => {
                errors.push(format!(
                    "workspace type {parent_name} cannot have any children"
                ));
            }
            Limit::Types(allowed) if !any_listed(child, allowed) => errors.push(format!(
                "workspace type {parent_name}{} only allows {} child workspaces, but child type \
                 {child_name} only implements {}",
                extending(of, &parent_name),
                go_list(allowed.iter().map(TypeRef::qualified)),
                go_list(child.iter().map(WorkspaceType::qualified)),
            )),
            _ => {}
        }
    }
    aggregate(errors)
}

fn extending(of: &WorkspaceType, named: &str) -> String {
    let own = of.qualified();
    if own == named {
        String::new()
    } else {
        format!(" extends {own}, which")
    }
}

fn any_listed(types: &[WorkspaceType], allowed: &[TypeRef]) -> bool {
    types
        .iter()
        .any(|t| allowed.iter().any(|a| a.path == t.path && a.name == t.name))
}

/// A sorted set as Go prints it: `[a b]`.
fn go_list(names: impl Iterator<Item = String>) -> String {
    let names: BTreeSet<String> = names.collect();
    format!("[{}]", names.into_iter().collect::<Vec<_>>().join(" "))
}

/// One error as it is, several as `[a, b]`, repeated ones once.
fn aggregate(errors: Vec<String>) -> Result<(), String> {
    let mut distinct: Vec<String> = Vec::new();
    for error in errors {
        if !distinct.contains(&error) {
            distinct.push(error);
        }
    }
    match distinct.len() {
        0 => Ok(()),
        1 => Err(distinct.remove(0)),
        _ => Err(format!("[{}]", distinct.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn make(name: &str, spec: Value) -> WorkspaceType {
        let object = json!({
            "metadata": {"name": name, "annotations": {"kcp.io/path": "root"}},
            "spec": spec,
        });
        WorkspaceType::from_value(&object, "root")
    }

    fn reference(name: &str) -> Value {
        json!({"name": name, "path": "root"})
    }

    fn world() -> Vec<WorkspaceType> {
        let with = |name: &str| json!({"with": [reference(name)]});
        let bindings = json!([{"export": "tenancy.kcp.io", "path": "root"}, {"export": "own"}]);
        vec![
            make(
                "universal",
                json!({"initializer": true, "defaultAPIBindings": bindings}),
            ),
            make(
                "root",
                json!({"extend": with("universal"),
                "limitAllowedParents": {"none": true}}),
            ),
            make(
                "organization",
                json!({"extend": with("universal"),
                "limitAllowedChildren": {"types": [reference("universal")]},
                "limitAllowedParents": {"types": [reference("root")]}}),
            ),
            make("a", json!({"extend": with("b")})),
            make("b", json!({"extend": with("a")})),
            make("lost", json!({"extend": with("nowhere")})),
        ]
    }

    fn resolved(name: &str) -> Result<Vec<WorkspaceType>, String> {
        let world = world();
        let find = |name: &str| world.iter().find(|t| t.name == name).cloned();
        resolve(find(name).unwrap(), &mut |r| find(&r.name))
    }

    #[test]
    fn inheritance() {
        let organization = resolved("organization").unwrap();
        let names: Vec<&str> = organization.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["universal", "organization"]);
        assert_eq!(
            initializers(&organization),
            ["root:universal", "system:apibindings"]
        );
        let bindings = default_bindings(&organization);
        assert_eq!(
            bindings[1],
            DefaultBinding {
                path: "root".into(),
                export: "own".into()
            }
        );
        assert_eq!(
            resolved("a").unwrap_err(),
            "circular dependency detected in workspace type root:a: root:a -> root:b"
        );
        assert_eq!(
            resolved("lost").unwrap_err(),
            "unable to find inherited workspace type root:nowhere"
        );
    }

    #[test]
    fn nesting_texts_are_as_recorded() {
        let organization = resolved("organization").unwrap();
        assert_eq!(
            check_nesting(&organization, &organization).unwrap_err(),
            "workspace type root:organization only allows [root:root] parent workspaces, but \
             parent type root:organization only implements [root:organization root:universal]"
        );
        let root = resolved("root").unwrap();
        assert_eq!(check_nesting(&root, &organization), Ok(()));
        assert_eq!(
            check_nesting(&organization, &root).unwrap_err(),
            "workspace type root:root cannot have any parent"
        );
    }

    #[test]
    fn search_goes_up_and_ends_in_root() {
        assert_eq!(
            search_path("root:a:b").collect::<Vec<_>>(),
            ["root:a:b", "root:a", "root"]
        );
        assert_eq!(
            search_path("home1:x").collect::<Vec<_>>(),
            ["home1:x", "home1", "root"]
        );
        assert_eq!(search_path("root").collect::<Vec<_>>(), ["root"]);
    }
}
