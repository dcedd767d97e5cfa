//! URLs as Go's `net/url` reads them: what they are made of, and why they are refused.
//!
//! Start at [`Url::parse`] and [`Url::parse_request`]. Expressions ask for both at once
//! ([`parse`]); what is not an expression asks for one of them.

use hanse_json::go::quote;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// A parsed URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Url {
    /// In lower case, without its colon.
    pub scheme: String,
    opaque: String,
    /// `user[:password]` before the host, as written.
    pub user: Option<String>,
    /// Host and port.
    pub host: String,
    path: Vec<u8>,
    raw_path: String,
    /// What follows the `?`, as written.
    pub query: String,
    force_query: bool,
    /// What follows the `#`, as written; always empty from [`Url::parse_request`].
    pub fragment: String,
}

type Parsed<T> = Result<T, String>;

/// Where in a URL text stands; decides which characters need no escape.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Path,
    Host,
    /// Behind the percent sign of an IPv6 address.
    Zone,
    Query,
    Other,
}

/// Reads an absolute URL. The error is the whole text that a client sees.
pub(crate) fn parse(text: &str) -> Parsed<Url> {
    Url::parse_request(text)?;
    Url::parse(text)
}

fn frame(text: &str, why: &str) -> String {
    format!("parse {}: {why}", quote(text))
}

fn read(text: &str, request: bool) -> Parsed<Url> {
    if text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err("net/url: invalid control character in URL".into());
    }
    if text.is_empty() && request {
        return Err("empty url".into());
    }
    let mut url = Url::default();
    if text == "*" {
        url.path = b"*".to_vec();
        return Ok(url);
    }
    let (scheme, mut rest) = split_scheme(text)?;
    url.scheme = scheme.to_lowercase();
    if rest.ends_with('?') && rest.matches('?').count() == 1 {
        url.force_query = true;
        rest = &rest[..rest.len() - 1];
    } else if let Some((before, query)) = rest.split_once('?') {
        rest = before;
        url.query = query.to_owned();
    }
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            url.opaque = rest.to_owned();
            return Ok(url);
        }
        if request {
            return Err("invalid URI for request".into());
        }
        if rest
            .split('/')
            .next()
            .is_some_and(|first| first.contains(':'))
        {
            return Err("first path segment in URL cannot contain colon".into());
        }
    }
    if (!scheme.is_empty() || (!request && !rest.starts_with("///")))
        && let Some(tail) = rest.strip_prefix("//")
    {
        let (authority, path) = tail.split_at(tail.find('/').unwrap_or(tail.len()));
        read_authority(&mut url, authority)?;
        rest = path;
    }
    url.path = unescape(rest, Part::Path)?;
    if escape_path(&url.path) != rest {
        url.raw_path = rest.to_owned();
    }
    Ok(url)
}

fn split_scheme(text: &str) -> Parsed<(&str, &str)> {
    for (i, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if i > 0 => {}
            ':' if i == 0 => return Err("missing protocol scheme".into()),
            ':' => return Ok((&text[..i], &text[i + 1..])),
            _ => return Ok(("", text)),
        }
    }
    Ok(("", text))
}

fn read_authority(url: &mut Url, authority: &str) -> Parsed<()> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    url.host = read_host(host)?;
    let Some(user) = user else { return Ok(()) };
    let fine = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if !user.chars().all(fine) {
        return Err("net/url: invalid userinfo".into());
    }
    for part in user.splitn(2, ':') {
        unescape(part, Part::Other)?;
    }
    url.user = Some(user.to_owned());
    Ok(())
}

fn read_host(host: &str) -> Parsed<String> {
    let port_fine = |port: &str| {
        port.is_empty()
            || port
                .strip_prefix(':')
                .is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()))
    };
    let bad_port = |port: &str| format!("invalid port {} after host", quote(port));
    let utf8 = |b| String::from_utf8(b).map_err(|_| "invalid UTF-8 in host name".to_owned());
    if host.rfind('[').is_some_and(|at| at > 0) {
        return Err("invalid IP-literal".into());
    }
    if host.starts_with('[') {
        let Some(end) = host.rfind(']') else {
            return Err("missing ']' in host".into());
        };
        let (name, port) = (&host[1..end], &host[end + 1..]);
        if !port_fine(port) {
            return Err(bad_port(port));
        }
        let (name, zone) = name.split_at(name.find("%25").unwrap_or(name.len()));
        let mut address = unescape(name, Part::Host)?;
        address.extend(unescape(zone, Part::Zone)?);
        let address = utf8(address)?;
        match crate::net::parse(&address) {
            Ok((IpAddr::V4(_), _)) => return Err("invalid IP-literal".into()),
            Ok(_) => return Ok(format!("[{address}]{port}")),
            Err(why) => return Err(format!("invalid host: {why}")),
        }
    }
    if let Some(at) = host.rfind(':')
        && !port_fine(&host[at..])
    {
        return Err(bad_port(&host[at..]));
    }
    utf8(unescape(host, Part::Host)?)
}

