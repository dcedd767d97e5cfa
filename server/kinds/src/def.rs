//! Everything the server must know about one resource in one version, as data.
//!
//! Start at [`ResourceDef`]. Built-in kinds are rows of [`crate::builtin`]; custom resources get
//! theirs from a CRD or an APIResourceSchema ([`crate::custom`]). Handlers never ask what kind
//! they serve, only what the row says. A row is immutable and shared.

use std::borrow::Cow;
use std::sync::Arc;

use hanse_apply::types::TypeSchema;
use hanse_json::{Value, get_object, get_str};
use hanse_schema::Schema;
use hanse_schema::field::ErrorList;
use hanse_schema::names::NameRule;
use hanse_wire::gvk::SmolStr;
use hanse_wire::selector::FieldSelector;
use hanse_wire::{
    GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource, Result, Status, base64,
};
use sha2::{Digest, Sha256};

use crate::native::NativeType;
use crate::table::Columns;

/// The identity under which custom resources without an export are stored.
pub const CUSTOM_RESOURCES: &str = "customresources";

/// Where the objects of a resource are stored: one place for all its versions and views.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorageRef {
    /// The group of the storage, which may differ from the served one (events).
    pub group: SmolStr,
    /// The plural name.
    pub resource: SmolStr,
    /// Empty for built-in kinds, [`CUSTOM_RESOURCES`] for custom resources of local and system
    /// CRDs, the identity hash for bound ones.
    pub identity: SmolStr,
}

/// What the type and shape of objects says: compiled once, shared by content.
#[derive(Debug)]
pub struct CompiledKind {
    /// SHA-256 of what it was compiled from.
    pub hash: [u8; 32],
    /// How lists and maps merge: for apply and for strategic merge patches.
    pub types: TypeSchema,
    /// The shape.
    pub shape: Shape,
}

/// The two ways to know the shape of objects.
#[derive(Debug)]
pub enum Shape {
    /// A structural schema: custom resources.
    Structural(Schema),
    /// A Go type, which decodes and drops empty fields as Go does: built-in kinds.
    Native(NativeType),
}

impl CompiledKind {
    /// What decoding does: wrong types are errors, unknown fields are dropped and reported,
    /// nulls that mean nothing disappear.
    ///
    /// # Errors
    /// The text of the decoder, for a 400.
    pub fn decode(&self, value: &mut Value) -> std::result::Result<Vec<String>, String> {
        match &self.shape {
            Shape::Structural(schema) => schema.coerce(value, false),
            Shape::Native(native) => native.decode(value),
        }
    }

    /// The same as [`CompiledKind::decode`] with the words of the converter that takes the result
    /// of a strategic merge patch.
    ///
    /// # Errors
    /// The text of the converter.
    pub fn convert(&self, value: &mut Value) -> std::result::Result<Vec<String>, String> {
        match &self.shape {
            Shape::Structural(schema) => schema.coerce(value, false),
            Shape::Native(native) => native.convert(value),
        }
    }

    /// Fills in the defaults that the schema names. Built-in kinds have theirs in their hooks.
    pub fn default(&self, value: &mut Value) {
        if let Shape::Structural(schema) = &self.shape {
            schema.default(value);
        }
    }

    /// The structural schema of a custom resource.
    pub fn structural(&self) -> Option<&Schema> {
        match &self.shape {
            Shape::Structural(schema) => Some(schema),
            Shape::Native(_) => None,
        }
    }
}

/// JSON paths of the scale subresource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// Such as `["spec", "replicas"]`.
    pub spec_replicas: Vec<SmolStr>,
    /// Such as `["status", "replicas"]`.
    pub status_replicas: Vec<SmolStr>,
    /// Where the selector's text is, if anywhere.
    pub label_selector: Option<Vec<SmolStr>>,
}

/// One subresource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Such as `status`.
    pub name: SmolStr,
    /// The kind of its bodies, if it is another than the resource's own.
    pub kind: Option<GroupVersionKind>,
    /// In the order of discovery.
    pub verbs: &'static [&'static str],
    /// For `scale`.
    pub scale: Option<ScalePaths>,
}

