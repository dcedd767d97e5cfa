//! A CustomResourceDefinition as its validation sees it.
//!
//! Start at [`Definition::decode`]. Kubernetes validates an internal layout in which whatever all
//! versions share stands once beside them; error paths show that, so it is rebuilt here. Lives
//! only inside a write.

use serde_json::Value;

use crate::field::{ErrorList, Path};
use crate::props::Props;

/// The parts of a definition that validation looks at.
#[derive(Clone, Debug, Default)]
pub struct Definition {
    pub metadata: Value,
    pub spec: Spec,
    pub accepted_names: Names,
    pub stored_versions: Vec<String>,
    /// Go prints a list that was not given as null, an empty one as `[]`.
    pub stored_versions_given: bool,
    pub established: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Spec {
    pub group: String,
    pub names: Names,
    pub scope: String,
    pub versions: Vec<Version>,
    /// As for stored versions.
    pub versions_given: bool,
    /// Set when all versions have the same schema; theirs is then gone.
    pub validation: Option<Validation>,
    pub subresources: Option<Subresources>,
    pub columns: Vec<Column>,
    pub selectable_fields: Vec<String>,
    pub conversion: Option<Conversion>,
    pub preserve_unknown_fields: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub list_kind: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Version {
    pub name: String,
    pub served: bool,
    pub storage: bool,
    pub deprecated: bool,
    pub deprecation_warning: Option<String>,
    pub schema: Option<Validation>,
    pub subresources: Option<Subresources>,
    pub columns: Vec<Column>,
    pub selectable_fields: Vec<String>,
}

/// `schema`: the object that holds `openAPIV3Schema`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Validation {
    pub schema: Option<Props>,
    /// The schema as it was written, for rules in CEL.
    pub source: Value,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subresources {
    pub status: bool,
    pub scale: Option<Scale>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scale {
    pub spec_replicas_path: String,
    pub status_replicas_path: String,
    pub label_selector_path: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    pub name: String,
    pub ty: String,
    pub format: String,
    pub description: String,
    pub priority: i64,
    pub json_path: String,
}

#[derive(Clone, Debug, Default)]
pub struct Conversion {
    pub strategy: String,
    pub client_config: Option<ClientConfig>,
    pub review_versions: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct ClientConfig {
    pub url: Option<String>,
    pub service: Option<Service>,
    /// Base64, as written.
    pub ca_bundle: String,
}

#[derive(Clone, Debug, Default)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    pub path: Option<String>,
    pub port: i64,
}

fn text(value: &Value, key: &str) -> String {
    optional_text(value, key).unwrap_or_default()
}

fn optional_text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    let items = value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    items
        .map(|item| item.as_str().unwrap_or_default().to_owned())
        .collect()
}

fn present<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    value.get(key).filter(|v| !v.is_null())
}

impl Definition {
    /// Reads a v1 CustomResourceDefinition. Values of the wrong type outside of schemas are taken
    /// as absent: decoding refuses them before.
    ///
    /// # Errors
    /// Schemas that cannot be read at all.
    pub fn decode(crd: &Value) -> Result<Definition, ErrorList> {
        let empty = Value::Null;
        let spec = crd.get("spec").unwrap_or(&empty);
        let status = crd.get("status").unwrap_or(&empty);
        let mut errors = ErrorList::new();
        let mut decoded = Spec {
            group: text(spec, "group"),
            names: names(spec.get("names").unwrap_or(&empty)),
            scope: text(spec, "scope"),
            versions_given: present(spec, "versions").is_some(),
            preserve_unknown_fields: flag(spec, "preserveUnknownFields"),
            conversion: present(spec, "conversion").map(conversion),
            ..Spec::default()
        };
        let path = Path::new("spec").child("versions");
        let versions = spec
            .get("versions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for (i, value) in versions.enumerate() {
            decoded
                .versions
                .push(version(value, &path.index(i), &mut errors));
        }
        errors.into_result()?;
        decoded.share();
        Ok(Definition {
            metadata: crd.get("metadata").cloned().unwrap_or_default(),
            spec: decoded,
            accepted_names: names(status.get("acceptedNames").unwrap_or(&empty)),
            stored_versions: texts(status, "storedVersions"),
            stored_versions_given: present(status, "storedVersions").is_some(),
            established: super::status::condition(crd, "Established")
                .is_some_and(|c| text(c, "status") == "True"),
        })
    }
}

impl Spec {
    /// Moves what all versions have alike beside them.
    fn share(&mut self) {
        let Some(first) = self.versions.first().cloned() else {
            return;
        };
        let props = |v: &Version| v.schema.as_ref().map(|s| s.schema.clone());
        if self.versions.iter().all(|v| props(v) == props(&first)) {
            self.validation = first.schema;
            self.versions.iter_mut().for_each(|v| v.schema = None);
        }
        if self
            .versions
            .iter()
            .all(|v| v.subresources == first.subresources)
        {
            self.subresources = first.subresources;
            self.versions.iter_mut().for_each(|v| v.subresources = None);
        }
        if self.versions.iter().all(|v| v.columns == first.columns) {
            self.columns = first.columns;
            self.versions.iter_mut().for_each(|v| v.columns.clear());
        }
        if self
            .versions
            .iter()
            .all(|v| v.selectable_fields == first.selectable_fields)
        {
            self.selectable_fields = first.selectable_fields;
            self.versions
                .iter_mut()
                .for_each(|v| v.selectable_fields.clear());
        }
    }

