//! Who are you, and may you: certificates, tokens, service accounts, RBAC and kcp's stages.
//!
//! Start with [`Authenticator::authenticate`] (who), [`Authorizer::authorize`] (may), and
//! [`View`], through which both see the present. Invariant: an answer is made from what the hub
//! shows at that moment; nothing is kept for a logical cluster that nobody asks about.
//! Deliberately elsewhere: pure identity rules (`hanse-rules`), what an object may look like
//! (admission), HTTP (api).

mod attributes;
mod authenticator;
pub mod authority;
mod authorizer;
pub mod certificate;
pub mod escalation;
mod grants;
pub mod impersonation;
pub mod rbac;
pub mod review;
pub mod token;
pub mod versions;
mod view;

#[cfg(test)]
mod tests;

pub use attributes::{ACCESS_DENIED, Attributes, Decision};
pub use authenticator::{
    Authenticator, Config, StaticTokens, Unauthorized, bearer, cluster_of_pod_client,
};
pub use authorizer::Authorizer;
pub use grants::Grants;
pub use hanse_rules::users::{UserInfo, Warrant};
pub use view::{LIST_MAX, Resolution, Resources, TenancyResources, View};
