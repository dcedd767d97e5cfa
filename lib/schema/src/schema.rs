//! A compiled schema as everybody holds it: one per content in the process.
//!
//! Start at [`Schema::compile`]. The invariant: two schemas of equal canonical JSON share one
//! compiled tree as long as either lives, found by the SHA-256 of that JSON.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::field::{BadValue, Error, ErrorList, ErrorType, Path};
use crate::node::Node;
use crate::props::Props;
use crate::rules::{self, CelOutcome, RuleTree};
use crate::validate::{self, Mode};
use crate::{default, embedded, lists, object_meta, prune, structural};

/// A compiled structural schema; cloning is cheap.
#[derive(Clone)]
pub struct Schema(Arc<Inner>);

struct Inner {
    hash: [u8; 32],
    root: Node,
    /// The schema as canonical JSON, for OpenAPI.
    source: Box<[u8]>,
    /// Rules in CEL, compiled when the first object needs them.
    rules: OnceLock<RuleTree>,
}

static SHARED: LazyLock<Mutex<HashMap<[u8; 32], Weak<Inner>>>> = LazyLock::new(Mutex::default);

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema(")?;
        self.0
            .hash
            .iter()
            .take(4)
            .try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str(")")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        // Another may have been compiled between the last handle's end and now.
        if shared
            .get(&self.hash)
            .is_some_and(|weak| weak.strong_count() == 0)
        {
            shared.remove(&self.hash);
        }
    }
}

impl Schema {
    /// Compiles an `openAPIV3Schema`, or finds the one compiled before from the same content.
    ///
    /// # Errors
    /// What keeps it from being a structural schema, with paths below `openAPIV3Schema`. The
    /// further rules for CRDs are [`crate::crd`]'s.
    pub fn compile(source: &Value) -> Result<Schema, ErrorList> {
        let bytes = hanse_json::to_vec(source);
        let hash: [u8; 32] = Sha256::digest(&bytes).into();
        if let Some(found) = Self::find(&hash) {
            return Ok(found);
        }
        let path = Path::new("openAPIV3Schema");
        let props = Props::decode(source, &path)?;
        if let Some(why) = structural::convert_error(&props) {
            return Err(Error::invalid(&path, "", why).into());
        }
        structural::validate(&props, &path).into_result()?;
        let root = Node::compile(&props);
        let rules = OnceLock::new();
        let fresh = Arc::new(Inner {
            hash,
            root,
            source: bytes.into(),
            rules,
        });
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = shared.get(&hash).and_then(Weak::upgrade) {
            // `fresh` is dropped after the lock, which its Drop takes.
            drop(shared);
            return Ok(Schema(other));
        }
        shared.insert(hash, Arc::downgrade(&fresh));
        Ok(Schema(fresh))
    }

    fn find(hash: &[u8; 32]) -> Option<Schema> {
        let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.get(hash).and_then(Weak::upgrade).map(Schema)
    }

    /// SHA-256 of the canonical JSON of the source.
    pub fn hash(&self) -> [u8; 32] {
        self.0.hash
    }

    /// The schema as canonical JSON.
    pub fn source(&self) -> &[u8] {
        &self.0.source
    }

    /// The compiled tree.
    pub fn root(&self) -> &Node {
        &self.0.root
    }

    /// Drops unknown fields of a resource and nulls that mean nothing; answers the paths of the
    /// unknown fields, sorted, at most [`crate::limits::UNKNOWN_FIELDS_MAX`]. Metadata is left
    /// alone: see [`Schema::coerce`].
    pub fn prune(&self, value: &mut Value) -> Vec<String> {
        let dropped = prune::prune(&self.0.root, value, true);
        default::drop_nulls(&self.0.root, value);
        dropped
    }

