//! The way of a write, the same for every kind: decode, default, field managers, admission,
//! preparation, validation, commit.
//!
//! Start at [`insert::insert`], [`change::change`] and [`remove::remove`]: create, update in all
//! its forms, delete. Each is one straight function over a tree that exists only inside the write.
//! The invariant: nothing is stored that was not validated in the very form in which it is stored,
//! and a lost race is either told to the client (when it named a version) or run again from the
//! start with what is stored now (PAT-10).

pub mod admit;
pub mod change;
pub mod decode;
pub mod insert;
pub mod managed;
pub mod prepare;
pub mod remove;
pub mod strategic;
pub mod validate;

use hanse_cache::{CommitError, Committed, Document, Object, SchemaHash};
use hanse_json::{Value, entry_object, get_str, set};
use hanse_wire::options::WriteOptions;
use hanse_wire::status::{Result, Status};

use crate::call::{Call, Target};
use crate::convert;
use crate::service::Inner;

/// What a write answers with.
pub enum Written {
    /// What is stored now: its bytes are the answer where the client takes them.
    Stored(Object),
    /// What is not stored: of a dry run, of a review, of an object that went with the write.
    Tree(Value),
}

impl Written {
    /// As a tree in the requested version.
    #[must_use]
    pub fn into_tree(self, target: &Target) -> Value {
        match self {
            Written::Stored(object) => live_tree(target, &object),
            Written::Tree(tree) => tree,
        }
    }
}

/// What the steps of one write share.
pub struct Writing<'w> {
    /// The server.
    pub service: &'w Inner,
    /// The request.
    pub call: &'w Call<'w>,
    /// What it is about.
    pub target: &'w Target,
    /// Its options.
    pub options: &'w WriteOptions,
    /// Who is written down as the owner of changed fields.
    pub manager: String,
    /// The time of the write, RFC 3339 in seconds.
    pub now: String,
}

impl<'w> Writing<'w> {
    /// The write that a request asks for.
    #[must_use]
    pub fn new(
        service: &'w Inner,
        call: &'w Call<'w>,
        target: &'w Target,
        options: &'w WriteOptions,
    ) -> Self {
        let manager = match options.field_manager.as_str() {
            "" => call.default_manager(),
            given => given.to_owned(),
        };
        let now = hanse_wire::time::format(service.now_micros());
        Self {
            service,
            call,
            target,
            options,
            manager,
            now,
        }
    }

    /// The document that is stored for a tree in the requested version.
    fn document(&self, tree: &Value) -> Result<Document> {
        document(self.target, tree)
    }

    /// 422 for what is wrong with an object of the target's kind.
    fn invalid(&self, name: &str, errors: &hanse_schema::field::ErrorList) -> Box<Status> {
        let def = &self.target.def;
        Status::invalid(&def.kind, &def.group, name, errors)
    }
}

/// The document that is stored for a tree in the target's version.
///
/// # Errors
/// 500 for what is no object, which validation should have refused.
pub fn document(target: &Target, tree: &Value) -> Result<Document> {
    let def = &target.def;
    let schema = match target.stored() {
        Some(stored) => stored.schema.hash.into(),
        None => SchemaHash::default(),
    };
    let fields = def.fields(tree);
    let made = if convert::is_stored_version(def) {
        Document::from_value(tree, fields, schema)
    } else {
        let mut converted = convert::to_storage(def, tree.clone());
        if let Some(stored) = target.stored() {
            // Unknown to the stored version is unknown; a value of another type stays as it is.
            let _ = stored.schema.decode(&mut converted);
            convert::default(stored, &mut converted);
        }
        Document::from_value(&converted, fields, schema)
    };
    made.map_err(|error| Status::plain(error.to_string()))
}

/// A stored object as a tree in the requested version, as writes and patches see it.
#[must_use]
pub fn live_tree(target: &Target, object: &Object) -> Value {
    convert::from_storage(&target.def, object.value())
}

/// Takes out what the server puts into every answer and never stores.
pub fn strip_cluster(tree: &mut Value) {
    let Some(meta) = tree.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(Value::Object(annotations)) = meta.get_mut("annotations") else {
        return;
    };
    annotations.remove(hanse_cache::CLUSTER_ANNOTATION);
    if annotations.is_empty() {
        meta.remove("annotations");
    }
}

/// A written tree as the answer shows it: at its version, in its logical cluster.
#[must_use]
pub fn finish(mut tree: Value, version: Option<u64>, cluster: &str) -> Value {
    if let Some(version) = version {
        set(
            &mut tree,
            &["metadata", "resourceVersion"],
            version.to_string().into(),
        );
    }
    let annotations = entry_object(&mut tree, &["metadata", "annotations"]);
    annotations.insert(hanse_cache::CLUSTER_ANNOTATION.to_owned(), cluster.into());
    tree
}

/// `metadata.name`, or nothing.
#[must_use]
pub fn name_of(tree: &Value) -> &str {
    get_str(tree, &["metadata", "name"]).unwrap_or_default()
}

/// A non-empty text of the metadata.
#[must_use]
pub fn meta_text<'v>(tree: &'v Value, field: &str) -> Option<&'v str> {
    get_str(tree, &["metadata", field]).filter(|text| !text.is_empty())
}

/// The version of the first write of a commit.
#[must_use]
pub fn first_version(committed: &Committed) -> Option<u64> {
    committed.versions.first().copied().flatten()
}

/// The Status for a commit that failed for another reason than a lost race.
#[must_use]
pub fn commit_error(error: &CommitError) -> Box<Status> {
    match error {
        CommitError::TooLarge => Status::plain("etcdserver: request is too large"),
        CommitError::Full => Status::plain("etcdserver: mvcc: database space exceeded"),
        CommitError::Unavailable(why) => {
            tracing::error!(%why, "the store is not available");
            Status::service_unavailable("the store is not available")
        }
        CommitError::Conflict { .. } | CommitError::Invalid(_) | CommitError::Refused(_) => {
            Status::internal(error)
        }
    }
}

/// Makes sure that an object says the namespace of the path, and no other.
///
/// # Errors
/// 400 for another namespace.
pub fn fill_namespace(tree: &mut Value, call: &Call<'_>, target: &Target) -> Result<()> {
    let wanted = target.namespace(call);
    let given = get_str(tree, &["metadata", "namespace"]).unwrap_or_default();
    if given == wanted {
        return Ok(());
    }
    if !given.is_empty() {
        let why = "the namespace of the provided object does not match the namespace sent on the \
                   request";
        return Err(Status::bad_request(why));
    }
    set(tree, &["metadata", "namespace"], wanted.into());
    Ok(())
}
