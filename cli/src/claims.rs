//! `claims`: what the owners of bound APIs may do in the current workspace, and saying yes or no.
//!
//! Invariant: only claims that stand in the binding's spec are changed; one that the export has
//! added since is shown as undecided, and `accept` and `reject` add it when it is named.

use anyhow::{Result, bail};
use hanse_client::List;
use serde_json::{Value, json};

use crate::bind::{bindings, group_resource};
use crate::session::Session;
use crate::table::{cell, table};

/// What can be done with claims.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Lists the claims of the current workspace's APIBindings.
    #[command(after_help = EXAMPLES)]
    Get(Which),
    /// Accepts claims: the export's owner may work with these objects.
    Accept(Which),
    /// Rejects claims.
    Reject(Which),
}

const EXAMPLES: &str = "\
Examples:
  kubectl hanse claims get apibinding
  kubectl hanse claims accept apibinding databases --resource secrets.core
  kubectl hanse claims reject apibinding databases";

/// Which binding, and which of its claims.
#[derive(clap::Args)]
pub struct Which {
    /// Always `apibinding`.
    #[arg(value_parser = ["apibinding", "apibindings"])]
    kind: String,
    /// Its name; all of them when it is not given (`get` only).
    name: Option<String>,
    /// Only the claim for this resource.
    #[arg(long, value_name = "RESOURCE.GROUP")]
    resource: Option<String>,
    /// Only the claim with this identity.
    #[arg(long, value_name = "HASH")]
    identity_hash: Option<String>,
}

/// Runs one of the commands.
///
/// # Errors
/// What the user is to read.
pub async fn run(session: &Session, command: &Command) -> Result<()> {
    match command {
        Command::Get(which) => get(session, which).await,
        Command::Accept(which) => decide(session, which, "Accepted").await,
        Command::Reject(which) => decide(session, which, "Rejected").await,
    }
}

async fn get(session: &Session, which: &Which) -> Result<()> {
    let here = session.here();
    let found = match &which.name {
        Some(name) => vec![here.get(&bindings(), "", name).await?],
        None => here.list(&bindings(), &List::default()).await?.items,
    };
    let mut rows = Vec::new();
    for binding in &found {
        let name = binding["metadata"]["name"].as_str().unwrap_or_default();
        let listed = list(&binding["spec"]["permissionClaims"]);
        let decided = listed
            .iter()
            .map(|c| (c, c["state"].as_str().unwrap_or_default()));
        let exported = list(&binding["status"]["exportPermissionClaims"]);
        let open = exported.iter().filter(|e| state(binding, e).is_none());
        for (claim, state) in decided.chain(open.map(|c| (c, "Undecided"))) {
            if which.fits(claim)? {
                rows.push(vec![
                    name.to_owned(),
                    words(claim),
                    verbs(claim),
                    cell(state),
                ]);
            }
        }
    }
    if rows.is_empty() {
        eprintln!("No permission claims found in workspace {}.", session.path);
        return Ok(());
    }
    print!(
        "{}",
        table(&["Apibinding", "Resource", "Verbs", "State"], &rows)
    );
    Ok(())
}

async fn decide(session: &Session, which: &Which, state: &str) -> Result<()> {
    let Some(name) = &which.name else {
        bail!("name the APIBinding: `kubectl get apibindings` lists them");
    };
    let here = session.here();
    let mut binding = here.get(&bindings(), "", name).await?;
    let changed = set(&mut binding, which, state)?;
    if changed.is_empty() {
        bail!("APIBinding {name} has no such claim: `kubectl hanse claims get apibinding {name}`");
    }
    here.update(&bindings(), &binding, "").await?;
    for claim in changed {
        println!("{claim} of apibinding/{name} {}", state.to_lowercase());
    }
    Ok(())
}

/// Sets the state of the chosen claims; answers which they are.
fn set(binding: &mut Value, which: &Which, state: &str) -> Result<Vec<String>> {
    let mut claims = list(&binding["spec"]["permissionClaims"]);
    for exported in list(&binding["status"]["exportPermissionClaims"]) {
        if self::state(binding, &exported).is_none() && which.fits(&exported)? {
            claims.push(from_export(&exported));
        }
    }
    let mut changed = Vec::new();
    for claim in &mut claims {
        if which.fits(claim)? {
            claim["state"] = state.into();
            changed.push(words(claim));
        }
    }
    binding["spec"]["permissionClaims"] = claims.into();
    Ok(changed)
}

