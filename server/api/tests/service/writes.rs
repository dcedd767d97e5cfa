//! Creation, update, deletion: what is stored, what is refused, what is left alone.

use serde_json::json;

use crate::{MAPS, World, config_map, version};

#[tokio::test]
async fn an_object_lives_and_dies() {
    let world = World::new().await;
    let (code, made) = world
        .ask(&format!("POST {MAPS}"), Some(config_map("a", "1")))
        .await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "story");
    let (code, again) = world
        .ask(&format!("POST {MAPS}"), Some(config_map("a", "1")))
        .await;
    assert_eq!((code, &again["reason"]), (409, &json!("AlreadyExists")));
    let (_, read) = world.ask(&format!("GET {MAPS}/a"), None).await;
    assert_eq!(read, made);
    let (code, same) = world
        .ask(&format!("PUT {MAPS}/a"), Some(read.clone()))
        .await;
    assert_eq!(
        (code, version(&same)),
        (200, version(&made)),
        "nothing changed, nothing written"
    );
    let mut stale = read.clone();
    stale["data"]["k"] = json!("2");
    let (code, changed) = world
        .ask(&format!("PUT {MAPS}/a"), Some(stale.clone()))
        .await;
    assert_eq!(code, 200);
    assert!(version(&changed) > version(&made));
    stale["data"]["k"] = json!("3");
    let (code, lost) = world.ask(&format!("PUT {MAPS}/a"), Some(stale)).await;
    assert_eq!((code, &lost["reason"]), (409, &json!("Conflict")));
    let (code, gone) = world.ask(&format!("DELETE {MAPS}/a"), None).await;
    assert_eq!((code, &gone["status"]), (200, &json!("Success")));
    assert_eq!(world.ask(&format!("GET {MAPS}/a"), None).await.0, 404);
    assert_eq!(world.ask(&format!("DELETE {MAPS}/a"), None).await.0, 404);
}

#[tokio::test]
async fn bad_objects_are_refused_before_anything_is_written() {
    let world = World::new().await;
    let maps = format!("POST {MAPS}");
    let strict = format!("POST {MAPS}?fieldValidation=Strict");
    let of = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut object = config_map("a", "1");
        change(&mut object);
        Some(object)
    };
    for (line, body, code) in [
        (&maps, None, 400),
        (&maps, Some(json!([1])), 400),
        (&maps, of(&|o| o["kind"] = json!("Secret")), 400),
        (&maps, of(&|o| o["apiVersion"] = json!("v2")), 400),
        (&maps, of(&|o| o["data"]["k"] = json!(1)), 400),
        (
            &maps,
            of(&|o| o["metadata"]["namespace"] = json!("other")),
            400,
        ),
        (
            &maps,
            of(&|o| o["metadata"]["name"] = json!("Bad_Name")),
            422,
        ),
        (&maps, of(&|o| o["metadata"] = json!({})), 422),
        (
            &maps,
            of(&|o| o["metadata"]["resourceVersion"] = json!("1")),
            500,
        ),
        (&strict, of(&|o| o["dat"] = json!({})), 400),
        (&format!("POST {MAPS}?dryRun=Some"), of(&|_| {}), 422),
        (
            &"POST /api/v1/namespaces/none/configmaps".to_owned(),
            of(&|_| {}),
            404,
        ),
    ] {
        let (got, answer) = world.ask(line, body).await;
        assert_eq!(got, code, "{line}: {answer}");
    }
    let (_, list) = world
        .ask(&format!("GET {MAPS}?labelSelector=v"), None)
        .await;
    assert_eq!(list["items"], json!([]));
    let large = "x".repeat(4 << 20);
    assert_eq!(
        world
            .ask(&maps, of(&|o| o["data"]["k"] = json!(large)))
            .await
            .0,
        413
    );
}

#[tokio::test]
async fn names_are_made_and_dry_runs_leave_no_trace() {
    let world = World::new().await;
    let mut object = config_map("", "1");
    object["metadata"] = json!({"generateName": "gen-"});
    let (code, made) = world.ask(&format!("POST {MAPS}"), Some(object)).await;
    let name = made["metadata"]["name"].as_str().unwrap();
    assert_eq!((code, name.len(), &name[..4]), (201, 9, "gen-"));
    let line = format!("POST {MAPS}?dryRun=All");
    let (code, dry) = world.ask(&line, Some(config_map("dry", "1"))).await;
    assert_eq!(code, 201);
    assert!(dry["metadata"]["uid"].is_string() && dry["metadata"]["resourceVersion"].is_null());
    assert_eq!(world.ask(&format!("GET {MAPS}/dry"), None).await.0, 404);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let world = World::new().await;
    let mut object = config_map("held", "1");
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    world.ask(&format!("POST {MAPS}"), Some(object)).await;
    let (code, marked) = world.ask(&format!("DELETE {MAPS}/held"), None).await;
    assert_eq!((code, &marked["kind"]), (200, &json!("ConfigMap")));
    let mark = &marked["metadata"]["deletionTimestamp"];
    assert!(mark.is_string());
    let (_, again) = world.ask(&format!("DELETE {MAPS}/held"), None).await;
    assert_eq!(&again["metadata"]["deletionTimestamp"], mark);
    assert_eq!(version(&again), version(&marked));
    let mut more = again.clone();
    more["metadata"]["finalizers"] = json!(["example.com/hold", "example.com/more"]);
    assert_eq!(
        world.ask(&format!("PUT {MAPS}/held"), Some(more)).await.0,
        422
    );
    let mut free = again;
    free["metadata"]["finalizers"] = json!([]);
    assert_eq!(
        world.ask(&format!("PUT {MAPS}/held"), Some(free)).await.0,
        200
    );
    assert_eq!(world.ask(&format!("GET {MAPS}/held"), None).await.0, 404);
}

