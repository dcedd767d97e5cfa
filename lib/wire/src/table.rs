//! Tables for people, and objects reduced to their metadata.
//!
//! Start at [`Column`], one column of a table, and [`table`], which puts rows together. Columns of
//! custom resources are paths ([`PrinterColumn`]); built-in kinds compute theirs elsewhere. The
//! clock is an argument: ages are relative to it.

use hanse_json::{Map, Value, get, get_str, json};

use crate::jsonpath::JsonPath;
use crate::negotiate::MetaVersion;
use crate::status::{Result, Status};
use crate::time;

/// The head of a column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// As shown, in upper case by kubectl.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// `name` marks the column with the object's name.
    pub format: String,
    /// For people.
    pub description: String,
    /// Above 0: only in wide output.
    pub priority: i64,
}

impl Column {
    /// A column of text.
    pub fn text(name: &str) -> Self {
        Column {
            name: name.to_owned(),
            kind: "string".to_owned(),
            ..Column::default()
        }
    }

    /// The first column of nearly every table.
    pub fn name() -> Self {
        Column {
            format: "name".to_owned(),
            ..Column::text("Name")
        }
    }

    /// The same column for wide output only.
    pub fn wide(self) -> Self {
        Column {
            priority: 1,
            ..self
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name, "type": self.kind, "format": self.format,
            "description": self.description, "priority": self.priority,
        })
    }
}

/// A column that a CRD defines.
#[derive(Clone, Debug, PartialEq)]
pub struct PrinterColumn {
    /// Its head.
    pub column: Column,
    /// Where its value is.
    pub path: JsonPath,
}

impl PrinterColumn {
    /// The creation date: the column of kinds that define none.
    pub fn age() -> Option<Self> {
        let path = JsonPath::parse(".metadata.creationTimestamp").ok()?;
        let column = Column {
            kind: "date".to_owned(),
            ..Column::text("Age")
        };
        Some(PrinterColumn { column, path })
    }

    /// Reads an entry of `additionalPrinterColumns`; `None` if its path cannot be read.
    pub fn from_json(entry: &Value) -> Option<Self> {
        let text = |name: &str| get_str(entry, &[name]).unwrap_or_default().to_owned();
        Some(PrinterColumn {
            path: JsonPath::parse(&text("jsonPath")).ok()?,
            column: Column {
                name: text("name"),
                kind: text("type"),
                format: text("format"),
                description: text("description"),
                priority: hanse_json::get_i64(entry, &["priority"]).unwrap_or_default(),
            },
        })
    }

    /// The cell of an object. Only the first match counts; what does not fit the type is null.
    pub fn cell(&self, object: &Value, now: i64) -> Value {
        let Some(value) = self.path.find(object).first().copied() else {
            return Value::Null;
        };
        match (self.column.kind.as_str(), value) {
            ("string", Value::String(text)) => json!(text),
            ("string", Value::Null) => json!("<no value>"),
            ("string", value) => json!(hanse_json::to_string(value)),
            ("integer", Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => json!(integer),
                (None, Some(float)) => json!(float as i64),
                (None, None) => Value::Null,
            },
            ("number", Value::Number(number)) => Value::Number(number.clone()),
            ("boolean", Value::Bool(value)) => json!(value),
            ("date", Value::String(text)) => json!(time::age(Some(text), now)),
            _ => Value::Null,
        }
    }
}

/// What of an object goes with its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    /// Reads the `includeObject` parameter.
    ///
    /// # Errors
    /// 400 for another value.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        match text {
            None | Some("" | "Metadata") => Ok(IncludeObject::Metadata),
            Some("None") => Ok(IncludeObject::None),
            Some("Object") => Ok(IncludeObject::Object),
            Some(other) => Err(Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {}: must \
                 be 'Metadata', 'Object', 'None', or empty",
                hanse_json::go::quote(other)
            ))),
        }
    }
}

/// One row of a table. The object must carry its apiVersion and kind if it is included whole.
pub fn row(cells: Vec<Value>, object: &Value, include: IncludeObject, v: MetaVersion) -> Value {
    let object = match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => partial_metadata(object, v),
        IncludeObject::Object => object.clone(),
    };
    json!({"cells": cells, "object": object})
}

