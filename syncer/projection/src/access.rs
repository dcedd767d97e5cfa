//! How Pods reach the workspace's API from below (rule 9).
//!
//! Start at [`give`]: every container of a pod spec gets a projected volume with a kubeconfig, a
//! token and the authority, and `KUBECONFIG` points there. What stands in the volume is the
//! syncer's to bring and to renew ([`content`]). Invariant: a container that sets `KUBECONFIG` or
//! uses the path itself is left as it is; the token is of the Pod's own ServiceAccount.

use std::collections::BTreeSet;

use hanse_apis::sites::Access;
use serde_json::{Value, json};

use crate::steps::{Edit, Steps};

/// Where containers find it.
pub const PATH: &str = "/var/run/secrets/sites.hanse.dev/api";
/// Name of the volume.
const VOLUME: &str = "hanse-api";

/// Name of the Secret below that holds what a ServiceAccount's Pods need.
#[must_use]
pub fn secret_name(account: &str) -> String {
    format!("hanse-api.{account}")
}

/// Gives the Pods at these paths their way to the workspace; answers the ServiceAccounts that
/// they are.
#[must_use]
pub fn give(body: &mut Value, pods: &[Steps]) -> Vec<String> {
    let mut accounts = BTreeSet::new();
    for path in pods {
        let given: Result<(), ()> = path.edit(body, &mut |found| {
            Ok(match found.filter(|spec| spec["containers"].is_array()) {
                Some(spec) => {
                    let mut spec = spec.clone();
                    accounts.insert(one(&mut spec));
                    Edit::Set(spec)
                }
                None => Edit::Keep,
            })
        });
        // Nobody asked here fails.
        debug_assert!(given.is_ok());
    }
    accounts.into_iter().collect()
}

fn one(spec: &mut Value) -> String {
    let account = spec["serviceAccountName"]
        .as_str()
        .filter(|a| !a.is_empty());
    let account = account.unwrap_or("default").to_owned();
    let volume = json!({
        "name": VOLUME,
        "projected": {"sources": [{"secret": {"name": secret_name(&account)}}]},
    });
    push(spec, "volumes", volume, "name");
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            let mount = json!({"name": VOLUME, "mountPath": PATH, "readOnly": true});
            push(container, "volumeMounts", mount, "mountPath");
            let variable = json!({"name": "KUBECONFIG", "value": format!("{PATH}/kubeconfig")});
            push(container, "env", variable, "name");
        }
    }
    // Asking for lists that are not there has made nulls.
    if let Some(map) = spec.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    account
}

/// Adds an element unless one with the same key is there.
fn push(holder: &mut Value, list: &str, element: Value, key: &str) {
    match holder[list].as_array_mut() {
        Some(all) if all.iter().any(|e| e[key] == element[key]) => {}
        Some(all) => all.push(element),
        None => holder[list] = json!([element]),
    }
}

/// What stands in the volume, as the `stringData` of a Secret.
#[must_use]
pub fn content(access: &Access, namespace: &str, token: &str) -> Value {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "workspace",
        "clusters": [{"name": "workspace", "cluster": {
            "server": access.server, "certificate-authority": "ca.crt",
        }}],
        "users": [{"name": "pod", "user": {"tokenFile": "token"}}],
        "contexts": [{"name": "workspace", "context": {
            "cluster": "workspace", "user": "pod", "namespace": namespace,
        }}],
    });
    json!({
        "kubeconfig": config.to_string(), "token": token, "ca.crt": access.authority,
        "namespace": namespace,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_get_the_way_and_keep_their_own() {
        let mut body = json!({"spec": {"template": {"spec": {
            "serviceAccountName": "runner",
            "containers": [
                {"name": "a"},
                {"name": "b", "env": [{"name": "KUBECONFIG", "value": "mine"}],
                 "volumeMounts": [{"name": "own", "mountPath": PATH}]},
            ],
        }}}});
        let pods = [Steps::parse("spec.template.spec").unwrap()];
        assert_eq!(give(&mut body, &pods), ["runner"]);
        let again = {
            let mut again = body.clone();
            assert_eq!(give(&mut again, &pods), ["runner"]);
            again
        };
        assert_eq!(body, again, "giving twice is giving once");
        let spec = &body["spec"]["template"]["spec"];
        let source = json!([{"secret": {"name": "hanse-api.runner"}}]);
        assert_eq!(spec["volumes"][0]["projected"]["sources"], source);
        assert!(spec.get("initContainers").is_none());
        let (a, b) = (&spec["containers"][0], &spec["containers"][1]);
        assert_eq!(a["volumeMounts"][0]["mountPath"], PATH);
        assert_eq!(a["env"][0]["value"], format!("{PATH}/kubeconfig"));
        assert_eq!(b["env"][0]["value"], "mine");
        assert_eq!(b["volumeMounts"].as_array().unwrap().len(), 1);
        assert!(give(&mut json!({"spec": {}}), &pods).is_empty());
    }

    #[test]
    fn the_kubeconfig_names_the_files_beside_it() {
        let access = Access {
            server: "https://hub/clusters/c".into(),
            authority: "PEM".into(),
            ..Access::default()
        };
        let content = content(&access, "shop", "t");
        let config: Value = serde_json::from_str(content["kubeconfig"].as_str().unwrap()).unwrap();
        assert_eq!(config["users"][0]["user"]["tokenFile"], "token");
        assert_eq!(
            config["clusters"][0]["cluster"]["server"],
            "https://hub/clusters/c"
        );
        assert_eq!(
            (&content["token"], &content["ca.crt"]),
            (&json!("t"), &json!("PEM"))
        );
    }
}
