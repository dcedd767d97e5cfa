//! A Site: its inbox made, its contact derived, its end.
//!
//! Invariant: `status` is written when something turned, never because time passed: of contact
//! only entering and leaving `Lost` is written.

use std::time::Duration;

use hanse_apis::sites::{
    self, Condition, Endpoint, Inventory, SiteSpec, SiteStatus, names, quantity, set_condition,
};
use hanse_cache::{ClusterName, DocumentError, Object, Scope};
use hanse_projection::{Contact, contact};
use serde_json::Value;

use crate::inbox;
use crate::limits::{FORGET, INVENTORY_ITEMS, SOON};
use crate::run::{Key, Sites};
use crate::turn::{Turn, hold, let_go};

/// Looks at one Site.
///
/// # Errors
/// A tree that is no object.
pub fn reconcile(sites: &Sites, cluster: &str, name: &str) -> Result<Turn, DocumentError> {
    let mut turn = Turn::default();
    let view = sites.tenancy.view();
    let Some(site) = view.get(&sites.ids.sites, cluster, "", name) else {
        return Ok(turn);
    };
    let inbox = inbox::name(&site);
    sites.know_inbox(&inbox, cluster, name);
    if site.is_deleting() {
        forget(sites, &mut turn, &site, &inbox)?;
        return Ok(turn);
    }
    let mut value = site.value();
    let spec: SiteSpec = sites::read(&value, "spec").unwrap_or_default();
    let mut status: SiteStatus = sites::read(&value, "status").unwrap_or_default();
    hold(&mut value, names::SITE_FINALIZER);
    status.cluster = inbox.to_string();
    status.endpoints = vec![Endpoint {
        url: inbox::url(sites, &inbox),
    }];
    // The Site says where its inbox is before the inbox exists.
    let stands = site
        .text(&["status", "cluster"])
        .is_some_and(|c| c == inbox.as_str());
    if stands {
        if !inbox::ensure(sites, &mut turn, &inbox, &spec)? {
            turn.again_in(SOON);
        }
        let count = view
            .hub()
            .count(&sites.ids.manifests, &Scope::Cluster(inbox.clone()));
        status.objects = i64::try_from(count).unwrap_or(i64::MAX);
    } else {
        turn.again_in(Duration::ZERO);
    }
    let lease = view.get(
        &sites.ids.leases,
        &inbox,
        names::LEASE_NAMESPACE,
        names::LEASE,
    );
    heard(
        sites,
        &mut turn,
        &mut status,
        &spec,
        (&inbox, lease.as_ref()),
    );
    status.inventory = inventory(sites, &inbox).unwrap_or(status.inventory);
    conditions(sites, &mut status);
    sites::write(&mut value, "status", &status);
    turn.update(sites.tenancy.maker(), &site, &value)?;
    Ok(turn)
}

/// What the syncer says of the cluster; `None` when it says nothing that can be read.
fn inventory(sites: &Sites, inbox: &ClusterName) -> Option<Inventory> {
    let view = sites.tenancy.view();
    let namespace = names::LEASE_NAMESPACE;
    let map = view.get(
        &view.resources().config_maps,
        inbox,
        namespace,
        names::INVENTORY,
    )?;
    let text = map.text(&["data", names::INVENTORY_KEY])?;
    let mut said: Inventory = serde_json::from_str(&text).ok()?;
    for list in [
        &mut said.zones,
        &mut said.storage_classes,
        &mut said.ingress_classes,
        &mut said.resources,
    ] {
        list.truncate(INVENTORY_ITEMS);
    }
    for amounts in [&mut said.allocatable, &mut said.free] {
        amounts.retain(|_, amount| quantity::thousandths(amount).is_some());
        while amounts.len() > INVENTORY_ITEMS {
            amounts.pop_last();
        }
    }
    said.nodes = said.nodes.max(0);
    Some(said)
}

