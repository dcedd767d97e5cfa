//! Who are you, and may you: certificates, tokens, service accounts, RBAC and kcp's stages.

mod attributes;
pub mod certificate;
pub mod rbac;
pub mod token;
pub mod versions;

pub use attributes::{ACCESS_DENIED, Attributes, Decision};
pub use hanse_rules::users::{UserInfo, Warrant};
