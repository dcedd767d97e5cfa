//! Who is asking: client certificates, static and generated tokens, service accounts, nobody.
//!
//! Start with [`Authenticator::authenticate`]. Any method that recognises the caller wins;
//! credentials that none recognises are 401, no credentials are anonymous. A service account's
//! token is good only while its account (and the secret it is bound to) exists, which is looked
//! up on each request; its signature is checked once.

use crate::certificate::{CREDENTIAL_ID, ClientCa};
use crate::token::{self, Claims, Signer, TokenError};
use crate::versions::Recent;
use crate::{UserInfo, View};
use hanse_apis::kcp::user;
use hanse_cache::Object;
use hanse_seams::Seams;
use http::{HeaderMap, header};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Verified tokens that are remembered.
const VERIFIED_MAX: usize = 4096;
/// Subprotocol by which browsers carry a bearer token on websockets.
const WEBSOCKET_BEARER: &str = "base64url.bearer.authorization.k8s.io.";

/// Credentials were shown and nobody knows them: 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Unauthorized")]
pub struct Unauthorized;

/// Tokens that stand in files, by their hash.
#[derive(Default)]
pub struct StaticTokens(BTreeMap<[u8; 32], UserInfo>);

impl StaticTokens {
    /// Adds a token.
    pub fn insert(&mut self, token: &str, user: UserInfo) {
        self.insert_hash(Sha256::digest(token.as_bytes()).into(), user);
    }

    /// Adds a token of which only the SHA-256 is known (`.admin-token-store`).
    pub fn insert_hash(&mut self, hash: [u8; 32], user: UserInfo) {
        self.0.insert(hash, user);
    }

    /// Reads a token file: `token,user,uid[,"group1,group2"]` on each line.
    ///
    /// # Errors
    /// The number of the first line that has fewer than three columns or an empty token.
    pub fn read_csv(&mut self, text: &str) -> Result<(), String> {
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let columns = csv_columns(line);
            let [token, name, uid, rest @ ..] = columns.as_slice() else {
                return Err(format!("line {}: expected at least 3 columns", at + 1));
            };
            if token.is_empty() {
                return Err(format!("line {}: empty token", at + 1));
            }
            let groups = rest.first().map(String::as_str).unwrap_or_default();
            let groups = groups.split(',').map(str::trim).filter(|g| !g.is_empty());
            let user = UserInfo {
                name: name.clone(),
                uid: uid.clone(),
                groups: groups.map(str::to_owned).collect(),
                ..UserInfo::default()
            };
            self.insert(token, user);
        }
        Ok(())
    }
}

/// Columns of one line; quotes keep commas, doubled quotes are quotes.
fn csv_columns(line: &str) -> Vec<String> {
    let mut columns = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                push_last(&mut columns, '"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => columns.push(String::new()),
            other => push_last(&mut columns, other),
        }
    }
    columns.iter().map(|c| c.trim().to_owned()).collect()
}

fn push_last(columns: &mut [String], character: char) {
    if let Some(last) = columns.last_mut() {
        last.push(character);
    }
}

/// What an authenticator knows.
pub struct Config {
    /// Authorities of client certificates.
    pub client_ca: Option<ClientCa>,
    /// Tokens in files.
    pub tokens: StaticTokens,
    /// Key of service account tokens.
    pub signer: Arc<Signer>,
    /// Audiences of this server.
    pub audiences: Vec<String>,
}

/// Recognises callers.
pub struct Authenticator {
    config: Config,
    view: Arc<View>,
    seams: Seams,
    verified: Recent<[u8; 32], Claims>,
}

impl Authenticator {
    /// Recognises by `config`, and looks service accounts up in `view`.
    #[must_use]
    pub fn new(config: Config, view: Arc<View>, seams: Seams) -> Authenticator {
        Authenticator {
            config,
            view,
            seams,
            verified: Recent::new(VERIFIED_MAX),
        }
    }

    /// Key of service account tokens.
    #[must_use]
    pub fn signer(&self) -> &Arc<Signer> {
        &self.config.signer
    }

