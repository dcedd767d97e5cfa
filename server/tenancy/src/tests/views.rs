//! Home workspaces and the rules of the virtual workspaces.

use super::{World, admin, comparable, play};
use crate::controllers::Controllers;
use crate::views::{Content, Lifecycle, Through};
use crate::{Catalog, Tenancy};
use hanse_auth::{Attributes, UserInfo};
use hanse_seams::Shutdown;
use serde_json::{Value, json};
use std::time::Duration;

fn user(name: &str) -> UserInfo {
    UserInfo::new(name, &["system:authenticated"])
}

#[test]
fn a_home_is_as_recorded() {
    play(|world| async move {
        let made = world.tenancy.home(&user("user-1")).await.unwrap();
        let golden = json!({
            "metadata": {"name": "cluster"},
            "spec": {"URL": "https://127.0.0.1:6443/clusters/285xjbwx8vocb",
                "cluster": "285xjbwx8vocb"},
            "status": {"conditions": [{"status": "True", "type": "WorkspaceInitialized"}],
                "phase": "Ready"},
        });
        assert_eq!(comparable(&made), golden);
        assert_eq!(made, world.tenancy.home(&user("user-1")).await.unwrap());
        let want = |who: &UserInfo| {
            let want = Attributes::resource(who, "create", "", "configmaps", "");
            world
                .tenancy
                .authorizer()
                .authorize(&want, Some("285xjbwx8vocb"))
                .allowed
        };
        assert!(want(&user("user-1")));
        assert!(!want(&user("user-2")));
        assert!(
            world
                .tenancy
                .view()
                .existing_cluster("user:user-1")
                .is_some()
        );
        let stranger = UserInfo::anonymous();
        let refused = world.tenancy.home(&stranger).await.unwrap_err();
        assert_eq!(refused.code, 403);
        assert!(refused.message.ends_with("workspace access not permitted"));
    });
}