fn from_export(exported: &Value) -> Value {
    let mut claim = exported.clone();
    if let Some(fields) = claim.as_object_mut() {
        let selector = fields.remove("defaultSelector");
        let selector = selector.unwrap_or_else(|| json!({"matchAll": true}));
        fields.insert("selector".into(), selector);
    }
    claim
}

impl Which {
    fn fits(&self, claim: &Value) -> Result<bool> {
        let resource = match &self.resource {
            Some(word) => {
                let (resource, group) = group_resource(word)?;
                claim["resource"] == resource && text(claim, "group") == group
            }
            None => true,
        };
        let identity = self.identity_hash.as_deref();
        Ok(resource && identity.is_none_or(|hash| text(claim, "identityHash") == hash))
    }
}

/// The exported claims of a binding that nobody has accepted or rejected, in words.
#[must_use]
pub fn undecided(binding: &Value) -> Vec<String> {
    let exported = list(&binding["status"]["exportPermissionClaims"]);
    let open = exported.iter().filter(|e| state(binding, e).is_none());
    open.map(|c| text(c, "resource").to_owned()).collect()
}

/// What the binding says about a claim of its export.
fn state<'a>(binding: &'a Value, exported: &Value) -> Option<&'a str> {
    let same = |c: &&Value| {
        ["group", "resource", "identityHash"]
            .iter()
            .all(|key| text(c, key) == text(exported, key))
    };
    let claims = binding["spec"]["permissionClaims"].as_array()?;
    claims.iter().find(same)?["state"].as_str()
}

fn list(at: &Value) -> Vec<Value> {
    at.as_array().cloned().unwrap_or_default()
}

fn text<'a>(claim: &'a Value, key: &str) -> &'a str {
    claim[key].as_str().unwrap_or_default()
}

fn words(claim: &Value) -> String {
    let group = match text(claim, "group") {
        "" => "core",
        group => group,
    };
    format!("{}.{group}", text(claim, "resource"))
}

fn verbs(claim: &Value) -> String {
    let verbs = claim["verbs"].as_array().into_iter().flatten();
    let verbs: Vec<&str> = verbs.filter_map(Value::as_str).collect();
    cell(&verbs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding() -> Value {
        json!({
            "metadata": {"name": "b"},
            "spec": {"permissionClaims": [
                {"group": "", "resource": "secrets", "verbs": ["get"], "state": "Accepted"},
            ]},
            "status": {"exportPermissionClaims": [
                {"resource": "secrets", "verbs": ["get"]},
                {"group": "g.io", "resource": "things", "verbs": ["*"], "identityHash": "abc"},
            ]},
        })
    }

    fn which(resource: Option<&str>) -> Which {
        Which {
            kind: "apibinding".into(),
            name: Some("b".into()),
            resource: resource.map(str::to_owned),
            identity_hash: None,
        }
    }

    #[test]
    fn what_the_export_added_is_undecided_until_it_is_named() {
        let mut binding = binding();
        assert_eq!(undecided(&binding), ["things"]);
        let changed = set(&mut binding, &which(Some("things.g.io")), "Rejected").unwrap();
        assert_eq!(changed, ["things.g.io"]);
        assert!(undecided(&binding).is_empty());
        let claims = &binding["spec"]["permissionClaims"];
        assert_eq!(claims[0]["state"], "Accepted");
        assert_eq!(claims[1]["identityHash"], "abc");
        assert_eq!(claims[1]["selector"], json!({"matchAll": true}));
    }

    #[test]
    fn without_a_resource_all_claims_are_meant() {
        let mut all = binding();
        let changed = set(&mut all, &which(None), "Rejected").unwrap();
        assert_eq!(changed, ["secrets.core", "things.g.io"]);
        let none = set(&mut binding(), &which(Some("pods.core")), "Rejected").unwrap();
        assert!(none.is_empty());
    }
}
