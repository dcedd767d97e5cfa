//! The hub's side of joining: certificate requests in inboxes, approved and signed, or denied.
//!
//! Two may ask: a bootstrap account, once, and the syncer itself, to renew. Invariant: a Site
//! belongs to one physical cluster (by the uid of its kube-system) until it is forgotten, and a
//! token makes at most one certificate: approval and the mark on the account are one commit.

use hanse_apis::sites::{self, SiteSpec, SiteStatus, names};
use hanse_auth::authority::{Order, Subject};
use hanse_auth::token::account_user;
use hanse_cache::{DocumentError, Object};
use serde_json::{Value, json};

use crate::join::ACCOUNT_PREFIX;
use crate::limits::REQUEST_KEPT;
use crate::run::Sites;
use crate::turn::{Turn, annotate};

/// Annotation on a bootstrap account: name of the request that it was used for.
pub const USED_ANNOTATION: &str = "sites.hanse.dev/used-for";

/// Looks at one certificate request in an inbox.
///
/// # Errors
/// A tree that is no object.
pub fn reconcile(sites: &Sites, cluster: &str, name: &str) -> Result<Turn, DocumentError> {
    let mut turn = Turn::default();
    let view = sites.tenancy.view();
    let Some(request) = view.get(&sites.ids.requests, cluster, "", name) else {
        return Ok(turn);
    };
    let mut value = request.value();
    if value["spec"]["signerName"] != names::SIGNER || request.is_deleting() {
        return Ok(turn);
    }
    let Some(site) = sites.site_of_inbox(cluster) else {
        return Ok(turn);
    };
    if value["status"]["conditions"]
        .as_array()
        .is_some_and(|c| !c.is_empty())
    {
        return Ok(kept(sites, turn, &request, &value));
    }
    match decide(sites, cluster, &request, &site) {
        Ok(granted) => {
            let message = "asked for by the site's own syncer";
            settle(sites, &mut value, ("Approved", "SiteJoined", message));
            value["status"]["certificate"] =
                hanse_wire::base64::encode(granted.certificate.as_bytes()).into();
            if let Some((account, marked)) = granted.account {
                turn.update(sites.tenancy.maker(), &account, &marked)?;
            }
            if let Some(joined) = granted.site {
                turn.update(sites.tenancy.maker(), &site, &joined)?;
            }
        }
        Err(why) => settle(sites, &mut value, ("Denied", "NotAllowed", &why)),
    }
    turn.update(sites.tenancy.maker(), &request, &value)?;
    Ok(turn)
}

/// An answered request goes after a while.
fn kept(sites: &Sites, mut turn: Turn, request: &Object, value: &Value) -> Turn {
    let made = value["metadata"]["creationTimestamp"]
        .as_str()
        .and_then(hanse_wire::time::parse);
    let age = sites.seconds() - made.unwrap_or(0) / 1_000_000;
    let left = i64::try_from(REQUEST_KEPT.as_secs()).unwrap_or(0) - age;
    match u64::try_from(left) {
        Ok(left) if left > 0 => turn.again_in(std::time::Duration::from_secs(left)),
        _ => turn.writes.push(hanse_tenancy::Maker::delete(request)),
    }
    turn
}

/// What goes with an approval.
struct Granted {
    certificate: String,
    /// The bootstrap account, and how it looks when it is used.
    account: Option<(Object, Value)>,
    /// How the Site looks when the cluster has joined.
    site: Option<Value>,
}

fn decide(
    sites: &Sites,
    cluster: &str,
    request: &Object,
    site: &Object,
) -> Result<Granted, String> {
    let value = request.value();
    let mut joined = site.value();
    let spec: SiteSpec = sites::read(&joined, "spec").unwrap_or_default();
    let mut status: SiteStatus = sites::read(&joined, "status").unwrap_or_default();
    if site.is_deleting() {
        return Err("the site is being forgotten".into());
    }
    let uid = request
        .annotation(names::CLUSTER_UID_ANNOTATION)
        .unwrap_or_default()
        .into_owned();
    if uid.is_empty() {
        return Err("the request does not name the physical cluster".into());
    }
    if !status.cluster_uid.is_empty() && status.cluster_uid != uid {
        return Err(format!(
            "the site has been joined by cluster {}; forget it before another one joins",
            status.cluster_uid
        ));
    }
    let user = value["spec"]["username"].as_str().unwrap_or_default();
    let account = if user == format!("{}{cluster}", names::SYNCER_USER) {
        None
    } else {
        Some(bootstrap_account(
            sites,
            cluster,
            user,
            &request.key().name,
        )?)
    };
    let pem = value["spec"]["request"].as_str().unwrap_or_default();
    let pem = hanse_wire::base64::decode(pem).map_err(|_| "spec.request is not base64")?;
    let pem = String::from_utf8(pem).map_err(|_| "spec.request is not PEM")?;
    let mut serial = [0u8; 16];
    sites.tenancy.maker().seams().rng.fill(&mut serial);
    let subject = Subject::Named {
        organization: &format!("{}{cluster}", names::SYNCER_GROUP),
        name: &format!("{}{cluster}", names::SYNCER_USER),
    };
    let order = Order {
        request: &pem,
        subject,
        now: sites.seconds(),
        seconds: spec.certificate(),
        serial,
    };
    let certificate = sites.authority.sign(&order).map_err(|e| e.to_string())?;
    let site = status.cluster_uid.is_empty().then(|| {
        status.cluster_uid = uid;
        sites::write(&mut joined, "status", &status);
        joined
    });
    Ok(Granted {
        certificate,
        account,
        site,
    })
}

fn bootstrap_account(
    sites: &Sites,
    cluster: &str,
    user: &str,
    request: &str,
) -> Result<(Object, Value), String> {
    let prefix = account_user(names::LEASE_NAMESPACE, ACCOUNT_PREFIX);
    let no = || format!("user {user:?} may not join a site");
    let rest = user.strip_prefix(&prefix).ok_or_else(no)?;
    let view = sites.tenancy.view();
    let name = format!("{ACCOUNT_PREFIX}{rest}");
    let of = &view.resources().service_accounts;
    let account = view
        .get(of, cluster, names::LEASE_NAMESPACE, &name)
        .ok_or_else(no)?;
    if account.annotation(USED_ANNOTATION).is_some() {
        return Err("this token has been used; ask the operator for another".into());
    }
    let mut marked = account.value();
    annotate(&mut marked, USED_ANNOTATION, Some(request));
    Ok((account, marked))
}

fn settle(sites: &Sites, value: &mut Value, (kind, reason, message): (&str, &str, &str)) {
    let now = sites.now();
    value["status"]["conditions"] = json!([{
        "type": kind, "status": "True", "reason": reason, "message": message,
        "lastUpdateTime": now, "lastTransitionTime": now,
    }]);
}