/// A provider `p` with an export of widgets that claims ConfigMaps, bound in `c`.
async fn provided(world: &World) -> (String, String) {
    Controllers::new(world.tenancy.clone()).start(&Shutdown::new());
    let of = world.tenancy.view().resources().clone();
    let mut ids = Vec::new();
    for name in ["p", "c"] {
        let made = world.workspace(&admin(), "root", name, None).await.unwrap();
        ids.push(made["spec"]["cluster"].as_str().unwrap().to_owned());
    }
    let schema = json!({
        "apiVersion": "apis.kcp.io/v1alpha1", "kind": "APIResourceSchema",
        "metadata": {"name": "v1.widgets.g.io"},
        "spec": {"group": "g.io", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget",
                "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"type": "object"}}]},
    });
    world
        .create(&admin(), &ids[0], &of.api_resource_schemas, schema)
        .await
        .unwrap();
    let export = json!({
        "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIExport",
        "metadata": {"name": "widgets", "generation": 1},
        "spec": {
            "resources": [{"group": "g.io", "name": "widgets", "schema": "v1.widgets.g.io"}],
            "permissionClaims": [
                {"group": "", "resource": "configmaps", "verbs": ["get", "list", "create"]}],
        },
    });
    world
        .create(&admin(), &ids[0], &of.api_exports, export)
        .await
        .unwrap();
    let seams = world.tenancy.maker().seams().clone();
    seams.clock.sleep(Duration::from_secs(1)).await;
    let binding = json!({
        "apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBinding",
        "metadata": {"name": "widgets", "generation": 1},
        "spec": {"reference": {"export": {"name": "widgets", "path": "root:p"}},
            "permissionClaims": [{"group": "", "resource": "configmaps", "verbs": ["get", "create"],
                "selector": {"matchLabels": {"team": "a"}}, "state": "Accepted"}]},
    });
    world
        .create(&admin(), &ids[1], &of.api_bindings, binding)
        .await
        .unwrap();
    seams.clock.sleep(Duration::from_secs(1)).await;
    (ids[0].clone(), ids[1].clone())
}

#[test]
fn an_export_view_shows_what_is_exported_and_claimed() {
    play(|world| async move {
        let (provider, consumer) = provided(&world).await;
        let tenancy = &world.tenancy;
        let forms = tenancy.maker().forms().clone();
        let system = hanse_kinds::kcp::system_crds().to_vec();
        let built_in = hanse_kinds::builtin().to_vec();
        let catalog = Catalog::new(tenancy.view().clone(), forms, system, built_in);
        assert!(
            tenancy
                .export_view(&catalog, &provider, "nothing")
                .is_none()
        );
        let view = tenancy.export_view(&catalog, &provider, "widgets").unwrap();
        assert!(view.find("g.io", "v1", "widgets").unwrap().label.is_none());
        let maps = view.find("", "v1", "configmaps").unwrap();
        assert_eq!(
            maps.label.as_ref().unwrap().1,
            "3QVjs6pfBjMpLEVYYhysJnroYGsQGlWm05E4qe"
        );
        let bindings = view.find("apis.kcp.io", "v1alpha2", "apibindings").unwrap();
        assert_eq!(bindings.row.verbs, ["get", "list", "watch"]);
        assert!(!bindings.exported);
        assert!(view.find("", "v1", "secrets").is_none());
        let ask = |who: &UserInfo, verb: &str, what: (&str, &str), target: &str| {
            let want = Attributes::resource(who, verb, what.0, what.1, "");
            let through = Through {
                user: who,
                target: Some(target),
                attributes: &want,
            };
            tenancy.authorize_export_view(&view, &through).is_ok()
        };
        let owner = admin();
        let widgets = ("g.io", "widgets");
        assert!(ask(&owner, "list", widgets, &consumer));
        assert!(!ask(&owner, "list", widgets, &provider), "no binding there");
        assert!(
            !ask(&user("eve"), "list", widgets, &consumer),
            "no right to the content"
        );
        assert!(ask(&owner, "get", ("", "configmaps"), &consumer));
        assert!(
            !ask(&owner, "list", ("", "configmaps"), &consumer),
            "not in both lists"
        );
        assert!(ask(
            &owner,
            "list",
            ("apis.kcp.io", "apibindings"),
            &consumer
        ));
        assert!(!ask(
            &owner,
            "update",
            ("apis.kcp.io", "apibindings"),
            &consumer
        ));
        assert!(ask(
            &UserInfo::new("m", &["system:masters"]),
            "list",
            widgets,
            &provider
        ));
        let mut object = json!({"metadata": {"name": "x"}});
        let row = maps.row.clone();
        tenancy
            .fit_claim(&view, &consumer, &row, "x", &mut object, true)
            .unwrap();
        assert_eq!(object["metadata"]["labels"]["team"], "a");
        object["metadata"]["labels"]["team"] = "b".into();
        let refused = tenancy.fit_claim(&view, &consumer, &row, "x", &mut object, true);
        assert_eq!(
            refused.unwrap_err().message,
            "configmaps \"x\" is forbidden: protected label team must have value a"
        );
        let eve = tenancy.warranted(&user("eve"), &consumer);
        let want = Attributes::resource(&eve, "update", "", "configmaps", "x");
        assert!(
            tenancy
                .authorizer()
                .authorize(&want, Some(&consumer))
                .allowed
        );
        assert!(
            !tenancy
                .authorizer()
                .authorize(&want, Some(&provider))
                .allowed
        );
    });
}

#[test]
fn a_lifecycle_view_is_for_those_who_may_initialize() {
    play(|world| async move {
        let tenancy = &world.tenancy;
        let types = tenancy.view().tenancy().unwrap().workspace_types.clone();
        let mut body = json!({
            "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "WorkspaceType",
            "metadata": {"name": "guarded"},
            "spec": {"initializer": true,
                "extend": {"with": [{"name": "universal", "path": "root"}]},
                "defaultChildWorkspaceType": {"name": "universal", "path": "root"}},
        });
        world
            .create(&admin(), "root", &types, body.clone())
            .await
            .unwrap();
        body["metadata"]["name"] = "ruled".into();
        body["spec"]["initializerPermissions"] =
            json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"]}]);
        world.create(&admin(), "root", &types, body).await.unwrap();
        let id =
            |made: Value| hanse_cache::ClusterName::from(made["spec"]["cluster"].as_str().unwrap());
        let made = world
            .workspace(&admin(), "root", "held", Some("guarded"))
            .await;
        let held = id(made.unwrap());
        let ruled = id(world
            .workspace(&admin(), "root", "r", Some("ruled"))
            .await
            .unwrap());
        let sort = Lifecycle::Initializing;
        assert!(tenancy.lifecycle_view(sort, "root:guarded", &admin()));
        assert!(!tenancy.lifecycle_view(sort, "root:guarded", &user("eve")));
        let object = tenancy.view().logical_cluster(&held).unwrap();
        assert!(Tenancy::in_lifecycle_view(sort, "root:guarded", &object));
        assert!(!Tenancy::in_lifecycle_view(sort, "root:ruled", &object));
        let eve = user("eve");
        let want = Attributes::resource(&eve, "get", "", "configmaps", "x");
        let goes_on = tenancy.lifecycle_content(sort, "root:guarded", &held, &want);
        assert_eq!(goes_on, Content::As(admin()), "as the creator");
        let Content::As(caller) = tenancy.lifecycle_content(sort, "root:ruled", &ruled, &want)
        else {
            panic!("refused")
        };
        assert!(caller.in_group("system:kcp:initializer:root:ruled"));
        let write = Attributes {
            verb: "update",
            ..want
        };
        assert_eq!(
            tenancy.lifecycle_content(sort, "root:ruled", &ruled, &write),
            Content::Refused(
                403,
                "initializer \"root:ruled\" denied by initializerPermissions: no rule allows \
                 update on core/configmaps"
                    .into()
            )
        );
        assert_eq!(
            tenancy.lifecycle_content(sort, "root:guarded", &ruled, &want),
            Content::Refused(
                403,
                "initializer \"root:guarded\" cannot access this workspace".into()
            )
        );
        let old = object.value();
        let mut new = old.clone();
        new["status"]["initializers"] = json!(["other"]);
        let refused = Tenancy::check_lifecycle_status(sort, "root:guarded", &old, &new);
        assert_eq!(refused.unwrap_err().code, 422);
        new["status"]["initializers"] = json!([]);
        Tenancy::check_lifecycle_status(sort, "root:guarded", &old, &new).unwrap();
    });
}
