//! IP addresses and networks, as strict as Kubernetes wants them: no zones, no IPv4 in IPv6.

use hanse_json::go::quote;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network: an address and the number of leading bits that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    pub(crate) address: IpAddr,
    pub(crate) bits: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn bits_of(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(a) => (u128::from(u32::from(a)) << 96, 32),
        IpAddr::V6(a) => (u128::from(a), 128),
    }
}

fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

impl Cidr {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let ((ours, width), (theirs, other)) = (bits_of(self.address), bits_of(address));
        width == other && (ours ^ theirs) & mask(self.bits) == 0
    }

    pub(crate) fn contains_network(&self, other: &Cidr) -> bool {
        self.bits <= other.bits && self.contains(other.address)
    }

    pub(crate) fn masked(&self) -> Cidr {
        let (value, _) = bits_of(self.address);
        let value = value & mask(self.bits);
        let address = match self.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from((value >> 96) as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(value)),
        };
        Cidr {
            address,
            bits: self.bits,
        }
    }
}

/// Reads an address; the error is the whole text that a client sees.
pub(crate) fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let shown = quote(text);
    let (address, zone) = parse(text).map_err(|why| {
        format!("IP Address {shown} parse error during conversion from string: {why}")
    })?;
    if zone {
        return Err(format!("IP address {shown} with zone value is not allowed"));
    }
    match address {
        IpAddr::V6(a) if a.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {shown} is not allowed"))
        }
        address => Ok(address),
    }
}

/// Reads a network; the error is the whole text that a client sees.
pub(crate) fn parse_cidr(text: &str) -> Result<Cidr, String> {
    const CONTEXT: &str = "network address parse error during conversion from string:";
    let cidr = parse_prefix(text)
        .map_err(|why| format!("{CONTEXT} netip.ParsePrefix({}): {why}", quote(text)))?;
    match cidr.address {
        IpAddr::V6(a) if a.to_ipv4_mapped().is_some() => Err(format!(
            "IPv4-mapped IPv6 address {} is not allowed",
            quote(text)
        )),
        _ => Ok(cidr),
    }
}

fn parse_prefix(text: &str) -> Result<Cidr, String> {
    let (address, bits) = text.rsplit_once('/').ok_or("no '/'")?;
    let (address, zone) = parse(address)?;
    if zone {
        return Err("IPv6 zones cannot be present in a prefix".into());
    }
    let bad = || format!("bad bits after slash: {}", quote(bits));
    if bits.len() > 1 && !bits.starts_with(|c: char| ('1'..='9').contains(&c)) {
        return Err(bad());
    }
    if bits.is_empty() || !bits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let width = bits_of(address).1;
    match bits.parse::<u64>() {
        Ok(bits) if bits <= u64::from(width) => Ok(Cidr {
            address,
            bits: bits as u8,
        }),
        Ok(_) => Err("prefix length out of range".into()),
        Err(_) => Err(bad()),
    }
}

/// An address and whether it has a zone; the error is Go's.
pub(crate) fn parse(text: &str) -> Result<(IpAddr, bool), String> {
    let wrong = |why: &str| format!("ParseAddr({}): {why}", quote(text));
    match text.find(['.', ':', '%']).map(|at| text.as_bytes()[at]) {
        Some(b'.') => parse_v4(text)
            .map(|a| (IpAddr::V4(a), false))
            .map_err(|e| wrong(&e)),
        Some(b':') => {
            let (address, zone) = match text.split_once('%') {
                Some((_, "")) => return Err(wrong("zone must be a non-empty string")),
                Some((address, _)) => (address, true),
                None => (text, false),
            };
            parse_v6(address)
                .map(|a| (IpAddr::V6(a), zone))
                .map_err(|e| wrong(&e))
        }
        Some(_) => Err(wrong("missing IPv6 address")),
        None => Err(wrong("unable to parse IP")),
    }
}

fn parse_v4(text: &str) -> Result<Ipv4Addr, String> {
    let mut fields = [0_u8; 4];
    let (mut pos, mut value, mut digits) = (0, 0_u32, 0);
    let bytes = text.as_bytes();
    for (i, b) in bytes.iter().enumerate() {
        let at = quote(text.get(i..).unwrap_or_default());
        match b {
            b'0'..=b'9' => {
                if digits == 1 && value == 0 {
                    return Err("IPv4 field has octet with leading zero".into());
                }
                value = value * 10 + u32::from(b - b'0');
                digits += 1;
                if value > 255 {
                    return Err("IPv4 field has value >255".into());
                }
            }
            b'.' => {
                if i == 0 || i + 1 == bytes.len() || bytes[i - 1] == b'.' {
                    return Err(format!("IPv4 field must have at least one digit (at {at})"));
                }
                if pos == 3 {
                    return Err("IPv4 address too long".into());
                }
                fields[pos] = value as u8;
                (pos, value, digits) = (pos + 1, 0, 0);
            }
            _ => return Err(format!("unexpected character (at {at})")),
        }
    }
    if pos < 3 {
        return Err("IPv4 address too short".into());
    }
    fields[3] = value as u8;
    Ok(Ipv4Addr::from(fields))
}

fn parse_v6(text: &str) -> Result<Ipv6Addr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    // The address is refused: find out how Go says so.
    let at = |rest: &str, why: &str| Err(format!("{why} (at {})", quote(rest)));
    let mut rest = text.strip_prefix("::").unwrap_or(text);
    let mut ellipsis = rest.len() != text.len();
    let mut groups = 0;
    while groups < 8 {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        if digits > 4 {
            return at(rest, "each group must have 4 or less digits");
        }
        if digits == 0 {
            return at(
                rest,
                "each colon-separated field must have at least one digit",
            );
        }
        let tail = &rest[digits..];
        if tail.starts_with('.') {
            if !ellipsis && groups != 6 {
                return at(
                    rest,
                    "embedded IPv4 address must replace the final 2 fields of the address",
                );
            }
            return match parse_v4(rest) {
                Err(why) => Err(why),
                Ok(_) => at(
                    rest,
                    "too many hex fields to fit an embedded IPv4 at the end of the address",
                ),
            };
        }
        groups += 1;
        rest = tail;
        if rest.is_empty() {
            break;
        }
        if !rest.starts_with(':') {
            return at(rest, "unexpected character, want colon");
        }
        if rest.len() == 1 {
            return at(rest, "colon must be followed by more characters");
        }
        rest = &rest[1..];
        if let Some(tail) = rest.strip_prefix(':') {
            if ellipsis {
                return at(rest, "multiple :: in address");
            }
            ellipsis = true;
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
    }
    if !rest.is_empty() {
        return at(rest, "trailing garbage after address");
    }
    Err(match (groups < 8, ellipsis) {
        (true, _) => "address string too short".into(),
        (false, _) => "the :: must expand to at least one field of zeros".into(),
    })
}

pub(crate) fn is_link_local_multicast(a: IpAddr) -> bool {
    match a {
        IpAddr::V4(a) => a.octets()[..3] == [224, 0, 0],
        IpAddr::V6(a) => a.segments()[0] & 0xff0f == 0xff02,
    }
}

pub(crate) fn is_link_local_unicast(a: IpAddr) -> bool {
    match a {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.segments()[0] & 0xffc0 == 0xfe80,
    }
}

pub(crate) fn is_global_unicast(a: IpAddr) -> bool {
    let special = match a {
        IpAddr::V4(a) => a.is_broadcast() || a.is_unspecified(),
        IpAddr::V6(a) => a.is_unspecified(),
    };
    !special && !a.is_loopback() && !a.is_multicast() && !is_link_local_unicast(a)
}
