//! Certificate signing requests: who may approve, who may sign, and what is never signed.

use crate::Admission;
use crate::request::{Operation, Request, text};
use hanse_apis::kcp::user;
use hanse_auth::{Attributes, certificate};
use hanse_wire::status::Result;

const GROUP: &str = "certificates.k8s.io";
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

fn is_request(request: &Request<'_>, subresource: &str) -> bool {
    request.is(GROUP, "certificatesigningrequests") && request.subresource == subresource
}

/// True if the user has the verb on the signer, by name or by `domain/*`.
fn may(admission: &Admission, request: &Request<'_>, verb: &str, signer: &str) -> bool {
    let domain = signer
        .split_once('/')
        .map(|(domain, _)| domain)
        .unwrap_or_default();
    [signer.to_owned(), format!("{domain}/*")]
        .iter()
        .any(|name| {
            let want = Attributes::resource(request.user, verb, GROUP, "signers", name);
            admission
                .authorizer()
                .authorize(&want, Some(request.cluster))
                .allowed
        })
}

/// What the server says of whoever asks; the client's own words about it do not count.
const REQUESTOR: [&str; 4] = ["username", "uid", "groups", "extra"];

/// `CertificateRequestor`, mutating: a request says who made it.
pub(crate) fn requestor(_: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !is_request(request, "") || request.operation == Operation::Delete {
        return Ok(());
    }
    let said: serde_json::Value = match request.operation {
        Operation::Create => {
            serde_json::from_str(&request.user.owner_annotation()).unwrap_or_default()
        }
        _ => request.old_object()["spec"].clone(),
    };
    let spec = request
        .object
        .as_deref_mut()
        .and_then(|o| o.get_mut("spec"));
    if let Some(spec) = spec.and_then(serde_json::Value::as_object_mut) {
        for field in REQUESTOR {
            match said.get(field) {
                Some(value) => spec.insert(field.into(), value.clone()),
                None => spec.remove(field),
            };
        }
    }
    Ok(())
}

/// `CertificateApproval`, validating.
pub(crate) fn approval(admission: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !is_request(request, "approval") || request.operation != Operation::Update {
        return Ok(());
    }
    let signer = text(request.new_object(), &["spec", "signerName"]);
    if may(admission, request, "approve", signer) {
        return Ok(());
    }
    let why = format!("user not permitted to approve requests with signerName {signer:?}");
    Err(request.forbidden(why))
}

/// `CertificateSigning`, validating.
pub(crate) fn signing(admission: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !is_request(request, "status") || request.operation != Operation::Update {
        return Ok(());
    }
    let certificate = |object| text(object, &["status", "certificate"]);
    let failed = |object: &serde_json::Value| {
        let conditions = crate::request::list(object, &["status", "conditions"]);
        conditions.iter().any(|c| text(c, &["type"]) == "Failed")
    };
    let (new, old) = (request.new_object(), request.old_object());
    if certificate(new) == certificate(old) && failed(new) == failed(old) {
        return Ok(());
    }
    let signer = text(old, &["spec", "signerName"]);
    if may(admission, request, "sign", signer) {
        return Ok(());
    }
    let why = format!("user not permitted to sign requests with signerName {signer:?}");
    Err(request.forbidden(why))
}

/// `CertificateSubjectRestriction`, validating: nobody becomes a master by certificate.
pub(crate) fn subject(_: &Admission, request: &mut Request<'_>) -> Result<()> {
    if !is_request(request, "") || request.operation != Operation::Create {
        return Ok(());
    }
    let new = request.new_object();
    if text(new, &["spec", "signerName"]) != CLIENT_SIGNER {
        return Ok(());
    }
    let groups = certificate::requested_groups(text(new, &["spec", "request"]));
    if groups.iter().any(|g| g == user::MASTERS) {
        return Err(request.forbidden(format!(
            "use of {CLIENT_SIGNER} signer with {} group is not allowed",
            user::MASTERS
        )));
    }
    Ok(())
}
