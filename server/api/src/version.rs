//! What this server says it is at `/version`.
//!
//! Clients parse `gitVersion` as a semantic version and compare minors, so it names the
//! Kubernetes version whose behaviour is served, with Hanse's own version as build metadata.

use serde_json::{Value, json};

/// Kubernetes major version that is served.
pub const MAJOR: &str = "1";
/// Kubernetes minor version that is served.
pub const MINOR: &str = "36";
/// Operating system and architecture, in Go's words.
pub const PLATFORM: &str = if cfg!(target_arch = "aarch64") {
    "linux/arm64"
} else {
    "linux/amd64"
};

/// `v1.36.0+hanse-v0.1.0`.
#[must_use]
pub fn git_version() -> String {
    format!("v{MAJOR}.{MINOR}.0+hanse-v{}", env!("CARGO_PKG_VERSION"))
}

/// The document at `/version`. Every field is there: some clients refuse a missing one. What a
/// Rust program has no answer to is said in words that fit the field.
#[must_use]
pub fn document() -> Value {
    json!({
        "major": MAJOR,
        "minor": MINOR,
        "emulationMajor": MAJOR,
        "emulationMinor": MINOR,
        "minCompatibilityMajor": MAJOR,
        "minCompatibilityMinor": "35",
        "gitVersion": git_version(),
        "gitCommit": option_env!("HANSE_GIT_COMMIT").unwrap_or("unknown"),
        "gitTreeState": option_env!("HANSE_GIT_TREE_STATE").unwrap_or("unknown"),
        "buildDate": option_env!("HANSE_BUILD_DATE").unwrap_or("1970-01-01T00:00:00Z"),
        "goVersion": "none",
        "compiler": "rustc",
        "platform": PLATFORM,
    })
}