    /// Audiences of this server.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.config.audiences
    }

    /// Who asks; `None` without any credentials. `chain` is the client's certificate chain, leaf
    /// first, as TLS carried it (unverified).
    ///
    /// # Errors
    /// Credentials that nobody recognises.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        chain: Option<&[CertificateDer<'_>]>,
    ) -> Result<Option<UserInfo>, Unauthorized> {
        let chain = chain.filter(|c| !c.is_empty());
        if let (Some(chain), Some(ca)) = (chain, &self.config.client_ca) {
            match ca.user(chain, self.seams.clock.wall()) {
                Ok(user) => return Ok(Some(authenticated(user))),
                Err(error) => tracing::debug!(%error, "client certificate refused"),
            }
        }
        match bearer(headers) {
            Some(token) => self
                .token_user(&token, &self.config.audiences)
                .map(|(user, _)| Some(user)),
            // A certificate of somebody else's authority counts as shown credentials.
            None if chain.is_some() && self.config.client_ca.is_some() => Err(Unauthorized),
            None => Ok(None),
        }
    }

    /// Whose token this is, and for which of the wanted audiences. For requests and TokenReviews.
    ///
    /// # Errors
    /// A token that nobody recognises, or one for other audiences.
    pub fn token_user(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<(UserInfo, Vec<String>), Unauthorized> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(user) = self.config.tokens.0.get(&hash) {
            let known = |a: &&String| self.config.audiences.contains(a);
            let good: Vec<String> = audiences.iter().filter(known).cloned().collect();
            if good.is_empty() && !audiences.is_empty() {
                return Err(Unauthorized);
            }
            return Ok((authenticated(user.clone()), good));
        }
        if !token::looks_like_jwt(token) {
            return Err(Unauthorized);
        }
        let verify = || self.config.signer.verify(token);
        let claims = self
            .verified
            .try_get::<TokenError>(hash, verify)
            .map_err(|_| Unauthorized)?;
        let legacy = claims.private.is_none();
        let good: Vec<String> = match legacy {
            true => audiences
                .iter()
                .filter(|a| self.config.audiences.contains(a))
                .cloned()
                .collect(),
            false => audiences
                .iter()
                .filter(|a| claims.aud.contains(a))
                .cloned()
                .collect(),
        };
        if good.is_empty() || !claims.is_current(self.seams.clock.wall().as_secs()) {
            return Err(Unauthorized);
        }
        self.account_user(&claims)
            .map(|user| (user, good))
            .ok_or(Unauthorized)
    }

    /// The user of a service account that still exists.
    fn account_user(&self, claims: &Claims) -> Option<UserInfo> {
        let account = claims.account();
        let resources = self.view.resources();
        let found = self.view.get(
            &resources.service_accounts,
            &account.cluster,
            &account.namespace,
            &account.serviceaccount.name,
        )?;
        let same = |object: &Object, uid: &str| uid.is_empty() || object.uid() == uid;
        if !same(&found, &account.serviceaccount.uid) || found.is_deleting() {
            return None;
        }
        if let Some(bound) = &account.secret {
            let secret = self.view.get(
                &resources.secrets,
                &account.cluster,
                &account.namespace,
                &bound.name,
            )?;
            if !same(&secret, &bound.uid) || secret.is_deleting() {
                return None;
            }
        }
        let groups = [
            user::SERVICE_ACCOUNTS.to_owned(),
            format!("{}:{}", user::SERVICE_ACCOUNTS, account.namespace),
            user::AUTHENTICATED.to_owned(),
        ];
        let mut user = UserInfo {
            name: token::account_user(&account.namespace, &account.serviceaccount.name),
            uid: found.uid().to_owned(),
            groups: groups.to_vec(),
            ..UserInfo::default()
        };
        if !claims.jti.is_empty() {
            user.extra.insert(
                CREDENTIAL_ID.to_owned(),
                vec![format!("JTI={}", claims.jti)],
            );
        }
        let scope = format!("{}{}", user::SCOPE_PREFIX, account.cluster);
        user.extra
            .insert(user::CLUSTER_NAME.to_owned(), vec![account.cluster]);
        user.extra.insert(user::SCOPES.to_owned(), vec![scope]);
        Some(user)
    }
}

fn authenticated(mut user: UserInfo) -> UserInfo {
    if !user.in_group(user::AUTHENTICATED) {
        user.groups.push(user::AUTHENTICATED.to_owned());
    }
    user
}

/// The bearer token of a request, from its header or its websocket subprotocols.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok());
    if let Some((scheme, token)) = value.and_then(|v| v.trim().split_once(' ')) {
        let token = token.trim();
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
            .then(|| token.to_owned());
    }
    let protocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let protocols = protocols
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','));
    let encoded = protocols
        .filter_map(|p| p.trim().strip_prefix(WEBSOCKET_BEARER))
        .next()?;
    use base64::Engine;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(encoded)
        .ok()?;
    String::from_utf8(bytes).ok()
}

/// The logical cluster to put before the path of a request that carries a service account token
/// and no cluster in its URL. The claim is not verified here; authorization still happens.
#[must_use]
pub fn cluster_of_pod_client(path: &str, headers: &HeaderMap) -> Option<String> {
    if path.starts_with("/clusters/")
        || path.starts_with("/services/")
        || headers.contains_key("x-kubernetes-sharded-request")
    {
        return None;
    }
    token::unverified_cluster(&bearer(headers)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_files() {
        let mut tokens = StaticTokens::default();
        let text = "# who\nt1,alice,u1,\"dev,ops\"\n\nt2,\"bo\"\"b\",u2\n";
        tokens.read_csv(text).unwrap();
        let user = |token: &str| tokens.0[&<[u8; 32]>::from(Sha256::digest(token))].clone();
        assert_eq!(user("t1").groups, ["dev", "ops"]);
        assert_eq!(user("t2").name, "bo\"b");
        assert!(
            StaticTokens::default()
                .read_csv("a,b")
                .unwrap_err()
                .contains("line 1")
        );
        assert!(StaticTokens::default().read_csv(",b,c").is_err());
    }

    #[test]
    fn bearer_tokens_in_header_and_websocket() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), None);
        headers.insert("authorization", "bearer  abc".parse().unwrap());
        assert_eq!(bearer(&headers).as_deref(), Some("abc"));
        headers.insert("authorization", "Basic abc".parse().unwrap());
        assert_eq!(bearer(&headers), None);
        headers.remove("authorization");
        let protocol = format!("v4.channel.k8s.io, {WEBSOCKET_BEARER}YWJj");
        headers.insert("sec-websocket-protocol", protocol.parse().unwrap());
        assert_eq!(bearer(&headers).as_deref(), Some("abc"));
    }
}