    /// All that decoding a custom resource does before defaulting: metadata as ObjectMeta, unknown
    /// fields and meaningless nulls out, embedded resources likewise. Answers the unknown fields:
    /// those of metadata, then the others.
    ///
    /// With `drop_invalid` (reads from the store) ill-typed metadata goes.
    ///
    /// # Errors
    /// Go's text for the first ill-typed field of metadata: a bad request.
    pub fn coerce(&self, value: &mut Value, drop_invalid: bool) -> Result<Vec<String>, String> {
        let mut unknown = Vec::new();
        if let Some(metadata) = value.get_mut("metadata") {
            let fields = object_meta::coerce(metadata, drop_invalid)?;
            unknown.extend(fields.into_iter().map(|field| format!("metadata.{field}")));
        }
        unknown.extend(self.prune(value));
        let nested = embedded::coerce(&self.0.root, value, &Path::nil(), false, drop_invalid);
        unknown.extend(nested.map_err(|error| error.to_string())?);
        Ok(unknown)
    }

    /// Fills in defaults.
    pub fn default(&self, value: &mut Value) {
        default::apply(&self.0.root, value);
    }

    /// Everything wrong with a resource apart from its own metadata and its CEL rules: values,
    /// embedded resources, keys of lists. With `old`, what did not change is not an error again.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> ErrorList {
        let mut errors = self.validate_values(new, old);
        errors.extend(self.validate_resources(new, old));
        errors
    }

    /// The first half of [`Schema::validate`]: values. Kubernetes looks at what the scale
    /// subresource reads (see [`crate::scale`]) between the halves.
    pub fn validate_values(&self, new: &Value, old: Option<&Value>) -> ErrorList {
        validate::validate(&self.0.root, new, old, &Path::nil(), Mode::Object)
    }

    /// The second half of [`Schema::validate`]: embedded resources and keys of lists.
    pub fn validate_resources(&self, new: &Value, old: Option<&Value>) -> ErrorList {
        let mut errors = embedded::validate(&self.0.root, new, &Path::nil(), false);
        self.validate_lists(new, old, &mut errors);
        errors
    }

    /// As [`Schema::validate`] for a write of `/status`: only what is in `status`.
    pub fn validate_status(&self, new: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        if let (Some(node), Some(status)) = (self.0.root.property("status"), new.get("status")) {
            let before = old.get("status");
            let path = Path::new("status");
            errors.extend(validate::validate(
                node,
                status,
                before,
                &path,
                Mode::Object,
            ));
        }
        self.validate_lists(new, Some(old), &mut errors);
        errors
    }

    /// Whether the schema has rules in CEL.
    pub fn has_rules(&self) -> bool {
        self.0.root.has_rules
    }

    /// Evaluates the rules in CEL, unless [`blocking_error`] has one for the errors found before.
    /// With `old`, rules that compare with it run, and broken ones about what did not change
    /// become warnings. `budget` is [`rules::OBJECT_BUDGET`] for a whole request.
    pub fn validate_cel(&self, new: &Value, old: Option<&Value>, budget: i64) -> CelOutcome {
        let root = &self.0.root;
        if !root.has_rules {
            let (errors, warnings) = (ErrorList::new(), Vec::new());
            return CelOutcome {
                errors,
                warnings,
                remaining: budget,
            };
        }
        let tree = self.0.rules.get_or_init(|| {
            let source = serde_json::from_slice(&self.0.source).unwrap_or_default();
            RuleTree::compile(root, &source, true)
        });
        rules::evaluate(tree, root, new, old, true, &Path::nil(), budget)
    }

    fn validate_lists(&self, new: &Value, old: Option<&Value>, errors: &mut ErrorList) {
        let found = lists::validate(&self.0.root, new, &Path::nil());
        let tolerated =
            || old.is_some_and(|old| !lists::validate(&self.0.root, old, &Path::nil()).is_empty());
        if !found.is_empty() && !tolerated() {
            errors.extend(found);
        }
    }
}

/// The error that stands for rules in CEL that were not evaluated, when one of `errors` is of a
/// kind that makes evaluating them pointless.
pub fn blocking_error(errors: &ErrorList) -> Option<Error> {
    let blocks = |error: &Error| {
        matches!(
            error.ty,
            ErrorType::NotSupported
                | ErrorType::Required
                | ErrorType::TooLong
                | ErrorType::TooMany
                | ErrorType::TypeInvalid
        )
    };
    errors.iter().any(blocks).then(|| {
        let detail = "some validation rules were not checked because the object was invalid; \
                      correct the existing errors to complete validation";
        Error::invalid(&Path::nil(), BadValue::null(), detail)
    })
}
