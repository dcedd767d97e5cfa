//! Objects in the form that a client asked for.
//!
//! Start at [`Renderer`]. The usual case, JSON in the stored version, copies the hub's bytes and
//! parses nothing; every other form goes through a tree once. The invariant: whatever the form,
//! the object's `apiVersion` and `kind` are those of the URL.

use std::sync::Arc;

use bytes::Bytes;
use hanse_cache::{Object, Slices};
use hanse_json::{Value, json, scan};
use hanse_kinds::ResourceDef;
use hanse_sites::Shown;
use hanse_wire::negotiate::{Encoding, Form, MetaVersion, Output};
use hanse_wire::status::Result;
use hanse_wire::table::{self, IncludeObject, partial_metadata};

use crate::answer::{Answer, json_bytes};
use crate::body::Body;
use crate::convert;
use crate::limits::{ANSWER_BYTES_HELD, LIST_PIECE_BYTES};
use crate::verbs::patched::package;
use crate::write::Written;

/// How the objects of one answer are written.
#[derive(Clone)]
pub struct Renderer {
    /// What they are.
    pub def: Arc<ResourceDef>,
    /// The form.
    pub output: Output,
    /// Items of lists carry no apiVersion and kind of their own.
    pub bare_items: bool,
    /// For tables.
    pub include: IncludeObject,
    /// The time that ages are measured against, microseconds since 1970.
    pub now: i64,
    /// What a table has beyond the kind's own columns.
    pub shown: Option<Shown>,
}

impl Renderer {
    /// An object as a tree in the requested version.
    #[must_use]
    pub fn tree(&self, object: &Object) -> Value {
        convert::from_storage(&self.def, object.value())
    }

    /// Whether the hub's bytes are what the client asked for.
    fn is_verbatim(&self, object: &Object) -> bool {
        convert::is_stored_version(&self.def) && object.schema() == self.def.schema.hash.into()
    }

    /// Whether an object is large, and sent as it lies in memory, piece by piece.
    pub fn goes_in_pieces(&self, object: &Object) -> bool {
        let plain = self.output.form == Form::Object
            && self.output.encoding == Encoding::Json
            && !self.output.pretty;
        let large = object.json_len() >= ANSWER_BYTES_HELD && !object.rests_packed();
        plain && large && self.is_verbatim(object)
    }

    /// Appends an object as compact JSON, whatever the form says.
    pub fn object_into(&self, object: &Object, out: &mut Vec<u8>) {
        if self.is_verbatim(object) {
            object.json_into(out);
        } else {
            hanse_json::write(&self.tree(object), out);
        }
    }

