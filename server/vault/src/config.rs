//! The configuration file: `EncryptionConfiguration` of `apiserver.config.k8s.io/v1`.
//!
//! Start at [`Configuration::read`]. Unknown fields are errors, as they are in Kubernetes; what the
//! fields may say is judged in `validate.rs`. The invariant: no key's secret is ever shown, neither
//! by `Debug` nor in an error.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use hanse_schema::field::ErrorList;
use serde::Deserialize;

use crate::limits::{CONFIG_BYTES_MAX, KMS_TIMEOUT};
use crate::validate;

/// Which resources are sealed, and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Configuration {
    /// `apiserver.config.k8s.io/v1`.
    #[serde(default)]
    pub api_version: String,
    /// `EncryptionConfiguration`.
    #[serde(default)]
    pub kind: String,
    /// The rules in their order; earlier ones go before later ones.
    #[serde(default)]
    pub resources: Vec<ResourceConfiguration>,
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceConfiguration {
    /// `resource`, `resource.group`, `*.group`, `*.` (the core group) or `*.*`.
    #[serde(default)]
    pub resources: Vec<String>,
    /// The first one seals, all of them open.
    #[serde(default)]
    pub providers: Vec<ProviderConfiguration>,
}

/// One provider: exactly one of these.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfiguration {
    /// AES-GCM with random nonces.
    pub aesgcm: Option<KeysConfiguration>,
    /// AES-CBC, without authentication.
    pub aescbc: Option<KeysConfiguration>,
    /// XSalsa20 and Poly1305: understood, but not offered.
    pub secretbox: Option<KeysConfiguration>,
    /// Plain.
    pub identity: Option<Identity>,
    /// A plugin.
    pub kms: Option<KmsConfiguration>,
}

/// Nothing to configure.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {}

/// The keys of a provider; the first one seals, all of them open.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfiguration {
    /// The keys.
    #[serde(default)]
    pub keys: Vec<Key>,
}

/// A named key.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Stands before every value that was sealed with it.
    #[serde(default)]
    pub name: String,
    /// The key in base64.
    #[serde(default)]
    pub secret: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name: {}, Secret: [REDACTED]", self.name)
    }
}

/// A KMS plugin.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KmsConfiguration {
    /// `v2`. Without it Kubernetes means `v1`, which is not offered.
    #[serde(default)]
    pub api_version: String,
    /// Stands before every value that was sealed with its keys.
    #[serde(default)]
    pub name: String,
    /// Of `v1` only.
    pub cachesize: Option<i64>,
    /// `unix:///path/of/its.sock`.
    #[serde(default)]
    pub endpoint: String,
    /// How long it may take to answer, as a Go duration.
    pub timeout: Option<String>,
}

impl KmsConfiguration {
    /// `v1` where nothing is said, as in Kubernetes.
    pub(crate) fn version(&self) -> &str {
        match self.api_version.as_str() {
            "" => "v1",
            version => version,
        }
    }

    /// The timeout; `None` when it is not above zero or no duration.
    pub(crate) fn waiting(&self) -> Option<Duration> {
        let Some(text) = &self.timeout else {
            return Some(KMS_TIMEOUT);
        };
        go_duration(text).filter(|duration| !duration.is_zero())
    }
}

/// A Go duration that is not negative: `3s`, `1m30s`, `1.5h`, `0`.
fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, behind) = behind.split_at(letters.unwrap_or(behind.len()));
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * scale;
        rest = behind;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// Why a configuration is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("error reading encryption provider configuration file {path:?}: {source}")]
    Read {
        /// Which one.
        path: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error("encryption provider configuration file {0:?} is empty")]
    Empty(String),
    /// It is no configuration.
    #[error("error decoding encryption provider configuration file {path:?}: {why}")]
    Decode {
        /// Which one.
        path: String,
        /// Where it goes wrong.
        why: String,
    },
    /// What it says makes no sense.
    #[error("error while parsing file: {0}")]
    Invalid(#[from] ErrorList),
    /// It makes sense, but cannot be done.
    #[error("error while building transformers: {0}")]
    Build(String),
}

impl Configuration {
    /// Reads and judges a file's content. `reload` says that it may be read again while the server
    /// runs.
    ///
    /// # Errors
    /// What Kubernetes says of such a file.
    pub fn read(path: &Path, content: &[u8], reload: bool) -> Result<Self, ConfigError> {
        let path = path.display().to_string();
        if content.is_empty() {
            return Err(ConfigError::Empty(path));
        }
        let decode = |why: String| ConfigError::Decode {
            path: path.clone(),
            why,
        };
        let parsed = hanse_wire::yaml::parse(content).map_err(decode)?;
        if let Some(twice) = parsed.duplicates_text() {
            return Err(decode(format!("strict decoding error: {twice}")));
        }
        let read = serde_json::from_value::<Self>(parsed.value);
        let config = read.map_err(|error| decode(format!("strict decoding error: {error}")))?;
        let (version, kind) = (&config.api_version, &config.kind);
        if version != "apiserver.config.k8s.io/v1" || kind != "EncryptionConfiguration" {
            let why = format!("no kind {kind:?} is registered for version {version:?}");
            return Err(decode(why));
        }
        validate::configuration(&config, reload).into_result()?;
        Ok(config)
    }

    /// The content of a file, of bounded size.
    ///
    /// # Errors
    /// It cannot be read, or is too large.
    pub fn load(path: &Path) -> Result<Vec<u8>, ConfigError> {
        use std::io::Read as _;
        let failed = |source| ConfigError::Read {
            path: path.display().to_string(),
            source,
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mut content = Vec::new();
        file.take(CONFIG_BYTES_MAX + 1)
            .read_to_end(&mut content)
            .map_err(failed)?;
        if content.len() as u64 > CONFIG_BYTES_MAX {
            let large = std::io::Error::new(std::io::ErrorKind::FileTooLarge, "file too large");
            return Err(failed(large));
        }
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::go_duration;

    #[test]
    fn durations_are_those_of_go() {
        for (text, millis) in [
            ("3s", Some(3000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("250ms", Some(250)),
            ("0", Some(0)),
            ("-3s", None),
            ("3", None),
            ("", None),
            ("3 s", None),
            ("s", None),
        ] {
            assert_eq!(
                go_duration(text),
                millis.map(Duration::from_millis),
                "{text}"
            );
        }
    }
}
