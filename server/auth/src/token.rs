//! Service account tokens: JWTs signed with `sa.key`, with kcp's claim for the logical cluster.
//!
//! Start with [`Signer`]. Whether the account of a token still exists is asked for each request in
//! `authenticator`; here is only what the token itself says. Claims: Kubernetes' plus
//! `kubernetes.io.clusterName`.

use hanse_apis::kcp::user;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// Issuer of tokens that live in secrets and never expire.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";
/// Longest token that is looked at.
pub const TOKEN_LENGTH_MAX: usize = 16 * 1024;
/// How far clocks may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 10;

/// A name and a uid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reference {
    /// Name of the object.
    pub name: String,
    /// Its uid; empty if any object of that name will do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// The claim `kubernetes.io`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Private {
    /// Logical cluster of the account.
    #[serde(rename = "clusterName", skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Namespace of the account.
    pub namespace: String,
    /// Secret to which the token is bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// The account.
    pub serviceaccount: Reference,
}

/// All claims of a token that this server signs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Claims {
    /// Audiences.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "one_or_many"
    )]
    pub aud: Vec<String>,
    /// End, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// Issuer.
    pub iss: String,
    /// Id of the token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// Of a bound token.
    #[serde(rename = "kubernetes.io", skip_serializing_if = "Option::is_none")]
    pub private: Option<Private>,
    /// Of a legacy token: logical cluster.
    #[serde(
        rename = "kubernetes.io/serviceaccount/clusterName",
        skip_serializing_if = "String::is_empty"
    )]
    pub legacy_cluster: String,
    /// Of a legacy token: namespace.
    #[serde(
        rename = "kubernetes.io/serviceaccount/namespace",
        skip_serializing_if = "String::is_empty"
    )]
    pub legacy_namespace: String,
    /// Of a legacy token: its secret.
    #[serde(
        rename = "kubernetes.io/serviceaccount/secret.name",
        skip_serializing_if = "String::is_empty"
    )]
    pub legacy_secret: String,
    /// Of a legacy token: the account.
    #[serde(
        rename = "kubernetes.io/serviceaccount/service-account.name",
        skip_serializing_if = "String::is_empty"
    )]
    pub legacy_account: String,
    /// Of a legacy token: uid of the account.
    #[serde(
        rename = "kubernetes.io/serviceaccount/service-account.uid",
        skip_serializing_if = "String::is_empty"
    )]
    pub legacy_account_uid: String,
    /// Start, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// User name.
    pub sub: String,
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

impl Claims {
    /// The account that the token speaks for, bound or legacy.
    #[must_use]
    pub fn account(&self) -> Private {
        self.private.clone().unwrap_or_else(|| Private {
            cluster: self.legacy_cluster.clone(),
            namespace: self.legacy_namespace.clone(),
            secret: Some(Reference {
                name: self.legacy_secret.clone(),
                uid: String::new(),
            }),
            serviceaccount: Reference {
                name: self.legacy_account.clone(),
                uid: self.legacy_account_uid.clone(),
            },
        })
    }

    /// True if the token is of use at `now` (seconds since 1970).
    #[must_use]
    pub fn is_current(&self, now: u64) -> bool {
        let ended = self.exp.is_some_and(|exp| exp + LEEWAY_SECONDS < now);
        let early = self.nbf.is_some_and(|nbf| nbf > now + LEEWAY_SECONDS);
        !ended && !early && (self.exp.is_some() || self.private.is_none())
    }
}

/// User name of a service account.
#[must_use]
pub fn account_user(namespace: &str, name: &str) -> String {
    format!("{}{namespace}:{name}", user::SERVICE_ACCOUNT_PREFIX)
}

/// What a token is wanted for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The account, and the secret to which the token is bound, if any.
    pub account: Private,
    /// Audiences.
    pub audiences: Vec<String>,
    /// How long it is of use, in seconds.
    pub seconds: u64,
    /// Now, in seconds since 1970.
    pub now: u64,
    /// A fresh UUID.
    pub id: String,
}