    /// Appends an object as an item of a list: items of some kinds do not repeat their kind.
    pub fn item_into(&self, object: &Object, out: &mut Vec<u8>) {
        if !self.bare_items {
            return self.object_into(object, out);
        }
        let bare = |slices: Slices<'_>| {
            let (before, head) = without_kind(slices.head, &self.def)?;
            out.push(b'{');
            out.extend_from_slice(before);
            Slices { head, ..slices }.write(out);
            Some(())
        };
        if self.is_verbatim(object) && object.slices(bare).is_some() {
            return;
        }
        let start = out.len();
        self.object_into(object, out);
        drop_kind(out, start, &self.def);
    }

    /// Appends one object in the form of a watch event.
    pub fn form_into(&self, object: &Object, with_columns: bool, out: &mut Vec<u8>) {
        match self.output.form {
            Form::Object | Form::AggregatedDiscovery => self.object_into(object, out),
            Form::PartialMetadata(version) | Form::PartialMetadataList(version) => {
                self.partial_into(object, version, out);
            }
            Form::Table(version) => {
                let tree = self.tree(object);
                let rows = vec![self.row(&tree, version)];
                let metadata = table::table_metadata(&tree);
                let table = self.table(version, rows, metadata, with_columns);
                hanse_json::write(&table, out);
            }
        }
    }

    /// Appends `PartialObjectMetadata`.
    pub fn partial_into(&self, object: &Object, version: MetaVersion, out: &mut Vec<u8>) {
        let whole = object.json();
        out.extend_from_slice(b"{\"apiVersion\":\"");
        out.extend_from_slice(version.api_version().as_bytes());
        out.extend_from_slice(b"\",\"kind\":\"PartialObjectMetadata\",\"metadata\":");
        out.extend_from_slice(scan::find(&whole, &["metadata"]).unwrap_or(b"{}"));
        out.push(b'}');
    }

    /// A row of the kind's table.
    #[must_use]
    pub fn row(&self, tree: &Value, version: MetaVersion) -> Value {
        let mut cells = self.def.columns.cells(tree, self.now);
        if let Some(shown) = &self.shown {
            shown.cells(&self.def.columns.heads(), tree, self.now, &mut cells);
        }
        table::row(cells, tree, self.include, version)
    }

    /// A table of rows.
    #[must_use]
    pub fn table(
        &self,
        version: MetaVersion,
        rows: Vec<Value>,
        metadata: Value,
        with_columns: bool,
    ) -> Value {
        let columns = with_columns.then(|| {
            let mut heads = self.def.columns.heads();
            if let Some(shown) = &self.shown {
                shown.heads(&mut heads);
            }
            heads
        });
        let rows = self.def.columns.rows(rows);
        table::table(version, columns.as_deref(), rows, metadata)
    }

    /// The answer with one stored object.
    ///
    /// # Errors
    /// 406 for the list form.
    pub fn answer_object(&self, code: u16, object: &Object) -> Result<Answer> {
        if self.output.form == Form::Object
            && self.output.encoding == Encoding::Json
            && !self.output.pretty
        {
            let content_type = self.output.content_type();
            if self.goes_in_pieces(object) {
                let total = object.slices(|slices| slices.total());
                let body = Body::pieces_of(total, whole_object(object));
                return Ok(Answer::with_body(code, content_type, body));
            }
            let mut bytes = Vec::with_capacity(object.json_len() + 64);
            self.object_into(object, &mut bytes);
            return Ok(Answer::bytes(code, content_type, bytes));
        }
        self.answer_tree(code, self.tree(object))
    }

    /// The answer of a write.
    ///
    /// # Errors
    /// 406 for the list form.
    pub fn answer_written(&self, code: u16, written: Written) -> Result<Answer> {
        match written {
            Written::Stored(object) => self.answer_object(code, &object),
            Written::Tree(tree) => self.answer_tree(code, tree),
        }
    }

    /// The answer with one object that stands as a tree.
    ///
    /// # Errors
    /// 406 for the list form.
    pub fn answer_tree(&self, code: u16, tree: Value) -> Result<Answer> {
        let document = match self.output.form {
            Form::Object | Form::AggregatedDiscovery => tree,
            Form::PartialMetadata(version) => partial_metadata(&tree, version),
            Form::Table(version) => {
                let rows = vec![self.row(&tree, version)];
                self.table(version, rows, table::table_metadata(&tree), true)
            }
            form @ Form::PartialMetadataList(_) => {
                return Err(form.mismatch(&go_type(&self.def, "")));
            }
        };
        Ok(self.answer_document(code, &document))
    }

    /// The answer with a document that is already in its form.
    #[must_use]
    pub fn answer_document(&self, code: u16, document: &Value) -> Answer {
        answer_document(code, document, &self.output)
    }
}

/// A document in JSON or YAML.
#[must_use]
pub fn answer_document(code: u16, document: &Value, output: &Output) -> Answer {
    let bytes: Vec<u8> = match output.encoding {
        Encoding::Json => json_bytes(document, output.pretty),
        Encoding::Yaml => hanse_wire::yaml::to_string(document).into_bytes(),
    };
    Answer::bytes(code, output.content_type(), bytes)
}

/// The Go type of an object, or of a list of them, as messages name it.
#[must_use]
pub fn go_type(def: &ResourceDef, list: &str) -> String {
    match def.flags.native {
        true => format!("*{}.{}{list}", package(&def.group), def.kind),
        false => format!("*unstructured.Unstructured{list}"),
    }
}

/// A list as one tree, without `apiVersion` and `kind` in its items where the kind wants that.
#[must_use]
pub fn list_document(renderer: &Renderer, mut items: Vec<Value>, metadata: Value) -> Value {
    let def = &renderer.def;
    if renderer.bare_items {
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.remove("apiVersion");
            item.remove("kind");
        }
    }
    json!({
        "apiVersion": def.api_version(),
        "kind": def.list_kind.as_str(),
        "metadata": metadata,
        "items": items,
    })
}

