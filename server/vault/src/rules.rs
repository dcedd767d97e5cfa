//! Which providers a resource has, and what they do with a value.
//!
//! Start at [`Rules::build`]. A resource's own rules go before those of its group, and those before
//! the rule for everything; of the providers found the first one seals and all of them open. The
//! invariant: a value that says that it is sealed is never taken for a plain one, and a plain one
//! is believed only where `identity` is among the providers.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hanse_seams::{Rng, Seams};

use crate::SEALED;
use crate::cipher::Cipher;
use crate::config::{ConfigError, Configuration, KeysConfiguration, ProviderConfiguration};
use crate::kms::{self, Kms};

/// A resource of a group, or all of them (`*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupResource {
    pub(crate) group: String,
    pub(crate) resource: String,
}

impl GroupResource {
    /// `resource` or `resource.group`; `*.` is everything in the core group.
    pub(crate) fn parse(text: &str) -> Self {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        Self {
            group: group.to_owned(),
            resource: resource.to_owned(),
        }
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.group == "*" && self.resource == "*"
    }

    fn shown(&self) -> String {
        match (self.group.as_str(), self.resource.as_str()) {
            ("", "*") => "*.".to_owned(),
            ("", resource) => resource.to_owned(),
            (group, resource) => format!("{resource}.{group}"),
        }
    }

    /// Where its keys in the store begin.
    pub(crate) fn prefix(&self) -> String {
        match (self.group.as_str(), self.resource.as_str()) {
            ("*", "*") => String::new(),
            (group, "*") => format!("{group}/"),
            (group, resource) => format!("{group}/{resource}/"),
        }
    }
}

pub(crate) struct NamedKey {
    /// The name and a colon.
    name: Vec<u8>,
    cipher: Cipher,
}

pub(crate) enum Provider {
    Identity,
    Keys {
        prefix: &'static str,
        keys: Vec<NamedKey>,
    },
    Kms {
        prefix: String,
        kms: Arc<Kms>,
    },
}

/// Why a value does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unopened {
    /// No provider of the configuration is its own.
    #[error("{0}")]
    NoKey(String),
    /// Its provider says that it is not what was sealed there.
    #[error("{0}")]
    Damaged(String),
    /// Its provider does not answer.
    #[error("{0}")]
    Unavailable(String),
}

/// The rules of a configuration.
pub struct Rules {
    rules: Vec<(GroupResource, Vec<Arc<Provider>>)>,
    plugins: Vec<Arc<Kms>>,
    rng: Arc<dyn Rng>,
}

impl Rules {
    /// Makes the providers. Plugins are not asked anything yet.
    ///
    /// # Errors
    /// What Kubernetes says of rules that hide others, and of providers that it does not have.
    pub fn build(config: &Configuration, seams: &Seams) -> Result<Self, ConfigError> {
        let mut built = Self {
            rules: Vec::new(),
            plugins: Vec::new(),
            rng: Arc::clone(&seams.rng),
        };
        for rule in &config.resources {
            let mut providers = Vec::with_capacity(rule.providers.len());
            for one in &rule.providers {
                let provider = built.provider(one, seams).map_err(ConfigError::Build)?;
                providers.push(Arc::new(provider));
            }
            for name in &rule.resources {
                let resource = GroupResource::parse(name);
                built.unmasked(&resource).map_err(ConfigError::Build)?;
                match built.rules.iter_mut().find(|(known, _)| *known == resource) {
                    Some((_, known)) => known.extend(providers.iter().cloned()),
                    None => built.rules.push((resource, providers.clone())),
                }
            }
        }
        Ok(built)
    }

    /// An earlier rule for all of a group, or for everything, leaves a later one nothing to do.
    fn unmasked(&self, resource: &GroupResource) -> Result<(), String> {
        let wider = [resource.group.as_str(), "*"].map(|group| GroupResource {
            group: group.to_owned(),
            resource: "*".to_owned(),
        });
        let masks = |wide: &&GroupResource| self.rules.iter().any(|(known, _)| known == *wide);
        match wider.iter().find(masks) {
            None => Ok(()),
            Some(earlier) => Err(format!(
                "resource {:?} is masked by earlier rule {:?}",
                resource.shown(),
                earlier.shown()
            )),
        }
    }

