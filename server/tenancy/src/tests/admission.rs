//! Refusals of the admission plugins, word for word.

use super::{World, admin, play};
use hanse_admission::{Operation, Request};
use hanse_auth::UserInfo;
use serde_json::{Value, json};

/// Runs all plugins over a change; the object as it came out, or the refusal without its head.
fn admit(
    world: &World,
    user: &UserInfo,
    operation: Operation,
    what: (&str, &str, &str),
    old: Option<&Value>,
    new: Option<&Value>,
) -> Result<Value, String> {
    let (group, resource, cluster) = what;
    let named = new.or(old).cloned().unwrap_or_default();
    let name = named["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let namespace = named["metadata"]["namespace"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let mut object = new.cloned();
    let mut request = Request {
        operation,
        cluster,
        group,
        version: "v1alpha1",
        resource,
        subresource,
        kind: "",
        identity: "",
        namespace: &namespace,
        name: &name,
        user,
        dry_run: false,
        object: object.as_mut(),
        old,
    };
    let admission = world.tenancy.admission();
    let short = |status: Box<hanse_wire::status::Status>| {
        let text = status.message.clone();
        text.split_once("is forbidden: ")
            .map_or(text.clone(), |(_, why)| why.to_owned())
    };
    admission.admit_mutating(&mut request).map_err(short)?;
    admission.admit_validating(&mut request).map_err(short)?;
    Ok(object.unwrap_or_default())
}

fn create(world: &World, what: (&str, &str, &str), new: Value) -> Result<Value, String> {
    admit(world, &admin(), Operation::Create, what, None, Some(&new))
}

fn update(
    world: &World,
    what: (&str, &str, &str),
    old: &Value,
    change: impl FnOnce(&mut Value),
) -> Result<Value, String> {
    let mut new = old.clone();
    change(&mut new);
    admit(
        world,
        &admin(),
        Operation::Update,
        what,
        Some(old),
        Some(&new),
    )
}

#[test]
fn namespaces() {
    play(|world| async move {
        let id = super::controllers::workspace(&world, "root", "w").await;
        let maps = ("", "configmaps", id.as_str());
        let map = |ns: &str| json!({"metadata": {"name": "m", "namespace": ns}});
        assert_eq!(
            create(&world, maps, map("gone")).unwrap_err(),
            "namespaces \"gone\" not found"
        );
        create(&world, maps, map("default")).unwrap();
        let spaces = ("", "namespaces", id.as_str());
        let gone = |name: &str| json!({"metadata": {"name": name}});
        let delete = |name: &str| {
            admit(
                &world,
                &admin(),
                Operation::Delete,
                spaces,
                Some(&gone(name)),
                None,
            )
        };
        assert_eq!(
            delete("default").unwrap_err(),
            "this namespace may not be deleted"
        );
        delete("other").unwrap();
        let of = world.tenancy.view().resources().namespaces.clone();
        super::controllers::mark(&world, &of, &id, "default").await;
        assert_eq!(
            create(&world, maps, map("default")).unwrap_err(),
            "unable to create new content in namespace default because it is being terminated"
        );
    });
}

#[test]
fn workspaces_and_types() {
    play(|world| async move {
        let spaces = ("tenancy.kcp.io", "workspaces", "root");
        let space = |spec: Value| json!({"metadata": {"name": "w"}, "spec": spec});
        let made = create(&world, spaces, space(json!({}))).unwrap();
        assert_eq!(
            made["spec"]["type"],
            json!({"name": "organization", "path": "root"})
        );
        for (spec, why) in [
            (
                json!({"cluster": "x"}),
                "spec.Cluster can only be set by system privileged users",
            ),
            (
                json!({"URL": "x"}),
                "spec.URL can only be set by system privileged users",
            ),
            (
                json!({"type": {"name": "nowhere"}}),
                "workspace type \"nowhere\" cannot be resolved",
            ),
            (
                json!({"mount": {"ref": {"kind": "K"}}}),
                "spec.mount.name must be set",
            ),
        ] {
            assert_eq!(create(&world, spaces, space(spec)).unwrap_err(), why);
        }
        let old = space(json!({"cluster": "a", "URL": "u", "type": {"name": "t", "path": "p"}}));
        let unset = update(&world, spaces, &old, |w| {
            w["spec"].as_object_mut().unwrap().remove("cluster");
        });
        assert_eq!(unset.unwrap_err(), "spec.cluster cannot be unset");
        let other = update(&world, spaces, &old, |w| {
            w["spec"]["type"]["name"] = "x".into()
        });
        assert_eq!(other.unwrap_err(), "spec.type is immutable");
        let types = ("tenancy.kcp.io", "workspacetypes", "root");
        let named = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
        assert_eq!(
            create(&world, types, named("any", json!({}))).unwrap_err(),
            "metadata.name: Invalid value: \"any\": name is reserved"
        );
        let limit = json!({"limitAllowedChildren": {"types": [{"name": "x"}]}});
        assert_eq!(
            create(&world, types, named("t", limit)).unwrap_err(),
            ".spec.limitAllowedChildren.types[0].path must be set"
        );
        let elsewhere = ("tenancy.kcp.io", "workspacetypes", "other");
        assert_eq!(
            create(&world, elsewhere, named("root", json!({}))).unwrap_err(),
            "root workspace type can only be created in root cluster"
        );
        let binds = json!({"defaultAPIBindings": [{"export": "e", "path": "root:none"}]});
        assert_eq!(
            create(&world, types, named("t", binds)).unwrap_err(),
            "no permission to bind to export root:none:e"
        );
    });
}

#[test]
fn logical_clusters() {
    play(|world| async move {
        let id = super::controllers::workspace(&world, "root", "w").await;
        let what = ("core.kcp.io", "logicalclusters", id.as_str());
        let old = world.tenancy.view().logical_cluster(&id).unwrap().value();
        assert_eq!(
            create(&world, what, old.clone()).unwrap_err(),
            "LogicalCluster cannot be created"
        );
        let delete = admit(&world, &admin(), Operation::Delete, what, Some(&old), None);
        assert_eq!(delete.unwrap_err(), "LogicalCluster cannot be deleted");
        let refused = |change: fn(&mut Value)| update(&world, what, &old, change).unwrap_err();
        assert_eq!(
            refused(|o| o["spec"]["initializers"] = json!([])),
            "spec.initializers is immutable"
        );
        assert_eq!(
            refused(|o| o["status"]["phase"] = "Scheduling".into()),
            "cannot transition from \"Ready\" to \"Scheduling\""
        );
        assert_eq!(
            refused(|o| o["spec"]["createdBy"] = Value::Null),
            "spec.createdBy is immutable"
        );
        // The finalizer comes back while the object lives.
        let kept = update(&world, what, &old, |o| {
            o["metadata"]["finalizers"] = json!([])
        });
        let kept = kept.unwrap();
        assert_eq!(
            kept["metadata"]["finalizers"],
            json!(["core.kcp.io/logicalcluster-deletion"])
        );
        let mut going = old.clone();
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let freed = update(&world, what, &going, |o| {
            o["metadata"]["finalizers"] = json!([])
        });
        assert_eq!(
            freed.unwrap_err(),
            "removing the finalizer core.kcp.io/logicalcluster-deletion is forbidden"
        );
        // On the way into Initializing the lists are copied.
        let mut young = old.clone();
        young["status"]["phase"] = "Scheduling".into();
        let begun = update(&world, what, &young, |o| {
            o["status"]["phase"] = "Initializing".into()
        });
        assert_eq!(
            begun.unwrap()["status"]["initializers"],
            old["spec"]["initializers"]
        );
    });
}

#[test]
fn a_workspaces_own_record_is_the_platforms() {
    play(|world| async move {
        let id = super::controllers::workspace(&world, "root", "w").await;
        let tenant = UserInfo::new("tenant", &["system:authenticated"]);
        let refused = |what: (&str, &str, &str), old: &Value, pointer: &str, to: Value| {
            let mut new = old.clone();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            new.pointer_mut(parent).unwrap()[field.replace("~1", "/")] = to;
            let change = |user: &UserInfo| {
                admit(&world, user, Operation::Update, what, Some(old), Some(&new))
            };
            assert!(change(&admin()).is_ok(), "{pointer}");
            change(&tenant).unwrap_err()
        };
        let logical = world.tenancy.view().logical_cluster(&id).unwrap().value();
        let what = ("core.kcp.io", "logicalclusters", id.as_str());
        for key in [
            "kcp.io/path",
            "internal.tenancy.kcp.io/type",
            "core.kcp.io/max-total-objects",
        ] {
            let pointer = format!("/metadata/annotations/{}", key.replace('/', "~1"));
            let why = format!("modification of reserved annotation: {key:?}");
            assert_eq!(refused(what, &logical, &pointer, "x".into()), why);
        }
        for (pointer, to) in [
            ("/spec/owner", json!({"cluster": "c", "name": "another"})),
            ("/spec/directlyDeletable", true.into()),
            ("/status/URL", "https://elsewhere.test".into()),
            ("/status/phase", "Deleting".into()),
        ] {
            let why = format!("{} is immutable", pointer[1..].replace('/', "."));
            assert_eq!(refused(what, &logical, pointer, to), why);
        }
        let labels = refused(
            what,
            &logical,
            "/metadata/labels/tenancy.kcp.io~1phase",
            "x".into(),
        );
        assert_eq!(labels, "modification of reserved labels");
        // A workspace does not say which logical cluster it is.
        let spaces = ("tenancy.kcp.io", "workspaces", "root");
        let named = json!({"metadata": {"name": "w2", "annotations": {
            "internal.tenancy.kcp.io/cluster": id,
        }}});
        let made = admit(
            &world,
            &tenant,
            Operation::Create,
            spaces,
            None,
            Some(&named),
        );
        let why = "modification of reserved annotation: \"internal.tenancy.kcp.io/cluster\"";
        assert_eq!(made.unwrap_err(), why);
        let mount = json!({"metadata": {"name": "m"}, "spec": {
            "mount": {"ref": {"kind": "K", "name": "n", "apiVersion": "v1"}},
        }});
        for (field, to, why) in [
            (
                "cluster",
                json!(id),
                "spec.cluster can only be changed by system privileged users",
            ),
            (
                "URL",
                json!("u"),
                "spec.URL can only be changed by system privileged users",
            ),
            ("mount", Value::Null, "spec.mount is immutable"),
        ] {
            let changed = update(&world, spaces, &mount, |w| w["spec"][field] = to);
            assert_eq!(changed.unwrap_err(), why);
        }
    });
}

#[test]
fn exports_bindings_and_schemas() {
    play(|world| async move {
        let exports = ("apis.kcp.io", "apiexports", "root");
        let export = |spec: Value| json!({"metadata": {"name": "e"}, "spec": spec});
        let claim = json!({"permissionClaims": [{"group": "x.io", "resource": "xs"}]});
        assert_eq!(
            create(&world, exports, export(claim)).unwrap_err(),
            "spec.permissionClaims[0].identityHash: Invalid value: \"\": identityHash is required \
             for API types that are not built-in"
        );
        let resource = json!({"resources": [{"group": "", "name": "xs", "schema": "v1.xs.x.io"}]});
        assert_eq!(
            create(&world, exports, export(resource)).unwrap_err(),
            "spec.resources[0].schema: Invalid value: \"v1.xs.x.io\": must end in .xs.core"
        );
        let bindings = ("apis.kcp.io", "apibindings", "root");
        let to = |path: &str| {
            json!({"metadata": {"name": "b"}, "spec": {"reference": {"export": {
                "name": "x", "path": path}}}})
        };
        assert_eq!(
            create(&world, bindings, to("root:none")).unwrap_err(),
            "unable to create APIBinding: no permission to bind to export root:none:x"
        );
        let made = create(&world, bindings, to("root")).unwrap();
        assert_eq!(made["metadata"]["annotations"]["kcp.io/path"], "root");
        assert_eq!(
            made["metadata"]["finalizers"],
            json!(["apis.kcp.io/apibinding-finalizer"])
        );
        let label = &made["metadata"]["labels"]["internal.apis.kcp.io/export"];
        assert_eq!(label, &json!(hanse_rules::hash::export_hash("root", "x")));
        let slices = ("apis.kcp.io", "apiexportendpointslices", "root");
        let slice = json!({"metadata": {"name": "s"}, "spec": {"export": {
            "name": "x", "path": "root:none"}}});
        assert_eq!(
            create(&world, slices, slice).unwrap_err(),
            "unable to create APIExportEndpointSlice: no permission to bind to export root:none:x"
        );
        let schemas = ("apis.kcp.io", "apiresourceschemas", "root");
        let names = json!({"plural": "xs", "singular": "x", "kind": "X", "listKind": "XList"});
        let version = json!({"name": "v1", "served": true, "storage": true,
            "schema": {"type": "object"}});
        let schema = |name: &str, group: &str, versions: Value| {
            json!({"metadata": {"name": name}, "spec": {"group": group, "scope": "Cluster",
                "names": names, "versions": versions}})
        };
        let with = |body: Value| {
            let version = json!({"name": "v1", "served": true, "storage": true, "schema": body});
            schema("v1.xs.x.io", "x.io", json!([version]))
        };
        let good = schema("v1.xs.x.io", "x.io", json!([version]));
        create(&world, schemas, good.clone()).unwrap();
        for (bad, why) in [
            (
                schema("v1.ys.x.io", "x.io", json!([version])),
                "[metadata.name: Invalid value: \"v1.ys.x.io\": must end in .xs.x.io]",
            ),
            (
                schema("v1.xs.single", "single", json!([version])),
                "[spec.group: Invalid value: \"single\": should be a domain with at least one dot]",
            ),
            (
                with(json!({"type": "object", "properties": {"a": {}}})),
                "[spec.versions[0].schema.properties[a].type: Required value: must not be empty \
                 for specified object fields]",
            ),
            (
                with(
                    json!({"type": "object", "properties": {"a": {"type": "string",
                    "x-kubernetes-validations": [{"rule": "self.size() > b"}]}}}),
                ),
                "[spec.versions[0].schema.properties[a].x-kubernetes-validations[0].rule: \
                 Invalid value: {\"Rule\":\"self.size() \\u003e b\",\"Message\":\"\",\
                 \"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\
                 \"OptionalOldSelf\":null}: compilation failed: ERROR: <input>:1:15: \
                 undeclared reference to 'b' (in container '')\n | self.size() > b\n | \
                 ..............^]",
            ),
            (
                schema("v1.xs.x.io", "x.io", json!([version, version])),
                "unique version names",
            ),
            (
                schema(
                    "v1.xs.x.io",
                    "x.io",
                    json!([{"name": "v1", "served": true,
                    "storage": false, "schema": {"type": "object"}}]),
                ),
                "must have exactly one version marked as storage version",
            ),
        ] {
            let said = create(&world, schemas, bad).unwrap_err();
            if !why.starts_with('[') {
                assert!(said.contains(why), "{said}");
                continue;
            }
            assert_eq!(said, why);
        }
        let changed = update(&world, schemas, &good, |s| {
            s["spec"]["scope"] = "Namespaced".into()
        });
        assert!(changed.unwrap_err().ends_with("is immutable]"));
    });
}

#[test]
fn definitions_and_certificates() {
    play(|world| async move {
        let crds = ("apiextensions.k8s.io", "customresourcedefinitions", "root");
        let crd = |group: &str, notes: Value| json!({"metadata": {"name": "xs", "annotations": notes}, "spec": {"group": group}});
        assert_eq!(
            create(&world, crds, crd("my.apis.kcp.io", json!({}))).unwrap_err(),
            "my.apis.kcp.io is a reserved group"
        );
        create(&world, crds, crd("tenancy.kcp.io", json!({}))).unwrap();
        let notes = json!({"apis.kcp.io/bound-crd": ""});
        assert_eq!(
            create(&world, crds, crd("x.io", notes)).unwrap_err(),
            "annotation \"apis.kcp.io/bound-crd\" is reserved"
        );
        let approval = (
            "certificates.k8s.io",
            "certificatesigningrequests/approval",
            "root",
        );
        let old = json!({"metadata": {"name": "c"}, "spec": {"signerName": "x.io/s"}});
        let eve = UserInfo::new("eve", &["system:authenticated"]);
        let refused = admit(
            &world,
            &eve,
            Operation::Update,
            approval,
            Some(&old),
            Some(&old),
        );
        assert_eq!(
            refused.unwrap_err(),
            "user not permitted to approve requests with signerName \"x.io/s\""
        );
        admit(
            &world,
            &admin(),
            Operation::Update,
            approval,
            Some(&old),
            Some(&old),
        )
        .unwrap();
    });
}