/// A field that field selectors may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectableField {
    /// As in the selector, such as `spec.color`.
    pub label: SmolStr,
    /// From the root of the object.
    pub path: Vec<SmolStr>,
    /// Where the value is if there is none at `path`.
    pub otherwise: Option<Vec<SmolStr>>,
    /// Its label in the index of the storage, which differs in a second view of one storage.
    pub index: SmolStr,
}

impl SelectableField {
    /// A field whose label is its path.
    pub fn new(label: &str) -> Self {
        SelectableField {
            label: label.into(),
            path: label.split('.').map(SmolStr::from).collect(),
            otherwise: None,
            index: label.into(),
        }
    }

    /// The text of the field; `""` where there is none.
    pub fn value<'o>(&self, object: &'o Value) -> Cow<'o, str> {
        let text = path_text(object, &self.path);
        match &self.otherwise {
            Some(otherwise) if text.is_empty() => path_text(object, otherwise),
            _ => text,
        }
    }
}

fn path_text<'o>(object: &'o Value, path: &[SmolStr]) -> Cow<'o, str> {
    let found = path
        .iter()
        .try_fold(object, |at, name| at.get(name.as_str()));
    match found {
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(Value::Number(number)) => Cow::Owned(hanse_json::number_string(number)),
        Some(Value::Bool(value)) => Cow::Borrowed(if *value { "true" } else { "false" }),
        _ => Cow::Borrowed(""),
    }
}

/// How kinds differ in the handling of writes (kubernetes-api.md 8 and 49).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// PUT of a missing object creates it.
    pub create_on_update: bool,
    /// PUT without a resourceVersion overwrites.
    pub unconditional_update: bool,
    /// `metadata.generation` counts changes outside of metadata and status.
    pub generation: bool,
    /// DELETE answers with the object also when it is gone at once.
    pub returns_deleted: bool,
    /// Built in: decoded into a Go type by Kubernetes, with all that follows from it.
    pub native: bool,
    /// Strategic merge patches are taken: every kind that Kubernetes defines, built in or not.
    pub strategic_merge: bool,
    /// Not stored: create computes an answer (reviews).
    pub review: bool,
    /// List items carry no apiVersion and kind of their own.
    pub bare_items: bool,
    /// Defined by kcp itself, in every logical cluster.
    pub system: bool,
    /// Status writes may change labels and annotations too.
    pub status_metadata: bool,
}

/// Turns objects between versions of a kind, or between two views of one storage.
#[derive(Clone, Copy)]
pub enum Conversion {
    /// Only `apiVersion` changes.
    None,
    /// A function of ours: object, version from, version to (as `apiVersion`s).
    Native(fn(&mut Value, &str, &str) -> std::result::Result<(), String>),
    /// A webhook, called by the server; its configuration stands in the CRD.
    Webhook,
}

impl std::fmt::Debug for Conversion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Conversion::None => "None",
            Conversion::Native(_) => "Native",
            Conversion::Webhook => "Webhook",
        })
    }
}

/// A write that a hook looks at.
#[derive(Clone, Copy, Debug)]
pub struct Update<'w> {
    /// The object as stored.
    pub old: &'w Value,
    /// Empty for the resource itself, else such as `status`, `approval`, `finalize`.
    pub subresource: &'w str,
}