/// A table. Watches send `columns` with their first event only; `metadata` is the list's, or has
/// just the resourceVersion of a single object. `rows` is a list; kinds with the default columns
/// have null instead of an empty one.
pub fn table(v: MetaVersion, columns: Option<&[Column]>, rows: Value, metadata: Value) -> Value {
    let columns = columns.map(|columns| columns.iter().map(Column::to_json).collect::<Value>());
    json!({
        "apiVersion": v.api_version(), "kind": "Table", "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}

/// The metadata that a table takes over from a list or a single object.
pub fn table_metadata(source: &Value) -> Value {
    let mut out = Map::new();
    for name in ["resourceVersion", "continue", "remainingItemCount"] {
        if let Some(value) = get(source, &["metadata", name]) {
            out.insert(name.to_owned(), value.clone());
        }
    }
    Value::Object(out)
}

/// A bookmark as a table: one row without cells whose object has the version.
pub fn bookmark(v: MetaVersion, bookmark: &Value) -> Value {
    let version = get(bookmark, &["metadata", "resourceVersion"]).cloned();
    let row = json!({"cells": [], "object": bookmark});
    table(v, None, json!([row]), json!({"resourceVersion": version}))
}

/// A Status as a table: what a deletion answers to a client that wants tables.
pub fn status_table(v: MetaVersion, status: &Status) -> Value {
    let columns = ["Status", "Reason", "Message"].map(Column::text);
    let text = if status.success { "Success" } else { "Failure" };
    let cells = json!([text, status.reason.as_str(), status.message]);
    let row = json!({"cells": cells, "object": status.to_json()});
    table(v, Some(&columns), json!([row]), json!({}))
}

/// The columns and cells of kinds that define none: name and creation time.
pub fn default_columns() -> Vec<Column> {
    let created = Column {
        kind: "date".to_owned(),
        ..Column::text("Created At")
    };
    vec![Column::name(), created]
}

/// See [`default_columns`].
pub fn default_cells(object: &Value) -> Vec<Value> {
    let metadata = |name: &str| {
        get(object, &["metadata", name])
            .cloned()
            .unwrap_or_default()
    };
    vec![metadata("name"), metadata("creationTimestamp")]
}

/// An object with nothing but its metadata.
pub fn partial_metadata(object: &Value, v: MetaVersion) -> Value {
    let metadata = get(object, &["metadata"])
        .cloned()
        .unwrap_or_else(|| json!({}));
    json!({"apiVersion": v.api_version(), "kind": "PartialObjectMetadata", "metadata": metadata})
}

/// A list of objects with nothing but their metadata.
pub fn partial_metadata_list(items: Vec<Value>, list_metadata: Value, v: MetaVersion) -> Value {
    json!({
        "apiVersion": v.api_version(), "kind": "PartialObjectMetadataList",
        "metadata": list_metadata, "items": items,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_follow_the_type() {
        let object = json!({"spec": {"s": "x", "n": 3, "f": 2.7, "b": true, "m": {"k": 1}},
                            "metadata": {"creationTimestamp": "1970-01-01T00:00:00Z"}});
        let cell = |path: &str, kind: &str| {
            let entry = json!({"name": "X", "type": kind, "jsonPath": path});
            PrinterColumn::from_json(&entry)
                .unwrap()
                .cell(&object, 300_000_000)
        };
        assert_eq!(cell(".spec.s", "string"), json!("x"));
        assert_eq!(cell(".spec.n", "string"), json!("3"));
        assert_eq!(cell(".spec.m", "string"), json!("{\"k\":1}"));
        assert_eq!(cell(".spec.n", "integer"), json!(3));
        assert_eq!(cell(".spec.f", "integer"), json!(2));
        assert_eq!(cell(".spec.s", "integer"), Value::Null);
        assert_eq!(cell(".spec.b", "boolean"), json!(true));
        assert_eq!(cell(".spec.none", "string"), Value::Null);
        assert_eq!(cell(".metadata.creationTimestamp", "date"), json!("5m"));
        assert_eq!(cell(".spec.s", "date"), json!("<invalid>"));
    }

    #[test]
    fn tables_have_upstreams_shape() {
        let object = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "a"}, "d": 1});
        let row = row(
            vec![json!("a")],
            &object,
            IncludeObject::Metadata,
            MetaVersion::V1,
        );
        assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
        assert_eq!(row["object"]["metadata"]["name"], "a");
        assert!(row["object"].get("d").is_none());
        let list = json!({"metadata": {"resourceVersion": "5", "continue": "c", "x": 1}});
        let columns = [Column::name()];
        let table = table(
            MetaVersion::V1,
            Some(&columns),
            json!([row]),
            table_metadata(&list),
        );
        assert_eq!(
            table["metadata"],
            json!({"resourceVersion": "5", "continue": "c"})
        );
        assert_eq!(
            table["columnDefinitions"][0],
            json!({"name": "Name", "type": "string", "format": "name", "description": "",
                   "priority": 0})
        );
        assert_eq!(IncludeObject::parse(Some("All")).unwrap_err().code, 400);
    }
}