    fn provider(
        &mut self,
        config: &ProviderConfiguration,
        seams: &Seams,
    ) -> Result<Provider, String> {
        let none = "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, \
                    Secretbox, Identity";
        if let Some(keys) = &config.aesgcm {
            return named("k8s:enc:aesgcm:v1:", keys, Cipher::gcm);
        }
        if let Some(keys) = &config.aescbc {
            tracing::warn!(
                "aescbc tells no damage and no exchange of values: prefer aesgcm or kms"
            );
            return named("k8s:enc:aescbc:v1:", keys, Cipher::cbc);
        }
        if config.secretbox.is_some() {
            return Err("the secretbox provider is not offered: use aesgcm or kms".to_owned());
        }
        let Some(plugin) = &config.kms else {
            return config
                .identity
                .map(|_| Provider::Identity)
                .ok_or(none.to_owned());
        };
        if plugin.version() != "v2" {
            return Err("KMS v1 is not offered: use apiVersion: v2".to_owned());
        }
        let timeout = plugin
            .waiting()
            .ok_or("timeout should be a positive value")?;
        let kms = Kms::new(&plugin.name, &plugin.endpoint, timeout, seams);
        let kms = Arc::new(kms);
        self.plugins.push(Arc::clone(&kms));
        Ok(Provider::Kms {
            prefix: format!("k8s:enc:kms:v2:{}:", plugin.name),
            kms,
        })
    }

    /// The plugins that are named.
    pub(crate) fn plugins(&self) -> &[Arc<Kms>] {
        &self.plugins
    }

    /// Whether all plugins are well; else what each of the others says.
    pub(crate) fn health(&self) -> Result<(), String> {
        let plugins = self.plugins.iter().enumerate();
        let ill: Vec<String> = plugins
            .filter_map(|(place, kms)| Some((place, kms.health().err()?)))
            .map(|(place, why)| format!("kms-provider-{place}: {why}"))
            .collect();
        match ill.as_slice() {
            [] => Ok(()),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }

    /// The resources that have rules.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &GroupResource> {
        self.rules.iter().map(|(resource, _)| resource)
    }

    /// The providers of a resource; empty when there is no rule for it.
    pub(crate) fn of(&self, group: &str, resource: &str) -> &[Arc<Provider>] {
        let wanted = [(group, resource), (group, "*"), ("*", "*")];
        let find = |(group, resource): (&str, &str)| {
            let rules = self.rules.iter();
            rules
                .filter(|(known, _)| known.group == group && known.resource == resource)
                .map(|(_, providers)| providers.as_slice())
                .next()
        };
        wanted.into_iter().find_map(find).unwrap_or_default()
    }

    /// All providers: for values whose resource only their content tells.
    pub(crate) fn all(&self) -> Vec<Arc<Provider>> {
        let mut all: Vec<Arc<Provider>> = Vec::new();
        for provider in self.rules.iter().flat_map(|(_, providers)| providers) {
            if !all.iter().any(|known| Arc::ptr_eq(known, provider)) {
                all.push(Arc::clone(provider));
            }
        }
        all
    }

    /// The value as it is to lie at a place; `None` when it stays plain.
    pub(crate) fn seal(
        &self,
        providers: &[Arc<Provider>],
        place: &[u8],
        plain: &[u8],
    ) -> Result<Option<Bytes>, String> {
        let Some(first) = providers.first() else {
            return Ok(None);
        };
        let mut out = Vec::with_capacity(plain.len() + 256);
        match &**first {
            Provider::Identity => return Ok(None),
            Provider::Keys { prefix, keys } => {
                let key = keys.first().ok_or("aes provider has no valid keys")?;
                out.extend_from_slice(prefix.as_bytes());
                out.extend_from_slice(&key.name);
                key.cipher.seal(&*self.rng, place, plain, &mut out)?;
            }
            Provider::Kms { prefix, kms } => {
                out.extend_from_slice(prefix.as_bytes());
                kms.seal(place, plain, &mut out)?;
            }
        }
        Ok(Some(out.into()))
    }
}

