//! Values of Kubernetes' libraries: addresses, quantities, versions, URLs, named formats.
//!
//! Expressions can only hand them from function to function and compare them with their like.

use crate::named::NamedFormat;
use crate::net::Cidr;
use crate::quantity::Quantity;
use crate::semver::Semver;
use crate::url::Url;
use crate::value::{CelError, Eval};
use std::fmt;
use std::net::IpAddr;

/// A value of one of Kubernetes' libraries.
#[derive(Debug, Clone)]
pub enum Opaque {
    /// `net.IP`.
    Ip(IpAddr),
    /// `net.CIDR`.
    Cidr(Cidr),
    /// `kubernetes.Quantity`.
    Quantity(Quantity),
    /// `kubernetes.Semver`.
    Semver(Semver),
    /// `kubernetes.URL`.
    Url(Url),
    /// `kubernetes.NamedFormat`.
    Format(&'static NamedFormat),
}

impl Opaque {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Url(_) => "kubernetes.URL",
            Self::Format(_) => "kubernetes.NamedFormat",
        }
    }

    /// Size for runtime costs: bytes of an address or of a prefix, one for all others.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Ip(IpAddr::V4(_)) => 4,
            Self::Ip(IpAddr::V6(_)) => 16,
            Self::Cidr(c) => u64::from(c.bits).div_ceil(8),
            _ => 1,
        }
    }

    /// Equality; values of another library cannot be compared.
    pub(crate) fn same(&self, other: &Opaque) -> Eval<bool> {
        Ok(match (self, other) {
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            (Self::Quantity(a), Self::Quantity(b)) => a.compare(b).is_eq(),
            (Self::Semver(a), Self::Semver(b)) => a.compare(b).is_eq(),
            (Self::Url(a), Self::Url(b)) => a.to_string() == b.to_string(),
            (Self::Format(a), Self::Format(b)) => a.name == b.name,
            _ => return Err(CelError::no_overload()),
        })
    }
}

impl fmt::Display for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(a) => a.fmt(f),
            Self::Cidr(c) => c.fmt(f),
            Self::Quantity(q) => q.fmt(f),
            Self::Semver(v) => v.fmt(f),
            Self::Url(u) => u.fmt(f),
            Self::Format(format) => f.write_str(format.name),
        }
    }
}
