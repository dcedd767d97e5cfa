//! Callers over a hub in memory: tokens that die with their account, certificates of the client
//! CA and of somebody else's.

use crate::certificate::ClientCa;
use crate::token::{Private, Reference, Signer, Wanted};
use crate::{Authenticator, Config, StaticTokens, Unauthorized, UserInfo, View};
use hanse_cache::{ClusterName, Document, Expect, Hub, ObjectKey, ResourceId, SchemaHash, Txn};
use hanse_seams::{BoxFuture, Seams, Simulation};
use hanse_store::MemoryStore;
use http::HeaderMap;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls_pki_types::CertificateDer;
use serde_json::json;
use std::sync::Arc;

const ISSUER: &str = "https://issuer";

struct World {
    view: Arc<View>,
    seams: Seams,
}

fn play<F: Future<Output = ()> + Send + 'static>(story: impl FnOnce(World) -> F + Send + 'static) {
    let machine = Simulation::new(3);
    let seams = machine.seams();
    let told: BoxFuture<()> = Box::pin(async move {
        let store = Arc::new(MemoryStore::with_defaults(seams.clock.clone()));
        let hub = Hub::open(store, hanse_cache::Config::default())
            .await
            .unwrap();
        story(World {
            view: Arc::new(View::new(hub)),
            seams,
        })
        .await;
    });
    assert_eq!(machine.run(told), Some(()));
}

impl World {
    async fn put(&self, resource: &ResourceId, name: &str, uid: &str) {
        let value = json!({"metadata": {"name": name, "namespace": "ns", "uid": uid}});
        let document = Document::from_value(&value, [("", ""); 0], SchemaHash::default()).unwrap();
        let key = ObjectKey::new(resource, &ClusterName::from("c1"), "ns", name);
        self.view
            .hub()
            .commit(Txn::one(key, Expect::Any, Some(document)))
            .await
            .unwrap();
    }

    async fn delete(&self, resource: &ResourceId, name: &str) {
        let key = ObjectKey::new(resource, &ClusterName::from("c1"), "ns", name);
        self.view
            .hub()
            .commit(Txn::one(key, Expect::Any, None))
            .await
            .unwrap();
    }

    fn authenticator(&self, signer: &Arc<Signer>, client_ca: Option<ClientCa>) -> Authenticator {
        let mut tokens = StaticTokens::default();
        tokens.insert("opaque", UserInfo::new("alice", &["dev"]));
        let config = Config {
            client_ca,
            tokens,
            signer: signer.clone(),
            audiences: vec![ISSUER.to_owned()],
        };
        Authenticator::new(config, self.view.clone(), self.seams.clone())
    }
}

fn signer() -> Arc<Signer> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    Arc::new(Signer::from_pem(key.serialize_pem().as_bytes(), ISSUER).unwrap())
}

fn bearer(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    headers
}

fn wanted(secret: Option<Reference>, audience: &str, now: u64) -> Wanted {
    Wanted {
        account: Private {
            cluster: "c1".into(),
            namespace: "ns".into(),
            secret,
            serviceaccount: Reference {
                name: "sa".into(),
                uid: "u1".into(),
            },
        },
        audiences: vec![audience.to_owned()],
        seconds: 3600,
        now,
        id: "token-id".into(),
    }
}

#[test]
fn a_token_lives_as_long_as_its_account_and_its_secret() {
    play(|world| async move {
        let signer = signer();
        let known = world.authenticator(&signer, None);
        let of = world.view.resources().clone();
        let now = world.seams.clock.wall().as_secs();
        let bound = Reference {
            name: "s".into(),
            uid: "s1".into(),
        };
        let plain = bearer(&signer.mint(wanted(None, ISSUER, now)).unwrap());
        let tied = bearer(&signer.mint(wanted(Some(bound), ISSUER, now)).unwrap());
        let elsewhere = bearer(&signer.mint(wanted(None, "https://other", now)).unwrap());
        assert_eq!(
            known.authenticate(&plain, None),
            Err(Unauthorized),
            "no such account yet"
        );
        world.put(&of.service_accounts, "sa", "u1").await;
        let user = known.authenticate(&plain, None).unwrap().unwrap();
        assert_eq!(user.name, "system:serviceaccount:ns:sa");
        assert_eq!(user.uid, "u1");
        assert_eq!(
            user.groups,
            [
                "system:serviceaccounts",
                "system:serviceaccounts:ns",
                "system:authenticated"
            ]
        );
        assert_eq!(user.extra["authentication.kcp.io/cluster-name"], ["c1"]);
        assert_eq!(user.extra["authentication.kcp.io/scopes"], ["cluster:c1"]);
        assert_eq!(
            user.extra["authentication.kubernetes.io/credential-id"],
            ["JTI=token-id"]
        );
        assert_eq!(
            known.authenticate(&elsewhere, None),
            Err(Unauthorized),
            "other audience"
        );
        assert_eq!(
            known.authenticate(&tied, None),
            Err(Unauthorized),
            "no such secret"
        );
        world.put(&of.secrets, "s", "s1").await;
        assert!(known.authenticate(&tied, None).is_ok());
        world.delete(&of.secrets, "s").await;
        assert_eq!(known.authenticate(&tied, None), Err(Unauthorized));
        world.put(&of.service_accounts, "sa", "u2").await;
        assert_eq!(
            known.authenticate(&plain, None),
            Err(Unauthorized),
            "another account"
        );
        world.put(&of.service_accounts, "sa", "u1").await;
        world
            .seams
            .clock
            .sleep(std::time::Duration::from_secs(4000))
            .await;
        assert_eq!(
            known.authenticate(&plain, None),
            Err(Unauthorized),
            "expired"
        );
    });
}