fn named(
    prefix: &'static str,
    config: &KeysConfiguration,
    cipher: fn(&[u8]) -> Option<Cipher>,
) -> Result<Provider, String> {
    let mut keys = Vec::with_capacity(config.keys.len());
    for key in &config.keys {
        let bytes = STANDARD.decode(&key.secret).ok();
        let bytes =
            bytes.ok_or_else(|| format!("could not obtain secret for named key {}", key.name))?;
        let cipher = cipher(&bytes);
        keys.push(NamedKey {
            name: format!("{}:", key.name).into_bytes(),
            cipher: cipher
                .ok_or_else(|| format!("error while creating cipher for named key {}", key.name))?,
        });
    }
    Ok(Provider::Keys { prefix, keys })
}

/// The plain value of what lies at a place.
pub(crate) async fn open(
    providers: &[Arc<Provider>],
    place: &[u8],
    value: &Bytes,
) -> Result<Bytes, Unopened> {
    let is_sealed = value.starts_with(SEALED);
    // Without a rule a resource is plain, and what is sealed is not its own.
    if providers.is_empty() && !is_sealed {
        return Ok(value.clone());
    }
    let mut failed: Option<Unopened> = None;
    for provider in providers {
        let opened = match &**provider {
            Provider::Identity if is_sealed => continue,
            Provider::Identity => return Ok(value.clone()),
            Provider::Keys { prefix, keys } => match value.strip_prefix(prefix.as_bytes()) {
                Some(rest) => open_named(keys, place, rest),
                None => continue,
            },
            Provider::Kms { prefix, kms } => match value.strip_prefix(prefix.as_bytes()) {
                Some(rest) => kms.open(place, rest).await.map_err(|error| match error {
                    kms::Error::Plugin(why) => Unopened::Unavailable(why),
                    kms::Error::Damaged(why) => Unopened::Damaged(why),
                }),
                None => continue,
            },
        };
        match (opened, &failed) {
            (Ok(plain), _) => return Ok(plain.into()),
            // A key that was there and failed says more than one that was not.
            (Err(error), None | Some(Unopened::NoKey(_))) => failed = Some(error),
            (Err(_), _) => {}
        }
    }
    Err(failed
        .unwrap_or_else(|| Unopened::NoKey(format!("no matching prefix found{}", header(value)))))
}

fn open_named(keys: &[NamedKey], place: &[u8], rest: &[u8]) -> Result<Vec<u8>, Unopened> {
    let text = "no matching key was found for the provided AES transformer";
    let mut failed = Unopened::NoKey(text.to_owned());
    for key in keys {
        let Some(sealed) = rest.strip_prefix(&key.name[..]) else {
            continue;
        };
        match key.cipher.open(place, sealed) {
            Ok(plain) => return Ok(plain),
            Err(why) => failed = Unopened::Damaged(why.to_owned()),
        }
    }
    Err(failed)
}

/// What a sealed value says of its provider and key, for people.
fn header(value: &[u8]) -> String {
    if !value.starts_with(SEALED) {
        return ": the value is plain, and identity is not among the providers".to_owned();
    }
    let parts = value.split(|byte| *byte == b':').take(5);
    let parts: Vec<_> = parts.map(String::from_utf8_lossy).collect();
    let shown: String = parts.join(":").chars().take(128).collect();
    format!(" for {shown}")
}

/// Whether a value would lie in another form if it were written now.
pub(crate) fn is_stale(providers: &[Arc<Provider>], value: &[u8]) -> bool {
    let Some(first) = providers.first() else {
        return false;
    };
    match &**first {
        Provider::Identity => value.starts_with(SEALED),
        Provider::Keys { prefix, keys } => {
            let rest = value.strip_prefix(prefix.as_bytes());
            let key = keys.first().map(|key| &key.name[..]);
            !rest
                .zip(key)
                .is_some_and(|(rest, key)| rest.starts_with(key))
        }
        Provider::Kms { prefix, kms } => match value.strip_prefix(prefix.as_bytes()) {
            Some(rest) => kms.is_stale(rest),
            None => true,
        },
    }
}