#[tokio::test]
async fn preconditions_of_a_deletion_are_kept() {
    let world = World::new().await;
    let (_, made) = world
        .ask(&format!("POST {MAPS}"), Some(config_map("a", "1")))
        .await;
    let with = |preconditions| {
        Some(json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}))
    };
    let line = format!("DELETE {MAPS}/a");
    assert_eq!(world.ask(&line, with(json!({"uid": "x"}))).await.0, 409);
    assert_eq!(
        world
            .ask(&line, with(json!({"resourceVersion": "1"})))
            .await
            .0,
        409
    );
    let uid = &made["metadata"]["uid"];
    assert_eq!(world.ask(&line, with(json!({"uid": uid}))).await.0, 200);
}

#[tokio::test]
async fn a_workspace_is_ready_in_the_answer_that_makes_it() {
    let world = World::new().await;
    let workspace = json!({
        "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace", "metadata": {"name": "born"},
        "spec": {"type": {"name": "universal", "path": "root"}},
    });
    let line = "POST /clusters/root/apis/tenancy.kcp.io/v1alpha1/workspaces";
    let (code, born) = world.ask(line, Some(workspace)).await;
    assert_eq!(
        (code, &born["status"]["phase"]),
        (201, &json!("Ready")),
        "{born}"
    );
    let line = "GET /clusters/root:born/api/v1/namespaces/default";
    assert_eq!(world.ask(line, None).await.0, 200);
}

#[tokio::test]
async fn tokens_are_minted_and_recognised() {
    let world = World::new().await;
    let line = "POST /api/v1/namespaces/default/serviceaccounts/default/token";
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"});
    let (code, answer) = world.ask(line, Some(request)).await;
    assert_eq!(code, 201, "{answer}");
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": answer["status"]["token"]},
    });
    let line = "POST /apis/authentication.k8s.io/v1/tokenreviews";
    let (code, review) = world.ask(line, Some(review)).await;
    assert_eq!(code, 201);
    assert_eq!(
        review["status"]["user"]["username"],
        "system:serviceaccount:default:default"
    );
}

#[tokio::test]
async fn an_inactive_workspace_shows_only_why() {
    let world = World::new().await;
    let line = "/apis/core.kcp.io/v1alpha1/logicalclusters/cluster";
    let merge = [("content-type", "application/merge-patch+json")];
    let mark = |value: &str| {
        let annotations = json!({"core.kcp.io/inactive": value});
        Some(json!({"metadata": {"annotations": annotations}}))
    };
    let patch = format!("PATCH {line}");
    let marked = world.ask_with(&patch, &merge, mark("true")).await;
    assert_eq!(marked.code, 200, "{}", marked.body);
    let (code, refused) = world.ask(&format!("GET {MAPS}"), None).await;
    assert_eq!(code, 403);
    let text = refused["message"].as_str().unwrap();
    assert!(
        text.ends_with("is forbidden: logical cluster is marked inactive"),
        "{text}"
    );
    for open in ["/openapi/v3", line] {
        assert_eq!(
            world.ask(&format!("GET {open}"), None).await.0,
            200,
            "{open}"
        );
    }
    assert_eq!(
        world.ask_with(&patch, &merge, mark("false")).await.code,
        200
    );
    assert_eq!(world.ask(&format!("GET {MAPS}"), None).await.0, 200);
}

#[tokio::test]
async fn a_certificate_request_proves_that_its_sender_has_the_key() {
    let world = World::new().await;
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "ann");
    let der = params.serialize_request(&key).unwrap().der().to_vec();
    let pem = |der: &[u8]| {
        let text = hanse_wire::base64::encode(der);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        let label = "CERTIFICATE REQUEST-----";
        format!(
            "-----BEGIN {label}\n{}\n-----END {label}\n",
            lines.join("\n")
        )
    };
    let body = |name: &str, der: &[u8]| {
        json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": {"signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
                "request": hanse_wire::base64::encode(pem(der).as_bytes())},
        })
    };
    let line = format!("POST {requests}");
    let (code, made) = world.ask(&line, Some(body("good", &der))).await;
    assert_eq!(code, 201, "{made}");
    let mut forged = der.clone();
    let at = forged.windows(3).position(|w| w == b"ann").unwrap();
    forged[at..at + 3].copy_from_slice(b"bob");
    let (code, refused) = world.ask(&line, Some(body("bad", &forged))).await;
    assert_eq!(code, 422);
    let why = refused["message"].as_str().unwrap();
    assert!(why.ends_with("x509: ECDSA verification failure"), "{why}");
}

/// What is stored without taking effect says so, once.
#[tokio::test]
async fn a_conversion_webhook_is_stored_with_a_warning() {
    let world = World::new().await;
    let mut crd = crate::watches::widgets("a");
    let config = json!({"url": "https://example.com/convert"});
    crd["spec"]["conversion"] = json!({"strategy": "Webhook",
        "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": config}});
    let crds = crate::watches::CRDS;
    let made = world
        .ask_with(&format!("POST {crds}"), &[], Some(crd))
        .await;
    assert_eq!(made.code, 201, "{}", made.body);
    let warning = made.headers["warning"].to_str().unwrap();
    assert!(
        warning.contains("only the storage version can be read and written"),
        "{warning}"
    );
    let line = format!("PUT {crds}/widgets.example.com");
    let again = world.ask_with(&line, &[], Some(made.body)).await;
    assert_eq!((again.code, again.headers.get("warning")), (200, None));
}