#[test]
fn opaque_tokens_and_nobody() {
    play(|world| async move {
        let known = world.authenticator(&signer(), None);
        assert_eq!(known.authenticate(&HeaderMap::new(), None), Ok(None));
        assert_eq!(
            known.authenticate(&bearer("wrong"), None),
            Err(Unauthorized)
        );
        assert_eq!(
            known.authenticate(&bearer("a.b.c"), None),
            Err(Unauthorized)
        );
        let alice = known
            .authenticate(&bearer("opaque"), None)
            .unwrap()
            .unwrap();
        assert_eq!(alice.groups, ["dev", "system:authenticated"]);
        let (_, good) = known
            .token_user("opaque", &[ISSUER.to_owned(), "x".into()])
            .unwrap();
        assert_eq!(good, [ISSUER]);
        assert_eq!(known.token_user("opaque", &["x".into()]), Err(Unauthorized));
    });
}

/// An authority and the certificate that it gives to somebody.
fn certified(usage: ExtendedKeyUsagePurpose) -> (CertificateDer<'static>, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let own = authority.self_signed(&key).unwrap();
    let issuer = Issuer::new(authority, key);
    let mut leaf = CertificateParams::new(Vec::new()).unwrap();
    leaf.distinguished_name.push(DnType::CommonName, "carol");
    leaf.distinguished_name
        .push(DnType::OrganizationName, "ops");
    leaf.extended_key_usages = vec![usage];
    let leaf = leaf
        .signed_by(&KeyPair::generate().unwrap(), &issuer)
        .unwrap();
    (own.der().clone(), leaf.der().clone())
}

#[test]
fn certificates_of_the_client_authority_name_users() {
    play(|world| async move {
        let (authority, carol) = certified(ExtendedKeyUsagePurpose::ClientAuth);
        let (_, stranger) = certified(ExtendedKeyUsagePurpose::ClientAuth);
        let trusts = || Some(ClientCa::new(std::slice::from_ref(&authority)).unwrap());
        let known = world.authenticator(&signer(), trusts());
        let show = |leaf: &CertificateDer<'static>| {
            known.authenticate(&HeaderMap::new(), Some(std::slice::from_ref(leaf)))
        };
        let user = show(&carol).unwrap().unwrap();
        assert_eq!(user.name, "carol");
        assert_eq!(user.groups, ["ops", "system:authenticated"]);
        let id = &user.extra["authentication.kubernetes.io/credential-id"][0];
        assert!(id.starts_with("X509SHA256=") && id.len() == 11 + 64);
        assert_eq!(show(&stranger), Err(Unauthorized));
        // Another credential still counts.
        let both = known.authenticate(&bearer("opaque"), Some(std::slice::from_ref(&stranger)));
        assert_eq!(both.unwrap().unwrap().name, "alice");
        let (authority, server) = certified(ExtendedKeyUsagePurpose::ServerAuth);
        let ca = ClientCa::new(std::slice::from_ref(&authority)).unwrap();
        let known = world.authenticator(&signer(), Some(ca));
        let shown = known.authenticate(&HeaderMap::new(), Some(std::slice::from_ref(&server)));
        assert_eq!(shown, Err(Unauthorized), "not made for clients");
    });
}

#[test]
fn a_signing_request_tells_its_groups() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    let request = params
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap();
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(request.pem().unwrap());
    assert_eq!(
        crate::certificate::requested_groups(&encoded),
        ["system:masters"]
    );
    assert_eq!(
        crate::certificate::requested_groups("nonsense"),
        Vec::<String>::new()
    );
}
