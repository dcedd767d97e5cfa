//! `crd snapshot`, and what it shares with `import`: a CustomResourceDefinition as an
//! APIResourceSchema.
//!
//! Invariant: the schema serves what the CRD serves. Versions that are neither served nor stored
//! are left out, and several versions are said not to be converted, because a conversion webhook
//! cannot be taken along.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::advice::advise;

/// The annotation with which groups of Kubernetes' community say that somebody approved them.
pub const APPROVED: &str = "api-approved.kubernetes.io";

/// What can be done with CustomResourceDefinitions.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Prints the APIResourceSchemas for the CustomResourceDefinitions in a file.
    ///
    /// Nothing is asked of a server. Schemas cannot change, so each snapshot has a prefix of its
    /// own, such as a date.
    #[command(after_help = EXAMPLES)]
    Snapshot(Flags),
}

const EXAMPLES: &str = "\
Examples:
  kubectl hanse crd snapshot -f crd.yaml --prefix v240901 | kubectl apply -f -
  kubectl get crds -o yaml | kubectl hanse crd snapshot -f - --prefix v240901 -o json

Then name the schemas in an APIExport: `kubectl explain apiexport.spec.resources`.";

/// What is read and how it is printed.
#[derive(clap::Args)]
pub struct Flags {
    /// File with CustomResourceDefinitions, in YAML or JSON; `-` is standard input.
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,
    /// First part of the schemas' names: PREFIX.plural.group.
    #[arg(long)]
    prefix: String,
    /// How the schemas are printed.
    #[arg(short, long, value_parser = ["yaml", "json"], default_value = "yaml")]
    output: String,
}

/// Runs one of the commands.
///
/// # Errors
/// What the user is to read.
pub fn run(command: &Command) -> Result<()> {
    let Command::Snapshot(flags) = command;
    let schemas = snapshot(&read(&flags.filename)?, &flags.prefix)?;
    for schema in &schemas {
        match flags.output.as_str() {
            "json" => println!("{}", serde_json::to_string_pretty(schema)?),
            _ => print!("---\n{}", serde_saphyr::to_string(schema)?),
        }
    }
    Ok(())
}

/// The text of a file; `-` is standard input.
///
/// # Errors
/// When it cannot be read.
pub fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
    }
    Ok(text)
}

/// The schemas of all CRDs in a stream of documents, lists opened.
fn snapshot(text: &str, prefix: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("not YAML")?;
    let mut schemas = Vec::new();
    for document in documents {
        let listed = match document["items"].as_array() {
            Some(items) => items.clone(),
            None => vec![document],
        };
        for crd in listed.iter().filter(|d| !d.is_null()) {
            if crd["kind"] != "CustomResourceDefinition" {
                bail!("{} is not a CustomResourceDefinition", crd["kind"]);
            }
            let of = |key: &str| crd["metadata"][key].as_str().unwrap_or_default();
            let approved = crd["metadata"]["annotations"][APPROVED].as_str();
            let name = format!("{prefix}.{}", of("name"));
            schemas.push(schema(&name, spec(crd)?, approved));
        }
    }
    if schemas.is_empty() {
        return Err(advise(
            "no CustomResourceDefinition was given",
            "`kubectl get crd NAME -o yaml` prints one.",
        ));
    }
    Ok(schemas)
}

/// An APIResourceSchema.
#[must_use]
pub fn schema(name: &str, spec: Value, approved: Option<&str>) -> Value {
    let mut object = json!({
        "apiVersion": "apis.kcp.io/v1alpha1", "kind": "APIResourceSchema",
        "metadata": {"name": name}, "spec": spec,
    });
    if let Some(approved) = approved {
        object["metadata"]["annotations"] = json!({ APPROVED: approved });
    }
    object
}

/// The spec of the APIResourceSchema that says what a CustomResourceDefinition says.
///
/// # Errors
/// When it is not one.
pub fn spec(crd: &Value) -> Result<Value> {
    let source = &crd["spec"];
    let listed = source["versions"]
        .as_array()
        .context("the CRD has no versions")?;
    let mut versions = Vec::new();
    for version in listed
        .iter()
        .filter(|v| v["served"] == true || v["storage"] == true)
    {
        let mut out = Map::new();
        for key in [
            "name",
            "served",
            "storage",
            "deprecated",
            "deprecationWarning",
            "additionalPrinterColumns",
            "selectableFields",
        ] {
            if let Some(value) = version.get(key) {
                out.insert(key.to_owned(), value.clone());
            }
        }
        let schema = version["schema"]["openAPIV3Schema"].clone();
        out.insert("schema".into(), schema);
        let subresources = version
            .get("subresources")
            .cloned()
            .unwrap_or_else(|| json!({}));
        out.insert("subresources".into(), subresources);
        versions.push(Value::Object(out));
    }
    let mut names = source["names"].clone();
    if names.get("singular").is_none() {
        names["singular"] = names["kind"]
            .as_str()
            .unwrap_or_default()
            .to_lowercase()
            .into();
    }
    let mut spec = json!({
        "group": source["group"], "names": names, "scope": source["scope"], "versions": versions,
    });
    if versions_of(&spec) > 1 {
        spec["conversion"] = json!({"strategy": "None"});
    }
    Ok(spec)
}

fn versions_of(spec: &Value) -> usize {
    spec["versions"].as_array().map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crd_keeps_its_versions_and_says_that_nothing_is_converted() {
        let crd = json!({"spec": {
            "group": "g.io", "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing", "listKind": "ThingList"},
            "versions": [
                {"name": "v1", "served": true, "storage": true,
                 "schema": {"openAPIV3Schema": {"type": "object"}},
                 "subresources": {"status": {}}},
                {"name": "v1beta1", "served": true, "storage": false,
                 "schema": {"openAPIV3Schema": {"type": "object"}}},
                {"name": "v1alpha1", "served": false, "storage": false,
                 "schema": {"openAPIV3Schema": {"type": "object"}}},
            ],
            "conversion": {"strategy": "Webhook", "webhook": {}},
        }});
        let spec = super::spec(&crd).unwrap();
        assert_eq!(versions_of(&spec), 2);
        assert_eq!(spec["conversion"], json!({"strategy": "None"}));
        assert_eq!(spec["names"]["singular"], "thing");
        assert_eq!(spec["versions"][0]["schema"], json!({"type": "object"}));
        assert_eq!(spec["versions"][1]["subresources"], json!({}));
    }

    #[test]
    fn every_document_and_every_item_of_a_list_becomes_a_schema() {
        let crd = |name: &str| {
            format!(
                "kind: CustomResourceDefinition\nmetadata: {{name: {name}.g.io, annotations: \
                 {{api-approved.kubernetes.io: yes-really}}}}\nspec: {{group: g.io, names: \
                 {{plural: {name}, kind: K}}, scope: Cluster, versions: [{{name: v1, served: true, \
                 storage: true, schema: {{openAPIV3Schema: {{type: object}}}}}}]}}\n"
            )
        };
        let text = format!("---\n{}---\n{}", crd("a"), crd("b"));
        let schemas = snapshot(&text, "v1").unwrap();
        let names: Vec<&Value> = schemas.iter().map(|s| &s["metadata"]["name"]).collect();
        assert_eq!(names, ["v1.a.g.io", "v1.b.g.io"]);
        assert_eq!(
            schemas[0]["metadata"]["annotations"][APPROVED],
            "yes-really"
        );
        let list = r#"{"kind": "List", "items": []}"#;
        assert!(snapshot(list, "v1").is_err());
        assert!(snapshot("kind: ConfigMap", "v1").is_err());
    }
}