fn host_fine(b: u8) -> bool {
    b >= 0x80 || b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]<>\"".contains(&b)
}

fn unescape(text: &str, part: Part) -> Parsed<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let digits = text
                    .get(at + 1..at + 3)
                    .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                let Some(byte) = digits.and_then(|d| u8::from_str_radix(d, 16).ok()) else {
                    let end = (at + 3).min(bytes.len());
                    let shown = String::from_utf8_lossy(&bytes[at..end]);
                    return Err(format!("invalid URL escape {}", quote(&shown)));
                };
                let fine = match part {
                    Part::Host => byte >= 0x80,
                    Part::Zone => byte == b' ' || (byte < 0x80 && host_fine(byte)),
                    Part::Path | Part::Query | Part::Other => true,
                };
                if !fine && &bytes[at..at + 3] != b"%25" {
                    let shown = String::from_utf8_lossy(&bytes[at..at + 3]);
                    return Err(format!("invalid URL escape {}", quote(&shown)));
                }
                out.push(byte);
                at += 3;
                continue;
            }
            b'+' if part == Part::Query => out.push(b' '),
            b if matches!(part, Part::Host | Part::Zone) && !host_fine(b) => {
                let shown = quote(&char::from(b).to_string());
                return Err(format!("invalid character {shown} in host name"));
            }
            b => out.push(b),
        }
        at += 1;
    }
    Ok(out)
}

fn escape_path(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for b in path {
        if b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(b) {
            out.push(char::from(*b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// Whether a path as written may be printed as written.
fn path_fine(path: &str) -> bool {
    path.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@[]%/".contains(&b))
}

impl Url {
    /// `url.Parse`: any reference.
    ///
    /// # Errors
    /// Go's whole text.
    pub fn parse(text: &str) -> Result<Url, String> {
        let (body, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut url = read(body, false).map_err(|why| frame(body, &why))?;
        unescape(fragment, Part::Other).map_err(|why| frame(text, &why))?;
        url.fragment = fragment.to_owned();
        Ok(url)
    }

    /// `url.ParseRequestURI`: an absolute URI or an absolute path; a `#` is part of the path.
    ///
    /// # Errors
    /// Go's whole text.
    pub fn parse_request(text: &str) -> Result<Url, String> {
        read(text, true).map_err(|why| frame(text, &why))
    }

    pub(crate) fn hostname(&self) -> &str {
        if let Some(rest) = self.host.strip_prefix('[') {
            return rest.split(']').next().unwrap_or_default();
        }
        self.host
            .rsplit_once(':')
            .map_or(&self.host, |(host, _)| host)
    }

    pub(crate) fn port(&self) -> &str {
        let tail = match self.host.rfind(']') {
            Some(end) => &self.host[end + 1..],
            None => &self.host,
        };
        tail.rsplit_once(':').map_or("", |(_, port)| port)
    }

    pub(crate) fn escaped_path(&self) -> String {
        if !self.raw_path.is_empty() && path_fine(&self.raw_path) {
            return self.raw_path.clone();
        }
        if self.path == b"*" {
            return "*".into();
        }
        escape_path(&self.path)
    }

    /// Parameters with all their values; those that cannot be read are left out.
    pub(crate) fn parameters(&self) -> BTreeMap<String, Vec<String>> {
        let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let pairs = self
            .query
            .split('&')
            .filter(|p| !p.is_empty() && !p.contains(';'));
        for pair in pairs {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let text = |t: &str| {
                let bytes = unescape(t, Part::Query).ok()?;
                Some(String::from_utf8_lossy(&bytes).into_owned())
            };
            if let (Some(key), Some(value)) = (text(key), text(value)) {
                out.entry(key).or_default().push(value);
            }
        }
        out
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if self.opaque.is_empty() {
            if !self.host.is_empty() || self.user.is_some() || !self.scheme.is_empty() {
                f.write_str("//")?;
                if let Some(user) = &self.user {
                    write!(f, "{user}@")?;
                }
                f.write_str(&self.host)?;
            }
            f.write_str(&self.escaped_path())?;
        } else {
            f.write_str(&self.opaque)?;
        }
        if self.force_query || !self.query.is_empty() {
            write!(f, "?{}", self.query)?;
        }
        if !self.fragment.is_empty() {
            write!(f, "#{}", self.fragment)?;
        }
        Ok(())
    }
}