/// What a kind does beyond its schema. Every function has a harmless default.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// Fills in defaults, after decoding and on reads.
    pub default: fn(&mut Value),
    /// Resets what a creator may not set.
    pub prepare_create: fn(&mut Value),
    /// Resets what an update (of this subresource) may not change.
    pub prepare_update: fn(&mut Value, Update<'_>),
    /// Checks a new object; its metadata is checked elsewhere.
    pub validate: fn(&Value) -> ErrorList,
    /// Checks a change; its metadata is checked elsewhere.
    pub validate_update: fn(&Value, Update<'_>) -> ErrorList,
    /// Warnings about an object that is fine.
    pub warnings: fn(&Value, Option<&Value>) -> Vec<String>,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}

/// Hooks that do nothing but keep status and spec apart: custom resources.
pub const NO_HOOKS: Hooks = Hooks {
    default: |_| {},
    prepare_create: |_| {},
    prepare_update: |_, _| {},
    validate: |_| ErrorList::new(),
    validate_update: |_, _| ErrorList::new(),
    warnings: |_, _| Vec::new(),
};

/// One resource in one version.
#[derive(Clone, Debug)]
pub struct ResourceDef {
    /// Empty for the core group.
    pub group: SmolStr,
    /// The served version that this row is about.
    pub version: SmolStr,
    /// The plural name in URLs.
    pub plural: SmolStr,
    /// For people.
    pub singular: SmolStr,
    /// The kind of the objects.
    pub kind: SmolStr,
    /// The kind of lists.
    pub list_kind: SmolStr,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// For people.
    pub short_names: Vec<SmolStr>,
    /// For `kubectl get all` and its like.
    pub categories: Vec<SmolStr>,
    /// In the order of discovery.
    pub verbs: &'static [&'static str],
    /// In the order of discovery.
    pub subresources: Vec<Subresource>,
    /// The shape of objects.
    pub schema: Arc<CompiledKind>,
    /// The columns of tables.
    pub columns: Columns,
    /// Fields that selectors may name, besides those of metadata.
    pub selectable: Vec<SelectableField>,
    /// How writes are handled.
    pub flags: Flags,
    /// How objects may be called.
    pub name_rule: NameRule,
    /// Where objects are stored.
    pub storage: StorageRef,
    /// The `apiVersion` of stored objects.
    pub storage_version: GroupVersion,
    /// The kind of stored objects.
    pub storage_kind: SmolStr,
    /// All served versions of the resource, preferred first.
    pub served_versions: Vec<SmolStr>,
    /// From the storage version to this one and back.
    pub conversion: Conversion,
    /// What the kind does beyond its schema.
    pub hooks: Hooks,
    /// The warning for requests to a deprecated version.
    pub deprecation: Option<String>,
    /// Being removed: no creations any more.
    pub terminating: bool,
}

impl ResourceDef {
    /// Group and version.
    pub fn group_version(&self) -> GroupVersion {
        GroupVersion {
            group: self.group.clone(),
            version: self.version.clone(),
        }
    }

