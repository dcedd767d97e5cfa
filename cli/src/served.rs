//! Tables as the server makes them: what follows from the clock (ages, that a site is Late) no
//! object says, and only the server derives.

use std::collections::BTreeMap;

use anyhow::Result;
use hanse_client::{Api, Request, Resource};
use serde_json::Value;

const TABLE: &str = "application/json;as=Table;g=meta.k8s.io;v=v1";

/// The table of a resource.
pub struct Served {
    /// The heads of the columns that `kubectl get` shows.
    pub heads: Vec<String>,
    /// Their cells, by the object's name.
    pub rows: BTreeMap<String, Vec<String>>,
}

impl Served {
    /// Asks for it.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn get(here: &Api, resource: &Resource) -> Result<Self> {
        let mut request = Request::get(resource.path(""));
        request.accept = TABLE;
        let table: Value = serde_json::from_slice(&here.raw(request).await?)?;
        let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
        let columns = list(&table["columnDefinitions"]);
        let narrow = |at: &usize| columns[*at]["priority"].as_i64().unwrap_or(0) == 0;
        let kept: Vec<usize> = (0..columns.len()).filter(narrow).collect();
        let text = |cell: &Value| match cell {
            Value::String(text) => crate::table::cell(text),
            Value::Null => crate::table::cell(""),
            other => other.to_string(),
        };
        let rows = list(&table["rows"]).into_iter().map(|row| {
            let name = row["object"]["metadata"]["name"].as_str();
            let cells = kept.iter().map(|at| text(&row["cells"][*at])).collect();
            (name.unwrap_or_default().to_owned(), cells)
        });
        Ok(Self {
            heads: kept.iter().map(|at| text(&columns[*at]["name"])).collect(),
            rows: rows.collect(),
        })
    }

    /// One cell of an object.
    #[must_use]
    pub fn cell(&self, name: &str, head: &str) -> Option<&str> {
        let at = self.heads.iter().position(|h| h == head)?;
        self.rows.get(name)?.get(at).map(String::as_str)
    }
}