/// What stands between `apiVersion` and `kind` at the head of a canonical object, and what follows
/// the kind; as [`drop_kind`], for what has not been copied yet. `None` when it looks otherwise.
fn without_kind<'h>(head: &'h [u8], def: &ResourceDef) -> Option<(&'h [u8], &'h [u8])> {
    const KIND: &[u8] = b"\"kind\":\"";
    const NEXT: &[u8] = b"\",\"metadata\":{";
    let rest = head.strip_prefix(b"{\"apiVersion\":\"")?;
    let rest = match def.group.is_empty() {
        true => rest,
        false => rest
            .strip_prefix(def.group.as_bytes())?
            .strip_prefix(b"/")?,
    };
    let rest = rest
        .strip_prefix(def.version.as_bytes())?
        .strip_prefix(b"\",")?;
    // A field of the metadata may be called like the kind: only with what follows is it the kind.
    let mut end = rest.len();
    loop {
        let at = memchr::memmem::rfind(&rest[..end], KIND)?;
        let behind = rest[at + KIND.len()..].strip_prefix(def.kind.as_bytes());
        if behind.is_some_and(|behind| behind.starts_with(NEXT)) {
            let from = at + KIND.len() + def.kind.len() + 2;
            return Some((&rest[..at], &rest[from..]));
        }
        end = at;
    }
}

/// Takes `"apiVersion":...` and `"kind":...` out of the canonical object that begins at `start`.
///
/// Keys are sorted, so the version comes among the first and the kind shortly before the
/// metadata: that is where they are looked for first, without reading all that stands between.
/// The text looked for cannot stand inside a string, whose quotes would be escaped, nor deeper in
/// the metadata, where no `metadata` follows a kind.
fn drop_kind(out: &mut Vec<u8>, start: usize, def: &ResourceDef) {
    const METADATA: &str = "\"metadata\":{";
    let kind = format!("\"kind\":\"{}\",", def.kind);
    let text = format!("{kind}{METADATA}");
    let near = memchr::memmem::rfind(&out[start..], text.as_bytes()).map(|at| start + at);
    if let Some(at) = near.or_else(|| field_start(out, start, "kind", &kind)) {
        out.drain(at..at + kind.len());
    }
    let version = format!("\"apiVersion\":\"{}\",", def.api_version());
    let body = start + 1;
    let first = out[body..].starts_with(version.as_bytes()).then_some(body);
    if let Some(at) = first.or_else(|| field_start(out, start, "apiVersion", &version)) {
        out.drain(at..at + version.len());
    }
}

/// Where a field of the object itself stands with its key, if it is followed by another.
fn field_start(out: &[u8], start: usize, key: &str, whole: &str) -> Option<usize> {
    let value = scan::find(&out[start..], &[key])?;
    let value = value.as_ptr().addr().checked_sub(out.as_ptr().addr())?;
    let at = value.checked_sub(key.len() + 3)?;
    out[at..].starts_with(whole.as_bytes()).then_some(at)
}

/// The bytes of a large object, copied piece by piece as they are taken: a reader who takes none
/// costs no copy.
pub fn whole_object(object: &Object) -> impl Iterator<Item = Bytes> + Send + use<> {
    let (object, mut at) = (object.clone(), 0);
    std::iter::from_fn(move || {
        let mut piece = Vec::with_capacity(LIST_PIECE_BYTES);
        object.slices(|slices| slices.write_window(at, LIST_PIECE_BYTES, &mut piece));
        at += piece.len();
        (!piece.is_empty()).then(|| piece.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_go_wherever_they_stand() {
        let role = hanse_kinds::builtin::find("rbac.authorization.k8s.io", "clusterroles").unwrap();
        let check = |value: Value, left: Value| {
            let mut out = b"[".to_vec();
            hanse_json::write(&value, &mut out);
            let head = hanse_json::to_vec(&value);
            if let Some((before, behind)) = without_kind(&head, role) {
                let pieces = [b"{", before, behind].concat();
                assert_eq!(String::from_utf8_lossy(&pieces), left.to_string());
            }
            drop_kind(&mut out, 1, role);
            assert_eq!(String::from_utf8_lossy(&out[1..]), left.to_string());
        };
        let version = "rbac.authorization.k8s.io/v1";
        check(
            json!({"apiVersion": version, "kind": "ClusterRole", "metadata": {"name": "a"}}),
            json!({"metadata": {"name": "a"}}),
        );
        let rule = json!({"clusterRoleSelectors": []});
        check(
            json!({"aggregationRule": rule, "apiVersion": version, "kind": "ClusterRole",
                   "metadata": {"name": "a"}, "rules": null}),
            json!({"aggregationRule": rule, "metadata": {"name": "a"}, "rules": null}),
        );
        check(
            json!({"apiVersion": version, "kind": "ClusterRole", "lastTimestamp": null,
                   "metadata": {"name": "a"}}),
            json!({"lastTimestamp": null, "metadata": {"name": "a"}}),
        );
    }
}