/// Why there is no token, or why one says nothing.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The key cannot be used.
    #[error("service account key: {0}")]
    Key(jsonwebtoken::errors::Error),
    /// Neither made by this server nor current.
    #[error("invalid bearer token")]
    Invalid,
}

/// A public key as others get it: with its id, its algorithm and what it is for.
fn published(jwk: &Jwk, header: &Header) -> serde_json::Value {
    let mut key = serde_json::to_value(jwk).unwrap_or_default();
    key["use"] = "sig".into();
    key["kid"] = header.kid.clone().into();
    key["alg"] = serde_json::to_value(header.alg).unwrap_or_default();
    serde_json::json!({"keys": [key]})
}

/// Makes and checks tokens with one key.
pub struct Signer {
    issuer: String,
    header: Header,
    sign: EncodingKey,
    verify: DecodingKey,
    validation: Validation,
    jwks: serde_json::Value,
}

impl Signer {
    /// Takes a private key in PEM: EC P-256 (ES256) or RSA (RS256).
    ///
    /// # Errors
    /// The PEM holds no such key.
    pub fn from_pem(pem: &[u8], issuer: &str) -> Result<Signer, TokenError> {
        let keys = EncodingKey::from_ec_pem(pem)
            .map(|key| (key, Algorithm::ES256))
            .or_else(|_| EncodingKey::from_rsa_pem(pem).map(|key| (key, Algorithm::RS256)));
        let (sign, algorithm) = keys.map_err(TokenError::Key)?;
        let jwk = Jwk::from_encoding_key(&sign, algorithm).map_err(TokenError::Key)?;
        let verify = DecodingKey::from_jwk(&jwk).map_err(TokenError::Key)?;
        let mut header = Header::new(algorithm);
        header.typ = None;
        header.kid = Some(
            jwk.thumbprint(ThumbprintHash::SHA256)
                .map_err(TokenError::Key)?,
        );
        let jwks = published(&jwk, &header);
        let mut validation = Validation::new(algorithm);
        // Times and audiences are checked on every use, the signature only once.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        validation.set_issuer(&[issuer, LEGACY_ISSUER]);
        Ok(Signer {
            issuer: issuer.to_owned(),
            header,
            sign,
            verify,
            validation,
            jwks,
        })
    }

    /// The JSON Web Key Set with the public key, as `/openid/v1/jwks` publishes it.
    #[must_use]
    pub fn jwks(&self) -> &serde_json::Value {
        &self.jwks
    }

    /// The signature algorithm, such as `ES256`.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self.header.alg {
            Algorithm::RS256 => "RS256",
            _ => "ES256",
        }
    }

    /// Issuer of the tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Makes a token that ends.
    ///
    /// # Errors
    /// The key refuses to sign.
    pub fn mint(&self, wanted: Wanted) -> Result<String, TokenError> {
        let sub = account_user(
            &wanted.account.namespace,
            &wanted.account.serviceaccount.name,
        );
        let claims = Claims {
            aud: wanted.audiences,
            exp: Some(wanted.now + wanted.seconds),
            iat: Some(wanted.now),
            iss: self.issuer.clone(),
            jti: wanted.id,
            private: Some(wanted.account),
            nbf: Some(wanted.now),
            sub,
            ..Claims::default()
        };
        jsonwebtoken::encode(&self.header, &claims, &self.sign).map_err(TokenError::Key)
    }

    /// Makes a token for a secret of type `kubernetes.io/service-account-token`; it never ends.
    ///
    /// # Errors
    /// The key refuses to sign.
    pub fn mint_legacy(&self, account: &Private, secret: &str) -> Result<String, TokenError> {
        let claims = Claims {
            iss: LEGACY_ISSUER.to_owned(),
            legacy_cluster: account.cluster.clone(),
            legacy_namespace: account.namespace.clone(),
            legacy_secret: secret.to_owned(),
            legacy_account: account.serviceaccount.name.clone(),
            legacy_account_uid: account.serviceaccount.uid.clone(),
            sub: account_user(&account.namespace, &account.serviceaccount.name),
            ..Claims::default()
        };
        jsonwebtoken::encode(&self.header, &claims, &self.sign).map_err(TokenError::Key)
    }

    /// What a token says, if this server signed it. Times are for the caller to check.
    ///
    /// # Errors
    /// Not a token of this server.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let data = jsonwebtoken::decode::<Claims>(token, &self.verify, &self.validation);
        data.map(|data| data.claims)
            .map_err(|_| TokenError::Invalid)
    }
}