    /// Every schema, shared or not.
    pub fn schemas(&self) -> impl Iterator<Item = &Props> {
        let own = self.versions.iter().filter_map(|v| v.schema.as_ref());
        self.validation
            .iter()
            .chain(own)
            .filter_map(|v| v.schema.as_ref())
    }

    /// The schema of a version: the shared one whatever the version is called, else its own.
    pub fn schema_of(&self, version: &str) -> Option<Option<&Props>> {
        let own = |v: &Version| v.schema.is_some();
        let validation = if self.versions.iter().any(own) {
            self.versions
                .iter()
                .find(|v| v.name == version)?
                .schema
                .as_ref()
        } else {
            self.validation.as_ref()
        };
        Some(validation.and_then(|v| v.schema.as_ref()))
    }

    /// The subresources of a version, shared or its own.
    pub fn subresources_of<'s>(&'s self, version: &'s Version) -> Option<&'s Subresources> {
        if self.versions.iter().any(|v| v.subresources.is_some()) {
            version.subresources.as_ref()
        } else {
            self.subresources.as_ref()
        }
    }
}

fn names(value: &Value) -> Names {
    Names {
        plural: text(value, "plural"),
        singular: text(value, "singular"),
        kind: text(value, "kind"),
        list_kind: text(value, "listKind"),
        short_names: texts(value, "shortNames"),
        categories: texts(value, "categories"),
    }
}

fn version(value: &Value, path: &Path, errors: &mut ErrorList) -> Version {
    Version {
        name: text(value, "name"),
        served: flag(value, "served"),
        storage: flag(value, "storage"),
        deprecated: flag(value, "deprecated"),
        deprecation_warning: optional_text(value, "deprecationWarning"),
        schema: present(value, "schema").map(|schema| {
            let at = path.child("schema").child("openAPIV3Schema");
            let props = present(schema, "openAPIV3Schema").map(|s| Props::decode(s, &at));
            let props = props.transpose().unwrap_or_else(|found| {
                errors.extend(found);
                None
            });
            let source = schema.get("openAPIV3Schema").cloned().unwrap_or_default();
            Validation {
                schema: props,
                source,
            }
        }),
        subresources: present(value, "subresources").map(|s| Subresources {
            status: present(s, "status").is_some(),
            scale: present(s, "scale").map(|scale| Scale {
                spec_replicas_path: text(scale, "specReplicasPath"),
                status_replicas_path: text(scale, "statusReplicasPath"),
                label_selector_path: optional_text(scale, "labelSelectorPath"),
            }),
        }),
        columns: list(value, "additionalPrinterColumns")
            .iter()
            .map(column)
            .collect(),
        selectable_fields: list(value, "selectableFields")
            .iter()
            .map(|f| text(f, "jsonPath"))
            .collect(),
    }
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn column(value: &Value) -> Column {
    Column {
        name: text(value, "name"),
        ty: text(value, "type"),
        format: text(value, "format"),
        description: text(value, "description"),
        priority: value
            .get("priority")
            .and_then(Value::as_i64)
            .unwrap_or_default(),
        json_path: text(value, "jsonPath"),
    }
}

fn conversion(value: &Value) -> Conversion {
    let webhook = present(value, "webhook");
    let config = webhook.and_then(|w| present(w, "clientConfig"));
    Conversion {
        strategy: text(value, "strategy"),
        review_versions: webhook
            .map(|w| texts(w, "conversionReviewVersions"))
            .unwrap_or_default(),
        client_config: config.map(|config| ClientConfig {
            url: optional_text(config, "url"),
            ca_bundle: text(config, "caBundle"),
            service: present(config, "service").map(|service| Service {
                namespace: text(service, "namespace"),
                name: text(service, "name"),
                path: optional_text(service, "path"),
                port: service.get("port").and_then(Value::as_i64).unwrap_or(443),
            }),
        }),
    }
}
