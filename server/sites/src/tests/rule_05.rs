//! Rule 5: the hub's tree is what its inboxes hold, and the agreed root and time stand in the Site.

use hanse_apis::sites::names;
use hanse_cache::ClusterName;
use hanse_projection::tree::Tree;
use serde_json::{Value, json};

use super::{HOME, World, everything, play};

impl World {
    /// The site says that it is alive and holds this.
    async fn holds(&self, inbox: &str, root: &str) -> Value {
        let leases = &self.sites.ids.leases;
        let lease = self.get(leases, inbox, "default", "syncer").unwrap();
        self.change(&lease, |l| {
            l["metadata"]["annotations"][names::TREE_ANNOTATION] = json!(root);
        })
        .await;
        self.renew(inbox).await;
        self.wait(1).await;
        let site = self.get(&self.sites.ids.sites, HOME, "", "a").unwrap();
        site.value()["status"].clone()
    }
}

fn converged(status: &Value) -> Value {
    let all = status["conditions"].as_array().unwrap();
    let found = all.iter().find(|c| c["type"] == "Converged");
    found.map_or(Value::Null, |c| c["status"].clone())
}

#[test]
fn a_comparison_names_what_differs_and_nothing_else() {
    play(|w| async move {
        let inbox = w.site("a", json!({})).await;
        w.placement("p", json!({"objects": everything()})).await;
        for n in 0..20 {
            w.deployment(&format!("web{n}"), 1).await;
        }
        let cluster = ClusterName::from(inbox.as_str());
        let empty = Tree::default();
        let all = w.sites.compare(&cluster, &empty.digests()).unwrap();
        let leaves = all.buckets.iter().flat_map(|b| &b.leaves);
        assert_eq!(leaves.count(), 20);
        assert_eq!(all.root, w.sites.root(&cluster), "kept as it was computed");
        assert!(!all.version.is_empty());
        w.sync(&inbox, 1).await;
        let after = w.sites.compare(&cluster, &empty.digests()).unwrap();
        assert_eq!(after.root, w.sites.root(&cluster));
        let elsewhere = w
            .sites
            .compare(&ClusterName::from("nowhere"), &empty.digests());
        assert_eq!(
            elsewhere.unwrap().buckets.len(),
            0,
            "an empty inbox is an empty tree"
        );
    });
}

#[test]
fn agreement_is_proven_and_so_is_its_absence() {
    play(|w| async move {
        let inbox = w.site("a", json!({})).await;
        w.placement("p", json!({"objects": everything()})).await;
        w.deployment("web", 1).await;
        let cluster = ClusterName::from(inbox.as_str());
        let root = w.sites.root(&cluster);
        let status = w.holds(&inbox, &root).await;
        assert_eq!(
            (&status["convergedRoot"], converged(&status)),
            (&json!(root), json!("True"))
        );
        let when = status["convergedTime"].clone();
        // Agreeing again writes nothing; what differs for a moment is no news.
        w.wait(5).await;
        let status = w.holds(&inbox, &root).await;
        assert_eq!(status["convergedTime"], when);
        assert_eq!(converged(&w.holds(&inbox, "another").await), "True");
        for _ in 0..4 {
            w.wait(9).await;
            w.holds(&inbox, "another").await;
        }
        let status = w.holds(&inbox, "another").await;
        assert_eq!(converged(&status), "False");
        assert_eq!(
            status["convergedRoot"],
            json!(root),
            "the last that both held"
        );
        assert_eq!(converged(&w.holds(&inbox, &root).await), "True");
    });
}