/// True for what looks like a JWT; other bearer tokens are looked up in the static table only.
#[must_use]
pub fn looks_like_jwt(token: &str) -> bool {
    token.len() <= TOKEN_LENGTH_MAX && token.split('.').count() == 3
}

/// The logical cluster that an *unverified* token names, for rewriting the URL of clients inside
/// pods: they cannot put a cluster into their URLs. Authorization still happens afterwards.
#[must_use]
pub fn unverified_cluster(token: &str) -> Option<String> {
    if !looks_like_jwt(token) {
        return None;
    }
    let claims: Claims = jsonwebtoken::dangerous::insecure_decode_claims(token).ok()?;
    let cluster = claims.account().cluster;
    hanse_rules::path::is_valid(&cluster).then_some(cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn key_pem() -> String {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
        let random = aws_lc_rs::rand::SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    }

    fn wanted() -> Wanted {
        let name = |n: &str| Reference {
            name: n.into(),
            uid: format!("{n}-uid"),
        };
        Wanted {
            account: Private {
                cluster: "c1".into(),
                namespace: "ns".into(),
                secret: None,
                serviceaccount: name("sa"),
            },
            audiences: vec!["a".into()],
            seconds: 600,
            now: 1_000_000,
            id: "id".into(),
        }
    }

    #[test]
    fn a_token_comes_back() {
        let signer = Signer::from_pem(key_pem().as_bytes(), "https://issuer").unwrap();
        let token = signer.mint(wanted()).unwrap();
        let claims = signer.verify(&token).unwrap();
        assert_eq!(claims.sub, "system:serviceaccount:ns:sa");
        assert_eq!(claims.account(), wanted().account);
        assert!(claims.is_current(1_000_300));
        assert!(!claims.is_current(1_000_700));
        assert!(!claims.is_current(999_900));
        assert_eq!(unverified_cluster(&token).as_deref(), Some("c1"));
        let other = Signer::from_pem(key_pem().as_bytes(), "https://issuer").unwrap();
        assert!(other.verify(&token).is_err());
        assert!(signer.verify(&token[..token.len() - 2]).is_err());
        assert!(jsonwebtoken::decode_header(&token).unwrap().kid.is_some());
    }

    #[test]
    fn legacy_tokens_have_no_end() {
        let signer = Signer::from_pem(key_pem().as_bytes(), "https://issuer").unwrap();
        let token = signer.mint_legacy(&wanted().account, "secret").unwrap();
        let claims = signer.verify(&token).unwrap();
        assert!(claims.is_current(u64::MAX / 2));
        let account = claims.account();
        assert_eq!(account.secret.unwrap().name, "secret");
        assert_eq!(
            (account.cluster.as_str(), account.namespace.as_str()),
            ("c1", "ns")
        );
        let endless = Claims {
            private: Some(Private::default()),
            ..Claims::default()
        };
        assert!(!endless.is_current(0), "a bound token must end");
    }

    #[test]
    fn garbage_has_no_cluster() {
        for token in ["", "a.b", "a.b.c", "....", "e30.e30.e30"] {
            assert_eq!(unverified_cluster(token), None, "{token}");
        }
    }
}
