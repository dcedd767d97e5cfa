//! The operator's side of joining: a Secret that asks for, and then holds, a bootstrap kubeconfig.
//!
//! Like Kubernetes' token Secrets: whoever may create and read Secrets in the Site's workspace may
//! let a cluster join. Invariant: the token is good for one certificate request, in one inbox, for
//! an hour.

use hanse_apis::sites::names;
use hanse_auth::token::{Private, Reference, Wanted};
use hanse_cache::{ClusterName, DocumentError};
use hanse_tenancy::Draft;
use serde_json::{Value, json};

use crate::inbox;
use crate::limits::{SOON, TOKEN_SECONDS};
use crate::run::Sites;
use crate::turn::{Turn, annotate};

/// Annotation on a Secret that could not be served: why.
pub const ERROR_ANNOTATION: &str = "sites.hanse.dev/error";
/// What the names of bootstrap accounts begin with.
pub const ACCOUNT_PREFIX: &str = "bootstrap-";

/// Serves one Secret of type `sites.hanse.dev/join`.
///
/// # Errors
/// A tree that is no object.
pub fn reconcile(
    sites: &Sites,
    cluster: &str,
    namespace: &str,
    name: &str,
) -> Result<Turn, DocumentError> {
    let mut turn = Turn::default();
    let view = sites.tenancy.view();
    let of = view.resources();
    let Some(secret) = view.get(&of.secrets, cluster, namespace, name) else {
        return Ok(turn);
    };
    let asks = secret
        .text(&["type"])
        .is_some_and(|t| t == names::JOIN_SECRET_TYPE);
    if !asks || secret.is_deleting() || secret.raw(&["data", names::JOIN_SECRET_KEY]).is_some() {
        return Ok(turn);
    }
    let mut value = secret.value();
    let wanted = secret
        .annotation(names::SITE_ANNOTATION)
        .unwrap_or_default()
        .into_owned();
    let site = view.get(&sites.ids.sites, cluster, "", &wanted);
    let Some(site) = site.filter(|s| !s.is_deleting()) else {
        let why = format!("there is no Site {wanted:?} in this workspace");
        annotate(&mut value, ERROR_ANNOTATION, Some(&why));
        turn.update(sites.tenancy.maker(), &secret, &value)?;
        return Ok(turn);
    };
    let inbox = inbox::name(&site);
    if view.logical_cluster(&inbox).is_none() {
        turn.again_in(SOON);
        return Ok(turn);
    }
    let Some(token) = account(sites, &mut turn, &inbox)? else {
        return Ok(turn);
    };
    annotate(&mut value, ERROR_ANNOTATION, None);
    let config = kubeconfig(sites, &inbox, &token);
    value["data"][names::JOIN_SECRET_KEY] =
        hanse_wire::base64::encode(config.to_string().as_bytes()).into();
    turn.update(sites.tenancy.maker(), &secret, &value)?;
    Ok(turn)
}

/// A fresh account in the inbox that may ask for a certificate, and a token for it.
fn account(
    sites: &Sites,
    turn: &mut Turn,
    inbox: &ClusterName,
) -> Result<Option<String>, DocumentError> {
    let tenancy = &sites.tenancy;
    let maker = tenancy.maker();
    let of = tenancy.view().resources();
    let name = format!("{ACCOUNT_PREFIX}{:016x}", maker.seams().rng.u64());
    let mut account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name},
    });
    maker.stamp(&mut account, &maker.now());
    let uid = account["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let now = u64::try_from(sites.seconds()).unwrap_or(0);
    let token = sites.signer.mint(Wanted {
        account: Private {
            cluster: inbox.to_string(),
            namespace: names::LEASE_NAMESPACE.into(),
            secret: None,
            serviceaccount: Reference {
                name: name.clone(),
                uid,
            },
        },
        audiences: sites.audiences.clone(),
        seconds: TOKEN_SECONDS,
        now,
        id: maker.seams().rng.uuid_v4(),
    });
    let token = match token {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(%error, "no bootstrap token can be made");
            return Ok(None);
        }
    };
    let account = Draft::new(&of.service_accounts, account).within(names::LEASE_NAMESPACE);
    turn.create(maker, inbox, account)?;
    let subject = json!({
        "kind": "ServiceAccount", "namespace": names::LEASE_NAMESPACE, "name": name,
    });
    let binding = inbox::binding(&format!("hanse:{name}"), inbox::JOIN_ROLE, subject);
    turn.create(maker, inbox, Draft::new(&of.cluster_role_bindings, binding))?;
    Ok(Some(token))
}

fn kubeconfig(sites: &Sites, inbox: &ClusterName, token: &str) -> Value {
    let ca = hanse_wire::base64::encode(sites.tenancy.shard().ca_pem.as_bytes());
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "hub",
        "clusters": [{"name": "hub", "cluster": {
            "server": inbox::url(sites, inbox), "certificate-authority-data": ca,
        }}],
        "users": [{"name": "bootstrap", "user": {"token": token}}],
        "contexts": [{"name": "hub", "context": {"cluster": "hub", "user": "bootstrap"}}],
    })
}
