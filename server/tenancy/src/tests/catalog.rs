//! What a logical cluster serves.

use super::{admin, play};
use crate::{Catalog, Lookup};
use hanse_cache::ClusterName;
use serde_json::json;
use std::sync::Arc;

#[test]
fn bound_resources_are_served_and_surfaces_are_shared() {
    play(|world| async move {
        let view = world.tenancy.view().clone();
        let forms = world.tenancy.maker().forms().clone();
        let built_in = hanse_kinds::builtin().to_vec();
        let catalog = Catalog::new(view.clone(), forms, Vec::new(), built_in);
        let a = world.workspace(&admin(), "root", "a", None).await.unwrap();
        let b = world.workspace(&admin(), "root", "b", None).await.unwrap();
        let id = |w: &serde_json::Value| ClusterName::from(w["spec"]["cluster"].as_str().unwrap());
        let (a, b) = (id(&a), id(&b));
        let surface = catalog.surface(&a);
        assert!(Arc::ptr_eq(&surface, &catalog.surface(&b)));
        let Lookup::Found(row) = surface.find("tenancy.kcp.io", "v1alpha1", "workspaces") else {
            panic!("workspaces are not served")
        };
        assert_eq!(
            *row.storage.identity,
            *view.tenancy().unwrap().workspaces.identity()
        );
        assert!(matches!(
            surface.find("", "v1", "configmaps"),
            Lookup::Found(_)
        ));
        assert!(matches!(surface.find("", "v1", "pods"), Lookup::NotFound));
        let empty = catalog.surface(&"nowhere".into());
        assert!(matches!(
            empty.find("tenancy.kcp.io", "v1alpha1", "workspaces"),
            Lookup::NotFound
        ));
        assert_ne!(empty.hash(), surface.hash());
        let identity = view.tenancy().unwrap().workspaces.identity().to_owned();
        let wild = catalog.by_identity("tenancy.kcp.io", "v1alpha1", "workspaces", &identity);
        assert_eq!(wild.unwrap().kind, "Workspace");
        assert!(
            catalog
                .by_identity("tenancy.kcp.io", "v1alpha1", "workspaces", "x")
                .is_none()
        );
        // A CRD that is gone makes what it carried unavailable, not unknown.
        let of = view.resources().clone();
        let crds = view.list_cluster(&of.crds, "system:bound-crds");
        let one = crds
            .iter()
            .find(|c| c.value()["spec"]["names"]["plural"] == json!("workspaces"));
        world
            .tenancy
            .commit(vec![crate::Maker::delete(one.unwrap())])
            .await
            .unwrap();
        let surface = catalog.surface(&a);
        let found = surface.find("tenancy.kcp.io", "v1alpha1", "workspaces");
        assert!(matches!(found, Lookup::Unavailable));
    });
}
