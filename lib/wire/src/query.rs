//! The query of a URL, read as Go reads it.

use crate::limits::MAX_QUERY_PARAMETERS;

/// Decoded parameters in the order of the URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part behind the `?`. Like Go, parameters that cannot be decoded or contain a
    /// semicolon are dropped.
    pub fn parse(raw: &str) -> Self {
        let pairs = raw
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.contains(';'));
        let decoded = pairs.take(MAX_QUERY_PARAMETERS).filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        });
        Query(decoded.collect())
    }

    /// The first value of a parameter. `None` if it is absent, `""` if it has no value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The boolean rule of Kubernetes' options: every present value is true but `0` and `false`.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name)
            .map(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }
}

fn decode(text: &str) -> Option<String> {
    if !text.contains(['%', '+']) {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(c) = rest.next() {
        match c {
            b'+' => bytes.push(b' '),
            b'%' => {
                let high = (rest.next()? as char).to_digit(16)?;
                let low = (rest.next()? as char).to_digit(16)?;
                bytes.push((high * 16 + low) as u8);
            }
            c => bytes.push(c),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_queries_like_go() {
        let query = Query::parse("a=1&b=x%3Dy+z&a=2&watch&bad=%zz&c;d=1&=e");
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("b"), Some("x=y z"));
        assert_eq!(query.get("watch"), Some(""));
        assert_eq!(query.get("bad"), None);
        assert_eq!(query.get("d"), None);
    }

    #[test]
    fn takes_nearly_everything_for_true() {
        let query = Query::parse("a&b=0&c=False&d=no&e=1");
        let flags = ["a", "b", "c", "d", "e", "f"].map(|name| query.flag(name));
        assert_eq!(
            flags,
            [
                Some(true),
                Some(false),
                Some(false),
                Some(true),
                Some(true),
                None
            ]
        );
    }
}
