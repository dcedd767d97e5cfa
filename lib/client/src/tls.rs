//! From a [`Config`] to TLS: who signs the server's certificate, and which one is ours.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Config;
use crate::error::{Error, Result};

/// Builds the TLS side of a client; offers HTTP/2 and HTTP/1.1.
pub fn client(config: &Config) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&config.ca, "the server's CA")? {
        roots
            .add(certificate)
            .map_err(|e| Error::Config(format!("the server's CA: {e}")))?;
    }
    if roots.is_empty() {
        return Err(Error::Config("the server's CA is not given".into()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::Config(e.to_string()))?
        .with_root_certificates(roots);
    let mut tls = if config.certificate.is_empty() {
        builder.with_no_client_auth()
    } else {
        let chain = certificates(&config.certificate, "the client certificate")?;
        let key = PrivateKeyDer::from_pem_slice(&config.key)
            .map_err(|e| Error::Config(format!("the client key: {e}")))?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|e| Error::Config(format!("the client certificate: {e}")))?
    };
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<std::result::Result<_, _>>()
        .map_err(|e| Error::Config(format!("{what}: {e}")))
}