/// Takes in what the Lease says.
fn heard(
    sites: &Sites,
    turn: &mut Turn,
    status: &mut SiteStatus,
    spec: &SiteSpec,
    (inbox, lease): (&ClusterName, Option<&Object>),
) {
    let Some(lease) = lease else {
        return;
    };
    let Some(last) = sites.last_heard(inbox, lease) else {
        return;
    };
    let fact = |key: &str| {
        lease
            .annotation(key)
            .map(|v| v.into_owned())
            .unwrap_or_default()
    };
    status.kubernetes_version = fact(names::KUBERNETES_ANNOTATION);
    status.syncer_version = fact(names::SYNCER_ANNOTATION);
    status.parked = fact(names::PARKED_ANNOTATION);
    status.parked_since = fact(names::PARKED_SINCE_ANNOTATION);
    let now = sites.seconds();
    converged(
        sites,
        status,
        spec,
        inbox,
        &fact(names::TREE_ANNOTATION),
        now,
    );
    let derived = contact(last, now, &spec.times);
    let lost = derived.contact == Contact::Lost;
    // Late is derived where it is shown: a site that is heard again in time costs no write.
    let written = if lost { Contact::Lost } else { Contact::Live };
    if status.contact != written.as_str() {
        status.contact = written.as_str().to_owned();
        // Live begins now; Lost began when the interval ran out.
        status.contact_since = sites.time(if lost { derived.since } else { now });
        status.last_contact = sites.time(last);
    }
    if !lost {
        let left = last.min(now) + spec.times.lost() - now;
        let seconds = u64::try_from(left).unwrap_or(0);
        turn.again_in(Duration::from_secs(seconds) + Duration::from_millis(100));
    }
}

/// Whether hub and site hold the same: proof of convergence, and of its absence. While it works a
/// site is behind for a moment at nearly every look; what lasts for three signs of life is told.
fn converged(
    sites: &Sites,
    status: &mut SiteStatus,
    spec: &SiteSpec,
    inbox: &ClusterName,
    theirs: &str,
    now: i64,
) {
    if theirs.is_empty() {
        return;
    }
    let mut differs = sites.differs.lock();
    let (state, reason, message) = if theirs == sites.root(inbox) {
        differs.remove(inbox);
        if status.converged_root != theirs {
            theirs.clone_into(&mut status.converged_root);
            status.converged_time = sites.time(now);
        }
        ("True", "Equal", "")
    } else {
        let since = *differs.entry(inbox.clone()).or_insert(now);
        if now - since < 3 * spec.times.lease() {
            return;
        }
        let message = "the site does not hold what its inbox holds";
        ("False", "Differs", message)
    };
    let condition = Condition {
        r#type: "Converged".into(),
        status: state.into(),
        reason: reason.into(),
        message: message.into(),
        last_transition_time: sites.now(),
        observed_generation: 0,
    };
    set_condition(&mut status.conditions, condition);
}

fn conditions(sites: &Sites, status: &mut SiteStatus) {
    let parked = status.parked.clone();
    let joined = !status.cluster_uid.is_empty();
    let rows = [
        match joined {
            true => ("Joined", "True", "CertificateIssued", ""),
            false => ("Joined", "False", "NotJoined", "no syncer has joined yet"),
        },
        match status.contact.as_str() {
            "Live" => ("Connected", "True", "Live", ""),
            "Lost" => (
                "Connected",
                "False",
                "Lost",
                "the syncer has been silent for long",
            ),
            _ => (
                "Connected",
                "False",
                "NeverHeard",
                "the syncer was never heard",
            ),
        },
        match parked.as_str() {
            "" => ("Parked", "False", "Nothing", ""),
            what => ("Parked", "True", "MassChange", what),
        },
        match (joined, status.contact.as_str()) {
            (true, "Live") => ("Ready", "True", "Ready", ""),
            (true, "Lost") => ("Ready", "False", "Lost", ""),
            _ => ("Ready", "False", "NotJoined", ""),
        },
    ];
    for (kind, state, reason, message) in rows {
        let condition = Condition {
            r#type: kind.into(),
            status: state.into(),
            reason: reason.into(),
            message: message.into(),
            last_transition_time: sites.now(),
            observed_generation: 0,
        };
        set_condition(&mut status.conditions, condition);
    }
}

/// Frees everything of a site that will not return: its Manifests go without its word, then the
/// inbox, then the Site.
fn forget(
    sites: &Sites,
    turn: &mut Turn,
    site: &Object,
    inbox: &ClusterName,
) -> Result<(), DocumentError> {
    let view = sites.tenancy.view();
    let maker = sites.tenancy.maker();
    let manifests = view.list_cluster(&sites.ids.manifests, inbox);
    if !manifests.is_empty() {
        for manifest in manifests.iter().take(FORGET) {
            turn.writes.push(hanse_tenancy::Maker::delete(manifest));
        }
        turn.again_in(Duration::ZERO);
        return Ok(());
    }
    let of = view.resources();
    // Nobody gets in any more, whoever still holds a certificate or a token.
    for binding in view.list_cluster(&of.cluster_role_bindings, inbox) {
        turn.writes.push(hanse_tenancy::Maker::delete(&binding));
    }
    if let Some(cluster) = view.logical_cluster(inbox) {
        turn.delete(maker, &cluster)?;
    }
    let mut value: Value = site.value();
    let_go(&mut value, names::SITE_FINALIZER);
    turn.release(maker, site, &value)?;
    turn.wake.push(Key::Placements);
    Ok(())
}
