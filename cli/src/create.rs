//! `kubectl ws create` and `kubectl create workspace`: a new workspace below the current one.
//!
//! Invariant: what is printed as ready answers requests; a context is written only then.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use hanse_wire::selector::{LabelSelector, Operator};
use serde_json::{Map, Value, json};

use crate::advice::advise;
use crate::enter::{add_context, enter};
use crate::session::Session;
use crate::wait;
use crate::ws::{type_text, workspaces};

/// How long a new workspace may take until it is ready.
const READY_WAIT: Duration = Duration::from_secs(60);

/// What is created.
#[derive(clap::Args)]
pub struct Create {
    /// Name of the workspace.
    name: String,
    /// Its type, as `name` or `root:path:name`; what the current workspace's type prescribes, or
    /// `universal`, when it is not given.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Enters the workspace once it is ready.
    #[arg(long)]
    enter: bool,
    /// Does not fail when it is there already.
    #[arg(long)]
    ignore_existing: bool,
    /// Only shards with these labels may hold it: `key=value,other in (a,b),!third`.
    #[arg(long, value_name = "SELECTOR")]
    location_selector: Option<String>,
    /// Makes a kubeconfig context of this name for it; stays in the current one without --enter.
    #[arg(long, value_name = "NAME")]
    create_context: Option<String>,
}

/// Creates.
///
/// # Errors
/// What the user is to read.
pub async fn run(session: &mut Session, create: &Create) -> Result<()> {
    let here = session.here();
    let object = object(create)?;
    let workspace = match here.create(&workspaces(), &object).await {
        Ok(workspace) => workspace,
        Err(error) if error.is_already_exists() && create.ignore_existing => {
            let found = here.get(&workspaces(), "", &create.name).await?;
            same_type(&found, &object, create)?;
            found
        }
        Err(error) => return Err(error.into()),
    };
    let workspace = if is_ready(&workspace) {
        Some(workspace)
    } else {
        wait::until(READY_WAIT, async || {
            let found = here.find(&workspaces(), "", &create.name).await?;
            Ok(found.filter(is_ready))
        })
        .await?
    };
    let Some(workspace) = workspace else {
        let name = &create.name;
        return Err(advise(
            format!("workspace {name:?} is not ready after {READY_WAIT:?}"),
            format!("`kubectl get workspace {name} -o yaml` shows the condition that it waits for"),
        ));
    };
    println!(
        "Workspace {:?} (type {}) is ready to use.",
        create.name,
        type_text(&workspace)
    );
    if let Some(name) = &create.create_context {
        let url = workspace["spec"]["URL"].as_str().unwrap_or_default();
        add_context(session, name, url, true)?;
        if create.enter {
            session.content["current-context"] = name.as_str().into();
        }
        session.save()?;
        println!("Created context {name:?}.");
    } else if create.enter {
        let path = format!("{}:{}", session.path, create.name);
        enter(session, &path).await?;
    }
    Ok(())
}

fn is_ready(workspace: &Value) -> bool {
    workspace["status"]["phase"] == "Ready"
}

fn object(create: &Create) -> Result<Value> {
    let mut object = json!({
        "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace",
        "metadata": {"name": create.name},
    });
    if let Some(kind) = &create.kind {
        object["spec"]["type"] = match kind.rsplit_once(':') {
            Some((path, name)) => {
                json!({"name": name.to_lowercase(), "path": path.trim_start_matches(':')})
            }
            None => json!({"name": kind.to_lowercase()}),
        };
    }
    if let Some(text) = &create.location_selector {
        object["spec"]["location"]["selector"] = selector(text)?;
    }
    Ok(object)
}

/// A workspace that is there already is the wished one only if it has the wished type.
fn same_type(found: &Value, wished: &Value, create: &Create) -> Result<()> {
    let (found, wished) = (&found["spec"]["type"], &wished["spec"]["type"]);
    let differs = |key: &str| !wished[key].is_null() && wished[key] != found[key];
    if differs("name") || differs("path") {
        bail!(
            "workspace {:?} cannot be created with type {}, it already exists with type {}",
            create.name,
            create.kind.as_deref().unwrap_or_default(),
            type_text(&json!({"spec": {"type": found}}))
        );
    }
    Ok(())
}

/// A label selector as kubectl writes it, as an object.
fn selector(text: &str) -> Result<Value> {
    let parsed = LabelSelector::parse(text)
        .map_err(|status| anyhow!("--location-selector: {}", status.message))?;
    let (mut labels, mut expressions) = (Map::new(), Vec::new());
    for requirement in parsed.requirements() {
        let (key, values) = (&requirement.key, &requirement.values);
        let operator = match requirement.operator {
            Operator::Equals | Operator::DoubleEquals => {
                labels.insert(key.clone(), json!(values.first()));
                continue;
            }
            Operator::In => "In",
            Operator::NotIn | Operator::NotEquals => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
            Operator::GreaterThan | Operator::LessThan => {
                bail!("--location-selector: {key}: labels of shards are not compared by size")
            }
        };
        let mut expression = json!({"key": key, "operator": operator});
        if !values.is_empty() {
            expression["values"] = json!(values);
        }
        expressions.push(expression);
    }
    let mut selector = Map::new();
    if !labels.is_empty() {
        selector.insert("matchLabels".into(), labels.into());
    }
    if !expressions.is_empty() {
        selector.insert("matchExpressions".into(), expressions.into());
    }
    Ok(selector.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(kind: Option<&str>, location: Option<&str>) -> Create {
        Create {
            name: "team".into(),
            kind: kind.map(str::to_owned),
            enter: false,
            ignore_existing: false,
            location_selector: location.map(str::to_owned),
            create_context: None,
        }
    }

    #[test]
    fn type_and_location_stand_in_the_object() {
        let location = "region=eu,!old,zone notin (b)";
        let made = object(&create(Some("root:Universal"), Some(location))).unwrap();
        assert_eq!(
            made["spec"]["type"],
            json!({"name": "universal", "path": "root"})
        );
        let selector = &made["spec"]["location"]["selector"];
        assert_eq!(selector["matchLabels"], json!({"region": "eu"}));
        assert_eq!(
            selector["matchExpressions"],
            json!([
                {"key": "old", "operator": "DoesNotExist"},
                {"key": "zone", "operator": "NotIn", "values": ["b"]},
            ])
        );
        assert!(object(&create(None, None)).unwrap().get("spec").is_none());
        assert!(object(&create(None, Some("a in"))).is_err());
    }

    #[test]
    fn an_existing_workspace_of_another_type_is_not_taken_for_the_wished_one() {
        let found = json!({"spec": {"type": {"name": "universal", "path": "root"}}});
        for (kind, same) in [
            (None, true),
            (Some("universal"), true),
            (Some("root:universal"), true),
            (Some("root:team"), false),
            (Some("root:org:universal"), false),
        ] {
            let create = create(kind, None);
            let wished = object(&create).unwrap();
            assert_eq!(
                same_type(&found, &wished, &create).is_ok(),
                same,
                "{kind:?}"
            );
        }
    }
}