    /// How messages name the resource.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource {
            group: self.group.clone(),
            resource: self.plural.clone(),
        }
    }

    /// Group, version and resource.
    pub fn gvr(&self) -> GroupVersionResource {
        self.group_version().resource(self.plural.clone())
    }

    /// Group, version and kind.
    pub fn gvk(&self) -> GroupVersionKind {
        self.group_version().kind(self.kind.clone())
    }

    /// The `apiVersion` of objects in this version.
    pub fn api_version(&self) -> String {
        self.group_version().to_string()
    }

    /// A subresource by name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// Whether writes of the object leave its status alone.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// Whether a verb is served on the resource itself.
    pub fn allows(&self, verb: &str) -> bool {
        let kept = !(self.terminating && matches!(verb, "create" | "patch" | "update"));
        kept && self.verbs.contains(&verb)
    }

    /// The hash that discovery shows for the storage version; empty for what is not stored. kcp
    /// hashes the logical cluster of the definition in front, which is empty for built-in kinds,
    /// and names the version of custom resources twice. Definitions of a workspace's own are
    /// hashed without their cluster, so that workspaces with equal surfaces share their documents.
    pub fn storage_version_hash(&self) -> String {
        if self.flags.review {
            return String::new();
        }
        let (group, kind) = (&self.storage_version.group, &self.storage_kind);
        let version = match group.as_str() {
            // Kubernetes stores these in a version that it has not served for years.
            "apiextensions.k8s.io" => "v1beta1",
            _ => &self.storage_version.version,
        };
        let name = match self.storage.identity.as_str() {
            "" => format!("/{group}/{version}/{kind}"),
            CUSTOM_RESOURCES if self.flags.system => {
                format!("system:system-crds/{group}/{version}/{version}/{kind}")
            }
            CUSTOM_RESOURCES => format!("{group}/{version}/{kind}"),
            _ => format!("system:bound-crds/{group}/{version}/{version}/{kind}"),
        };
        base64::encode(&Sha256::digest(name.as_bytes())[..8])
    }

    /// Adds to a hash all that discovery and OpenAPI say of the resource.
    pub fn digest(&self, digest: &mut Sha256) {
        digest.update(self.schema.hash);
        let mut text = |text: &str| {
            digest.update(text.as_bytes());
            digest.update([0]);
        };
        for name in [
            &self.group,
            &self.version,
            &self.plural,
            &self.singular,
            &self.kind,
            &self.list_kind,
            &self.storage.identity,
            &self.storage_version.version,
        ] {
            text(name);
        }
        for list in [&self.short_names, &self.categories] {
            list.iter().for_each(|name| text(name));
            text("");
        }
        self.verbs.iter().for_each(|verb| text(verb));
        text("");
        for sub in &self.subresources {
            text(&sub.name);
            sub.verbs.iter().for_each(|verb| text(verb));
            text("");
        }
        self.selectable.iter().for_each(|field| text(&field.label));
        digest.update([
            u8::from(self.namespaced),
            u8::from(self.terminating),
            u8::from(self.flags.strategic_merge),
        ]);
    }

    /// Checks that a field selector names only known fields.
    ///
    /// # Errors
    /// 400 with the text of the kind's own rule.
    pub fn check_field_selector(&self, selector: &FieldSelector) -> Result<()> {
        // Kinds of Kubernetes without fields of their own have another rule and another text.
        let unlisted = self.flags.native && self.selectable.is_empty();
        let known = |field: &str| {
            field == "metadata.name"
                || (field == "metadata.namespace" && (self.namespaced || unlisted))
                || self
                    .selectable
                    .iter()
                    .any(|selectable| selectable.label == field)
        };
        let unknown = selector.terms().iter().find(|term| !known(&term.field));
        unknown.map_or(Ok(()), |term| {
            let field = &term.field;
            Err(Status::bad_request(match unlisted {
                true => format!(
                    "{} is not a known field selector: only \"metadata.name\", \
                     \"metadata.namespace\"",
                    hanse_json::go::quote(field)
                ),
                false => format!("field label not supported: {field}"),
            }))
        })
    }

    /// The text of a selectable field of an object in this version; `""` where there is none.
    pub fn field<'o>(&self, object: &'o Value, label: &str) -> Cow<'o, str> {
        let metadata = |name: &str| get_str(object, &["metadata", name]).unwrap_or_default();
        match label {
            "metadata.name" => Cow::Borrowed(metadata("name")),
            "metadata.namespace" => Cow::Borrowed(metadata("namespace")),
            _ => {
                let field = self.selectable.iter().find(|field| field.label == label);
                field.map_or(Cow::Borrowed(""), |field| field.value(object))
            }
        }
    }

    /// The values of all selectable fields of an object in the storage version, for the index.
    pub fn fields(&self, object: &Value) -> Vec<(SmolStr, String)> {
        let entry =
            |field: &SelectableField| (field.index.clone(), field.value(object).into_owned());
        self.selectable.iter().map(entry).collect()
    }

    /// Whether an update counts as a new generation: something changed outside of metadata, and
    /// outside of status where that has its own subresource.
    pub fn changes_generation(&self, new: &Value, old: &Value) -> bool {
        let skip = |key: &str| {
            matches!(key, "metadata" | "apiVersion" | "kind")
                || (key == "status" && self.has_status())
        };
        let (Some(new), Some(old)) = (get_object(new, &[]), get_object(old, &[])) else {
            return true;
        };
        let keys = new.keys().chain(old.keys()).filter(|key| !skip(key));
        keys.into_iter()
            .any(|key| match (new.get(key), old.get(key)) {
                (Some(new), Some(old)) => !hanse_json::equal(new, old),
                _ => true,
            })
    }
}
