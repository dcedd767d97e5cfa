//! URLs as Go's `net/url` reads them in requests.
//!
//! Start at [`Uri::parse_request`]. Only what Kubernetes asks of a URL is kept: its parts as text
//! and whether it is one at all.

/// The parts of a URL, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uri {
    pub scheme: String,
    /// `user[:password]` before the host.
    pub userinfo: Option<String>,
    pub host: String,
    pub path: String,
    /// What follows the `?`.
    pub query: String,
    /// What follows the `#`; always empty from [`Uri::parse_request`].
    pub fragment: String,
}

impl Uri {
    /// `url.ParseRequestURI`: an absolute URI or an absolute path; a `#` is part of the path.
    ///
    /// # Errors
    /// Go's reason.
    pub fn parse_request(text: &str) -> Result<Uri, String> {
        let fail = |why: &str| Err(format!("parse {}: {why}", crate::go::quote(text)));
        match parse(text, true) {
            Ok(uri) => Ok(uri),
            Err(why) => fail(&why),
        }
    }

    /// `url.Parse`: any reference.
    ///
    /// # Errors
    /// Go's reason.
    pub fn parse(text: &str) -> Result<Uri, String> {
        let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
        let parsed = parse(before, false).and_then(|mut uri| {
            check_escapes(fragment, |_| true)?;
            uri.fragment = fragment.to_owned();
            Ok(uri)
        });
        parsed.map_err(|why| format!("parse {}: {why}", crate::go::quote(text)))
    }
}

fn parse(text: &str, via_request: bool) -> Result<Uri, String> {
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err("net/url: invalid control character in URL".into());
    }
    if text.is_empty() && via_request {
        return Err("empty url".into());
    }
    let mut uri = Uri::default();
    if text == "*" {
        uri.path = "*".into();
        return Ok(uri);
    }
    let (scheme, rest) = split_scheme(text)?;
    uri.scheme = scheme.to_ascii_lowercase();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    uri.query = query.to_owned();
    if !rest.starts_with('/') {
        if !uri.scheme.is_empty() {
            uri.path = rest.to_owned();
            return Ok(uri);
        }
        if via_request {
            return Err("invalid URI for request".into());
        }
        if rest
            .split('/')
            .next()
            .is_some_and(|segment| segment.contains(':'))
        {
            return Err("first path segment in URL cannot contain colon".into());
        }
    }
    let has_authority = (!uri.scheme.is_empty() || !via_request && !rest.starts_with("///"))
        && rest.starts_with("//");
    let path = if has_authority {
        let after = &rest[2..];
        let end = after.find('/').unwrap_or(after.len());
        let (authority, path) = after.split_at(end);
        parse_authority(authority, &mut uri)?;
        path
    } else {
        rest
    };
    check_escapes(path, |_| true)?;
    uri.path = path.to_owned();
    Ok(uri)
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
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

fn parse_authority(authority: &str, uri: &mut Uri) -> Result<(), String> {
    let (userinfo, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    check_host(host)?;
    uri.host = host.to_owned();
    if let Some(user) = userinfo {
        let good = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
        if !user.chars().all(good) {
            return Err("net/url: invalid userinfo".into());
        }
        check_escapes(user, |_| true)?;
        uri.userinfo = Some(user.to_owned());
    }
    Ok(())
}

fn check_host(host: &str) -> Result<(), String> {
    let port = if let Some(inner) = host.strip_prefix('[') {
        let Some((address, after)) = inner.rsplit_once(']') else {
            return Err("missing ']' in host".into());
        };
        check_host_chars(address.split('%').next().unwrap_or_default())?;
        after
    } else if let Some(colon) = host.rfind(':') {
        check_host_chars(&host[..colon])?;
        &host[colon..]
    } else {
        return check_host_chars(host);
    };
    let digits = port.strip_prefix(':');
    if port.is_empty() || digits.is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit())) {
        return Ok(());
    }
    Err(format!(
        "invalid port {} after host",
        crate::go::quote(port)
    ))
}

fn check_host_chars(host: &str) -> Result<(), String> {
    let good = |c: char| {
        !c.is_ascii() || c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"%".contains(c)
    };
    if let Some(bad) = host.chars().find(|c| !good(*c)) {
        let shown = crate::go::quote(&bad.to_string());
        return Err(format!("invalid character {shown} in host name"));
    }
    // Only bytes outside of ASCII may be escaped in a host.
    check_escapes(host, |byte| byte >= 0x80)
}

fn check_escapes(text: &str, allowed: fn(u8) -> bool) -> Result<(), String> {
    let bytes = text.as_bytes();
    let mut i = 0;
    while let Some(byte) = bytes.get(i) {
        if *byte != b'%' {
            i += 1;
            continue;
        }
        let digits = bytes
            .get(i + 1..i + 3)
            .and_then(|d| std::str::from_utf8(d).ok());
        let code = digits.and_then(|d| u8::from_str_radix(d, 16).ok());
        if !code.is_some_and(allowed) {
            let end = (i + 3).min(bytes.len());
            let shown = String::from_utf8_lossy(&bytes[i..end]);
            return Err(format!("invalid URL escape {}", crate::go::quote(&shown)));
        }
        i += 3;
    }
    Ok(())
}
